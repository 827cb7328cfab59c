//! Turns the manifest and what was asked since into what agents are told.
//!
//! Never adds a wish of its own.

use crate::registration::Shall;
use crate::wishes::{Wish, Wishes};
use pgherd_api::agent::Specification;
use pgherd_api::cluster::Checked;
use pgherd_api::cluster::annotations::{Care, Fenced, Hibernation};
use pgherd_core::intent::Intent;
use pgherd_core::names::InstanceName;
use pgherd_core::timers::Timers;

/// The specification after `number`, if what is wanted differs from it.
pub fn next(
    last: Option<&Specification>,
    checked: &Checked,
    wishes: &Wishes,
    shall: Shall,
) -> Option<Specification> {
    let intent = intent(checked, wishes, shall);
    let postgres = checked.postgres.clone();
    match last {
        Some(last) if last.intent == intent && last.postgres == postgres => None,
        _ => {
            let number = last.map_or(0, |last| last.number) + 1;
            Some(Specification { number, intent, postgres })
        }
    }
}

fn intent(checked: &Checked, wishes: &Wishes, shall: Shall) -> Intent {
    let annotations = &checked.annotations;
    let mut fenced = wishes.fenced.clone();
    match &annotations.fenced {
        Fenced::All => fenced.extend(wishes.belonging()),
        Fenced::Instances(names) => fenced.extend(names.iter().cloned()),
    }
    let are = |wanted: Wish| {
        let such = wishes.instances.iter().filter(move |(_, wish)| **wish == wanted);
        such.map(|(name, _)| name.clone())
    };
    Intent {
        cluster: checked.name.clone(),
        instances: wishes.belonging(),
        first: (!wishes.exists).then(|| InstanceName::new(&checked.name, 1)),
        durability: checked.durability,
        timers: Timers::STANDARD,
        failover_delay: checked.failover_delay,
        stop_delay: checked.stop_delay,
        paused: wishes.paused || annotations.care == Care::Paused,
        fenced,
        leaving: are(Wish::Stopped).collect(),
        stopped: shall == Shall::Rest || annotations.hibernation == Hibernation::Asleep,
        switchover: wishes.switchover.clone(),
        restart: wishes.restart.clone(),
        configuration: wishes.configuration,
    }
}
