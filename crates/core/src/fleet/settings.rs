//! Decides how a primary takes up settings that only a restart brings.
//!
//! Never while another instance has yet to take them up, and never asks twice for the same.

use super::PrimaryUpdate;
use crate::intent::Intent;
use crate::names::InstanceName;
use crate::record::{Phase, Record};
use std::collections::BTreeSet;

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub intent: &'a Intent,
    pub record: &'a Record,
    /// Whose PostgreSQL waits for a restart.
    pub pending: &'a BTreeSet<InstanceName>,
    /// The number of the last restart that the primary has begun.
    pub restarted: u64,
    pub primary_update: PrimaryUpdate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing waits, or it goes on already.
    Nothing,
    /// A standby has the settings already: it becomes the primary, and the old one starts with them.
    SwitchOver,
    /// There is nobody else.
    Restart,
    /// Who is to serve meanwhile is for the user to say.
    ForTheUser,
}

/// Standbys start again by themselves, so that the primary is the only one who waits in the end.
pub fn next(sight: &Sight<'_>) -> Next {
    let Sight { intent, record, pending, restarted, primary_update } = *sight;
    let holder = &record.holder.instance;
    let waits_alone = pending.len() == 1 && pending.contains(holder);
    let is_quiet = record.phase == Phase::Serving && !intent.paused && !intent.stopped;
    if !waits_alone || !is_quiet {
        return Next::Nothing;
    }
    let is_asked = intent.switchover.as_ref().is_some_and(|it| it.number > record.switchover)
        || intent
            .restart
            .as_ref()
            .is_some_and(|it| it.number > restarted && it.instances.contains(holder));
    match primary_update {
        _ if is_asked => Next::Nothing,
        PrimaryUpdate::Supervised => Next::ForTheUser,
        PrimaryUpdate::Unsupervised if intent.instances.len() > 1 => Next::SwitchOver,
        PrimaryUpdate::Unsupervised => Next::Restart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{asynchronous, intent, name, names};
    use crate::intent::{Restart, Switchover};
    use crate::record::{Holder, WriteId};
    use crate::units::{SystemId, Timeline};

    fn record() -> Record {
        let holder = Holder { instance: name(1), volume: 1, incarnation: 1 };
        Record::first(holder, SystemId(7), Timeline(1), WriteId::default())
    }

    fn check(intent: &Intent, record: &Record, pending: &BTreeSet<InstanceName>) -> Next {
        let primary_update = PrimaryUpdate::Unsupervised;
        next(&Sight { intent, record, pending, restarted: 3, primary_update })
    }

    #[test]
    fn a_primary_hands_over_once_it_alone_waits_and_starts_again_where_it_is_alone() {
        let (three, record) = (intent(3, asynchronous()), record());
        assert_eq!(check(&three, &record, &names([])), Next::Nothing);
        assert_eq!(check(&three, &record, &names([2])), Next::Nothing);
        assert_eq!(check(&three, &record, &names([1, 2])), Next::Nothing);
        assert_eq!(check(&three, &record, &names([1])), Next::SwitchOver);
        assert_eq!(check(&intent(1, asynchronous()), &record, &names([1])), Next::Restart);
    }

    #[test]
    fn what_was_asked_for_is_not_asked_for_again() {
        let (mut asked, mut record) = (intent(3, asynchronous()), record());
        asked.switchover = Some(Switchover { number: 1, target: None, epoch: None });
        assert_eq!(check(&asked, &record, &names([1])), Next::Nothing);
        record.switchover = 1;
        assert_eq!(check(&asked, &record, &names([1])), Next::SwitchOver);
        let mut alone = intent(1, asynchronous());
        alone.restart = Some(Restart { number: 4, instances: names([1]) });
        assert_eq!(check(&alone, &record, &names([1])), Next::Nothing);
        alone.restart = Some(Restart { number: 3, instances: names([1]) });
        assert_eq!(check(&alone, &record, &names([1])), Next::Restart);
    }

    #[test]
    fn nothing_is_begun_while_somebody_is_at_work_and_a_user_who_wants_to_be_asked_is() {
        let (mut paused, record, waits) = (intent(3, asynchronous()), record(), names([1]));
        let primary_update = PrimaryUpdate::Supervised;
        let sight = Sight {
            intent: &paused,
            record: &record,
            pending: &waits,
            restarted: 3,
            primary_update,
        };
        assert_eq!(next(&sight), Next::ForTheUser);
        paused.paused = true;
        assert_eq!(check(&paused, &record, &waits), Next::Nothing);
    }
}
