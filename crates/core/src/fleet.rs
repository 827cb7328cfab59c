//! Decides whose volumes and pod come or go next, for a platform that has such.
//!
//! Never removes what the record counts on, and never takes two instances down at a time.

pub mod agents;
pub mod commits;
pub mod fence;
pub mod rollout;
pub mod settings;

use crate::names::InstanceName;
use crate::record::Record;
use crate::wishes::{Shall, Wish, Wishes};
use rollout::Pace;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What exists of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub volumes: Volumes,
    pub pod: Pod,
    pub form: Form,
}

impl Place {
    pub const NOWHERE: Self =
        Self { volumes: Volumes::Absent, pod: Pod::Absent, form: Form::Wanted };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    Absent,
    /// Some of them exist.
    Partial,
    There,
    /// At least one is being removed.
    Going,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pod {
    Absent,
    /// It does not serve anybody yet, or any more.
    Unready,
    Ready,
    /// Nothing of it runs, and nothing will.
    Ended,
    /// It is being removed.
    Going,
}

/// Whether the pod is as it would be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Wanted,
    Outdated,
}

/// Who replaces an outdated primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryUpdate {
    Unsupervised,
    /// The user, by a switchover.
    Supervised,
}

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub wishes: &'a Wishes,
    pub shall: Shall,
    pub record: Option<&'a Record>,
    pub places: &'a BTreeMap<InstanceName, Place>,
    pub primary_update: PrimaryUpdate,
    pub pace: Pace<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In order; each changes one instance's objects, and repeating it changes nothing more.
    pub steps: Vec<Step>,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Those that are missing.
    MakeVolumes(InstanceName),
    MakePod(InstanceName),
    EndPod {
        instance: InstanceName,
        because: Because,
    },
    RemoveVolumes(InstanceName),
    /// Nothing of it is left: its number is free.
    Forget(InstanceName),
}

/// Why a pod is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It belongs to the cluster no more.
    Leaving,
    /// It shall be stopped.
    Stopped,
    /// It ended by itself, and another one takes its place.
    Ended,
    /// It is not as it would be made now.
    Outdated,
}

/// What goes on, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    /// There is no cluster yet: its first instance initialises one.
    SettingUp {
        first: InstanceName,
    },
    /// These are made, or copy the data.
    Creating {
        instances: Vec<InstanceName>,
    },
    /// The primary cannot be reached, or there is none.
    WithoutPrimary {
        holder: InstanceName,
    },
    /// These are not ready.
    Waiting {
        instances: Vec<InstanceName>,
    },
    Removing {
        instances: Vec<InstanceName>,
    },
    /// This one is replaced; so many are to follow.
    Updating {
        instance: InstanceName,
        left: usize,
    },
    /// This one is to be replaced, but not before so long.
    Delayed {
        instance: InstanceName,
        left: Duration,
    },
    /// Only the primary is left to be replaced, which is for the user to begin.
    UserHasToSwitchOver {
        primary: InstanceName,
    },
    /// Nothing runs, as wanted.
    Resting,
}

/// What to do next, and what is going on.
pub fn plan(sight: &Sight<'_>) -> Plan {
    let mut steps = Vec::new();
    for (name, wish) in &sight.wishes.instances {
        let place = sight.place(name);
        steps.extend(match (sight.shall, wish) {
            (_, Wish::Leaving) => leaving(sight, name, place).into_iter().collect(),
            (Shall::Rest, Wish::Running | Wish::Stopped | Wish::Lost)
            | (Shall::Run, Wish::Stopped | Wish::Lost) => {
                stopped(name, place).into_iter().collect()
            }
            (Shall::Run, Wish::Running) => running(sight, name, place),
        });
    }
    let update = match sight.shall {
        Shall::Run if steps.is_empty() => update(sight),
        Shall::Run | Shall::Rest => Update::None,
    };
    if let Update::Replace { instance, .. } = &update {
        let because = Because::Outdated;
        steps.push(Step::EndPod { instance: instance.clone(), because });
    }
    Plan { verdict: verdict(sight, update), steps }
}

impl Plan {
    /// Which instance's replacement begins with it.
    pub fn replaces(&self) -> Option<&InstanceName> {
        self.steps.iter().find_map(|step| match step {
            Step::EndPod { instance, because: Because::Outdated } => Some(instance),
            Step::EndPod { .. }
            | Step::MakeVolumes(_)
            | Step::MakePod(_)
            | Step::RemoveVolumes(_)
            | Step::Forget(_) => None,
        })
    }
}

/// Whether the record counts on the instance: as the holder, as a member, or for commits.
pub fn counts(record: Option<&Record>, instance: &InstanceName) -> bool {
    record.is_some_and(|record| {
        record.members.contains(instance)
            || record.grantors.contains(instance)
            || record.holder.instance == *instance
            || record.quorum.iter().any(|pair| pair.voters.contains(instance))
    })
}

fn leaving(sight: &Sight<'_>, name: &InstanceName, place: Place) -> Option<Step> {
    if counts(sight.record, name) {
        return None;
    }
    let because = Because::Leaving;
    match (place.pod, place.volumes) {
        (Pod::Going, _) | (Pod::Absent, Volumes::Going) => None,
        (Pod::Unready | Pod::Ready | Pod::Ended, _) => {
            Some(Step::EndPod { instance: name.clone(), because })
        }
        (Pod::Absent, Volumes::There | Volumes::Partial) => Some(Step::RemoveVolumes(name.clone())),
        (Pod::Absent, Volumes::Absent) => Some(Step::Forget(name.clone())),
    }
}

