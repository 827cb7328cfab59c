//! Decides what the agents of a cluster are told, from its manifest and from what is kept.
//!
//! Never forgets that a cluster exists: it is initialised once.

use super::manifests::{Blueprint, specification};
use super::observe::Seen;
use pgherd_api::agent::Specification;
use pgherd_api::cluster::annotations::{Hibernation, Requests};
use pgherd_api::cluster::updates::PrimaryUpdateStrategy;
use pgherd_core::fleet::rollout::Pace;
use pgherd_core::fleet::{PrimaryUpdate, Sight};
use pgherd_core::intent::Switchover;
use pgherd_core::names::InstanceName;
use pgherd_core::units::Epoch;
use pgherd_core::wishes::{Shall, Wish, Wishes};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// What is wanted of a cluster.
pub(super) struct Wanted {
    pub(super) wishes: Wishes,
    pub(super) shall: Shall,
    /// What agents are told now, and whether it is to be written.
    pub(super) specification: Specification,
    /// What they were told before, as far as that can be read.
    pub(super) before: Option<Specification>,
    pub(super) freshness: Freshness,
}

/// Whether what is kept is what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Kept,
    Changed,
}

pub(super) fn wanted(blueprint: &Blueprint<'_>, seen: &Seen, now: SystemTime) -> Wanted {
    let checked = blueprint.checked;
    let map = seen.map.as_deref();
    // A ConfigMap that somebody damaged is written anew; the record knows that the cluster exists.
    let last = map.and_then(|map| specification::specification(map).ok());
    let kept: Option<Wishes> = map.and_then(|map| specification::wishes(map).ok());
    // Nor is an instance forgotten whose volumes are there.
    let mut wishes = kept.clone().unwrap_or_else(|| found(seen));
    wishes.exists |= seen.record.is_some();
    let holder = seen.record.as_ref().map(|record| &record.holder.instance);
    wishes.scale(&checked.name, checked.instances, holder);
    let epoch = seen.record.as_ref().map(|record| record.epoch);
    take(&checked.annotations.requests, &mut wishes, (Memory::of(kept.as_ref()), epoch));
    if last.as_ref().is_some_and(|last| last.postgres != checked.postgres) {
        wishes.reload();
    }
    let shall = match checked.annotations.hibernation {
        Hibernation::Asleep => Shall::Rest,
        Hibernation::Awake => Shall::Run,
    };
    let specification = match &last {
        Some(known) => Specification::next(Some(known), checked, &wishes, shall)
            .unwrap_or_else(|| known.clone()),
        None => Specification::numbered(first_number(now), checked, &wishes, shall),
    };
    let is_kept = last.as_ref() == Some(&specification) && kept.as_ref() == Some(&wishes);
    let freshness = if is_kept { Freshness::Kept } else { Freshness::Changed };
    Wanted { wishes, shall, specification, before: last, freshness }
}

/// Whether what was asked for before is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Kept,
    Lost,
}

impl Memory {
    fn of(kept: Option<&Wishes>) -> Self {
        if kept.is_some() { Self::Kept } else { Self::Lost }
    }
}

/// Takes up what the annotations ask for, each request once. One that names an instance which the
/// cluster does not have is left until it has.
fn take(requests: &Requests, wishes: &mut Wishes, (memory, epoch): (Memory, Option<Epoch>)) {
    let belonging = wishes.belonging();
    if let Some(request) = &requests.switchover {
        let known = wishes.switchover.as_ref().map_or(0, |last| last.number);
        let has_target = request.target.as_ref().is_none_or(|name| belonging.contains(name));
        if request.number > known && has_target {
            wishes.switchover =
                Some(Switchover { epoch: request.epoch.or(epoch), ..request.clone() });
        }
    }
    if let Some(request) = &requests.restart {
        let known = wishes.restart.as_ref().map_or(0, |last| last.number);
        if request.number > known && request.instances.is_subset(&belonging) {
            let mut request = request.clone();
            if request.instances.is_empty() {
                request.instances.clone_from(&belonging);
            }
            wishes.restart = Some(request);
        }
    }
    wishes.configuration = wishes.configuration.max(requests.reload.unwrap_or_default());
    restart_once(requests.restarted_at.as_ref(), wishes, (memory, belonging));
}

/// A mark that is new asks for a restart of all; one that came with the cluster, or that nobody
/// remembers, does not: PostgreSQL would be restarted for nothing.
fn restart_once(
    mark: Option<&String>,
    wishes: &mut Wishes,
    (memory, belonging): (Memory, BTreeSet<InstanceName>),
) {
    let Some(mark) = mark.filter(|mark| wishes.restarted_at.as_ref() != Some(*mark)) else {
        return;
    };
    wishes.restarted_at = Some(mark.clone());
    match memory {
        Memory::Kept => _ = wishes.restart(belonging),
        Memory::Lost => {}
    }
}

/// Higher than all that agents may have been told before the ConfigMap was lost: nobody changes a
/// cluster a thousand times a second.
fn first_number(now: SystemTime) -> u64 {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn found(seen: &Seen) -> Wishes {
    let instances = seen.places.keys().map(|name| (name.clone(), Wish::Running));
    Wishes { instances: instances.collect(), ..Wishes::default() }
}

impl Blueprint<'_> {
    /// Who replaces or restarts a primary.
    pub(super) fn primary_update(&self) -> PrimaryUpdate {
        match self.cluster.spec.primary_update_strategy {
            PrimaryUpdateStrategy::Supervised => PrimaryUpdate::Supervised,
            PrimaryUpdateStrategy::Unsupervised => PrimaryUpdate::Unsupervised,
        }
    }
}

