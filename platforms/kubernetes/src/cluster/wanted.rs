//! Decides what the agents of a cluster are told, from its manifest and from what is kept.
//!
//! Never forgets that a cluster exists: it is initialised once.

use super::manifests::{Blueprint, specification};
use super::observe::Seen;
use pgherd_api::agent::Specification;
use pgherd_api::cluster::annotations::Hibernation;
use pgherd_api::cluster::updates::PrimaryUpdateStrategy;
use pgherd_core::fleet::{PrimaryUpdate, Sight};
use pgherd_core::wishes::{Shall, Wish, Wishes};
use std::time::SystemTime;

/// What is wanted of a cluster.
pub(super) struct Wanted {
    pub(super) wishes: Wishes,
    pub(super) shall: Shall,
    /// What agents are told now, and whether it is to be written.
    pub(super) specification: Specification,
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
    Wanted { wishes, shall, specification, freshness }
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

impl Wanted {
    pub(super) fn sight<'a>(&'a self, blueprint: &Blueprint<'_>, seen: &'a Seen) -> Sight<'a> {
        Sight {
            wishes: &self.wishes,
            shall: self.shall,
            record: seen.record.as_ref(),
            places: &seen.places,
            primary_update: match blueprint.cluster.spec.primary_update_strategy {
                PrimaryUpdateStrategy::Supervised => PrimaryUpdate::Supervised,
                PrimaryUpdateStrategy::Unsupervised => PrimaryUpdate::Unsupervised,
            },
        }
    }
}