fn stopped(name: &InstanceName, place: Place) -> Option<Step> {
    match place.pod {
        Pod::Absent | Pod::Going => None,
        Pod::Unready | Pod::Ready | Pod::Ended => {
            Some(Step::EndPod { instance: name.clone(), because: Because::Stopped })
        }
    }
}

fn running(sight: &Sight<'_>, name: &InstanceName, place: Place) -> Vec<Step> {
    match (place.pod, place.volumes) {
        (Pod::Ended, _) => {
            vec![Step::EndPod { instance: name.clone(), because: Because::Ended }]
        }
        (Pod::Absent, Volumes::There) => vec![Step::MakePod(name.clone())],
        (Pod::Absent, Volumes::Absent | Volumes::Partial) if sight.may_begin(name) => {
            vec![Step::MakeVolumes(name.clone()), Step::MakePod(name.clone())]
        }
        // Nobody can copy from a cluster that does not exist yet; and what is being removed has to
        // be gone before it can be made anew.
        (Pod::Absent, Volumes::Absent | Volumes::Partial | Volumes::Going)
        | (Pod::Going | Pod::Unready | Pod::Ready, _) => Vec::new(),
    }
}

enum Update {
    None,
    Replace { instance: InstanceName, left: usize },
    Later { instance: InstanceName, left: Duration },
    ForTheUser { primary: InstanceName },
}

/// Standbys first, the last ones before the others; one at a time, and only while all are well.
fn update(sight: &Sight<'_>) -> Update {
    let running = || sight.running().map(|name| (name, sight.place(name)));
    let outdated: Vec<_> =
        running().filter(|(_, place)| place.form == Form::Outdated).map(|(name, _)| name).collect();
    // One that cannot become ready as it is may be replaced without harm.
    let is_well = |(_, place): (&InstanceName, Place)| {
        place.pod == Pod::Ready || place.form == Form::Outdated
    };
    if !running().all(is_well) {
        return Update::None;
    }
    let holder = sight.record.map(|record| &record.holder.instance);
    let left = outdated.len().saturating_sub(1);
    let mut standbys = outdated.iter().rev().filter(|name| Some(**name) != holder);
    // The unready ones first: nobody misses them.
    let unready = outdated.iter().find(|name| sight.place(name).pod == Pod::Unready);
    // One that leaves is missed already, until the record counts on it no more.
    let is_one_leaving = sight.wishes.instances.values().any(|wish| *wish == Wish::Leaving);
    let next = match (unready, is_one_leaving) {
        (Some(unready), _) => Some(unready),
        (None, true) => None,
        (None, false) => standbys.next().or(outdated.first()),
    };
    let Some(next) = next else { return Update::None };
    let instance = (*next).clone();
    let delay = if unready.is_some() { None } else { rollout::wait(&sight.pace, next) };
    match (sight.primary_update, delay) {
        (PrimaryUpdate::Supervised, _) if Some(*next) == holder => {
            Update::ForTheUser { primary: instance }
        }
        (PrimaryUpdate::Supervised | PrimaryUpdate::Unsupervised, Some(left)) => {
            Update::Later { instance, left }
        }
        (PrimaryUpdate::Supervised | PrimaryUpdate::Unsupervised, None) => {
            Update::Replace { instance, left }
        }
    }
}

fn verdict(sight: &Sight<'_>, update: Update) -> Verdict {
    let of = |fits: &dyn Fn(&InstanceName) -> bool| -> Vec<InstanceName> {
        sight.running().filter(|name| fits(name)).cloned().collect()
    };
    if sight.shall == Shall::Rest {
        return Verdict::Resting;
    }
    let Some(record) = sight.record else {
        let first = sight.wishes.instances.keys().next().cloned();
        return first.map_or(Verdict::Resting, |first| Verdict::SettingUp { first });
    };
    match update {
        Update::Replace { instance, left } => return Verdict::Updating { instance, left },
        Update::Later { instance, left } => return Verdict::Delayed { instance, left },
        Update::ForTheUser { primary } => return Verdict::UserHasToSwitchOver { primary },
        Update::None => {}
    }
    let is_unready = |name: &InstanceName| sight.place(name).pod != Pod::Ready;
    let holder = &record.holder.instance;
    if is_unready(holder) {
        return Verdict::WithoutPrimary { holder: holder.clone() };
    }
    let creating = of(&|name| is_unready(name) && !counts(Some(record), name));
    if !creating.is_empty() {
        return Verdict::Creating { instances: creating };
    }
    let waiting = of(&is_unready);
    if !waiting.is_empty() {
        return Verdict::Waiting { instances: waiting };
    }
    let leaving = sight.wishes.instances.iter().filter(|(_, wish)| **wish == Wish::Leaving);
    let instances: Vec<_> = leaving.map(|(name, _)| name.clone()).collect();
    if instances.is_empty() { Verdict::Healthy } else { Verdict::Removing { instances } }
}

impl Sight<'_> {
    fn place(&self, name: &InstanceName) -> Place {
        self.places.get(name).copied().unwrap_or(Place::NOWHERE)
    }

    fn running(&self) -> impl Iterator<Item = &InstanceName> {
        let running = self.wishes.instances.iter().filter(|(_, wish)| **wish == Wish::Running);
        running.map(|(name, _)| name)
    }

    /// The first one makes the cluster; the others copy it, and come in order.
    fn may_begin(&self, name: &InstanceName) -> bool {
        self.record.is_some() || self.wishes.instances.keys().next() == Some(name)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaving => "the cluster has fewer instances now",
            Self::Stopped => "the cluster rests",
            Self::Ended => "its pod has ended",
            Self::Outdated => "its pod is not as it would be made now",
        })
    }
}

#[cfg(test)]
mod tests;