impl Wanted {
    pub(super) fn sight<'a>(
        &'a self,
        (blueprint, seen): (&Blueprint<'_>, &'a Seen),
        pace: Pace<'a>,
    ) -> Sight<'a> {
        Sight {
            wishes: &self.wishes,
            shall: self.shall,
            record: seen.record.as_ref(),
            places: &seen.places,
            primary_update: blueprint.primary_update(),
            pace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::intent::Restart;
    use pgherd_core::names::ClusterName;

    fn db() -> ClusterName {
        ClusterName::parse("db").unwrap()
    }

    fn instance(serial: u32) -> InstanceName {
        InstanceName::new(&db(), serial)
    }

    fn three() -> Wishes {
        let mut wishes = Wishes::default();
        wishes.scale(&db(), 3, None);
        wishes
    }

    fn switchover(number: u64, target: Option<u32>) -> Requests {
        let switchover = Switchover { number, target: target.map(instance), epoch: None };
        Requests { switchover: Some(switchover), ..Requests::default() }
    }

    fn restart(number: u64, instances: &[u32]) -> Requests {
        let instances = instances.iter().map(|serial| instance(*serial)).collect();
        Requests { restart: Some(Restart { number, instances }), ..Requests::default() }
    }

    fn marked(mark: &str) -> Requests {
        Requests { restarted_at: Some(mark.to_owned()), ..Requests::default() }
    }

    /// What the wishes are after each of the requests.
    fn after(memory: Memory, requests: &[Requests]) -> String {
        let mut wishes = three();
        let told = requests.iter().map(|request| {
            take(request, &mut wishes, (memory, Some(Epoch(5))));
            let named = |names: &mut dyn Iterator<Item = &InstanceName>| {
                names.map(ToString::to_string).collect::<Vec<_>>().join(",")
            };
            let switchover = wishes
                .switchover
                .as_ref()
                .map(|it| format!(" switchover {} [{}]", it.number, named(&mut it.target.iter())));
            let epoch = wishes.switchover.as_ref().and_then(|it| it.epoch);
            let switchover = switchover.map(|it| format!("{it} in {}", epoch.unwrap_or_default()));
            let restart = wishes
                .restart
                .as_ref()
                .map(|it| format!(" restart {} [{}]", it.number, named(&mut it.instances.iter())));
            let reload = format!("configuration {}", wishes.configuration);
            format!("{reload}{}{}\n", switchover.unwrap_or_default(), restart.unwrap_or_default())
        });
        told.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_switchover_counts_once() {
        let requests = [
            switchover(1, None),
            switchover(1, Some(2)),
            Requests {
                switchover: Some(Switchover {
                    number: 2,
                    target: Some(instance(3)),
                    epoch: Some(Epoch(4)),
                }),
                ..Requests::default()
            },
            switchover(1, None),
            switchover(3, Some(4)),
        ];
        expect![[r#"
            configuration 0 switchover 1 [] in 5
            configuration 0 switchover 1 [] in 5
            configuration 0 switchover 2 [db-3] in 4
            configuration 0 switchover 2 [db-3] in 4
            configuration 0 switchover 2 [db-3] in 4
        "#]]
        .assert_eq(&after(Memory::Kept, &requests));
    }

    #[test]
    fn a_restart_is_of_those_named_or_of_all() {
        let requests = [restart(1, &[2]), restart(1, &[3]), restart(2, &[]), restart(3, &[1, 7])];
        expect![[r#"
            configuration 0 restart 1 [db-2]
            configuration 0 restart 1 [db-2]
            configuration 0 restart 2 [db-1,db-2,db-3]
            configuration 0 restart 2 [db-1,db-2,db-3]
        "#]]
        .assert_eq(&after(Memory::Kept, &requests));
    }

    #[test]
    fn a_mark_restarts_all_once_per_value() {
        let requests = [marked("a"), marked("a"), marked("b"), restart(2, &[1]), restart(3, &[1])];
        expect![[r#"
            configuration 0 restart 1 [db-1,db-2,db-3]
            configuration 0 restart 1 [db-1,db-2,db-3]
            configuration 0 restart 2 [db-1,db-2,db-3]
            configuration 0 restart 2 [db-1,db-2,db-3]
            configuration 0 restart 3 [db-1]
        "#]]
        .assert_eq(&after(Memory::Kept, &requests));
        expect![[r#"
            configuration 0
            configuration 0
            configuration 0
            configuration 0 restart 2 [db-1]
            configuration 0 restart 3 [db-1]
        "#]]
        .assert_eq(&after(Memory::Lost, &requests));
    }

    #[test]
    fn a_reload_is_a_higher_number() {
        let reload = |number| Requests { reload: Some(number), ..Requests::default() };
        expect![[r#"
            configuration 2
            configuration 2
            configuration 3
        "#]]
        .assert_eq(&after(Memory::Kept, &[reload(2), reload(1), reload(3)]));
    }
}
