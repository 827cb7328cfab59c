//! Decides whether a backup or a dump is due by its schedule.
//!
//! Never makes up for more than one that was missed, and never takes one while the last one goes on.

use crate::units::Moment;

/// All that the decision is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    pub now: Moment,
    pub wish: Wish,
    /// When the schedule was looked at last.
    pub checked: Option<Moment>,
    /// The first moment of the schedule after that.
    pub due: Option<Moment>,
    /// The first one after now.
    pub next: Option<Moment>,
    pub last: Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Take none for now.
    Suspended,
    Scheduled,
    /// And the first one at once.
    AtOnceAndScheduled,
    /// One at once, the next one of the schedule if that fails, and so on until one has succeeded.
    Once,
}

/// How the last one is that came of this schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    None,
    Goes,
    Failed,
    Succeeded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Rest,
    /// The last one has to end first.
    WaitForLast,
    /// It is looked at for the first time.
    Note {
        until: Moment,
    },
    /// It was looked at by a clock that was ahead: what is due is counted from now on.
    NoteAnew {
        until: Moment,
    },
    Wait {
        until: Moment,
    },
    /// Take one that was due then.
    Take {
        due: Moment,
        why: Why,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    AtOnce,
    Due,
}

/// None: no moment is left in the schedule.
pub fn next(sight: &Sight) -> Option<Step> {
    let until = sight.next?;
    let is_first = sight.checked.is_none();
    Some(match (sight.wish, sight.last, sight.due) {
        (Wish::Suspended, ..) | (Wish::Once, Last::Succeeded, _) => Step::Rest,
        (_, Last::Goes, _) => Step::WaitForLast,
        // If there is one, it was made, and that could not be noted.
        (Wish::AtOnceAndScheduled | Wish::Once, Last::None, _) if is_first => {
            Step::Take { due: sight.now, why: Why::AtOnce }
        }
        _ if is_first => Step::Note { until },
        (_, _, _) if sight.checked.is_some_and(|checked| checked > sight.now) => {
            Step::NoteAnew { until }
        }
        (_, _, Some(due)) if due <= sight.now => Step::Take { due, why: Why::Due },
        (_, _, Some(due)) => Step::Wait { until: due },
        (_, _, None) => Step::Wait { until },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const HOUR: i64 = 3_600_000_000;

    /// A schedule of every full hour, looked at at half past `now`.
    fn told(wish: Wish, checked: Option<i64>, now: i64, last: Last) -> String {
        let after = |hour: i64| Moment((hour + 1) * HOUR);
        let sight = Sight {
            now: Moment(now * HOUR + HOUR / 2),
            wish,
            checked: checked.map(|hour| Moment(hour * HOUR + HOUR / 2)),
            due: checked.map(after),
            next: Some(after(now)),
            last,
        };
        let hour = |at: Moment| format!("{}:{:02}", at.0 / HOUR, at.0 % HOUR * 60 / HOUR);
        match next(&sight).unwrap() {
            Step::Rest => "rest\n".to_owned(),
            Step::WaitForLast => "wait for the last one\n".to_owned(),
            Step::Note { until } => format!("note, then wait until {}\n", hour(until)),
            Step::NoteAnew { until } => format!("note anew, then wait until {}\n", hour(until)),
            Step::Wait { until } => format!("wait until {}\n", hour(until)),
            Step::Take { due, why } => format!("take that of {} ({why:?})\n", hour(due)),
        }
    }

    #[test]
    fn a_backup_is_taken_when_it_is_due_and_once_for_all_that_were_missed() {
        use Last::{Goes, None as Never, Succeeded};
        use Wish::{AtOnceAndScheduled, Scheduled, Suspended};
        expect![[r#"
            note, then wait until 4:00
            wait until 4:00
            take that of 4:00 (Due)
            wait for the last one
            take that of 4:00 (Due)
            rest
            take that of 3:30 (AtOnce)
            wait for the last one
            note, then wait until 4:00
            take that of 4:00 (Due)
        "#]]
        .assert_eq(
            &[
                told(Scheduled, None, 3, Never),
                told(Scheduled, Some(3), 3, Never),
                told(Scheduled, Some(3), 4, Succeeded),
                told(Scheduled, Some(3), 4, Goes),
                told(Scheduled, Some(3), 9, Succeeded),
                told(Suspended, Some(3), 9, Succeeded),
                told(AtOnceAndScheduled, None, 3, Never),
                told(AtOnceAndScheduled, None, 3, Goes),
                told(AtOnceAndScheduled, None, 3, Succeeded),
                told(AtOnceAndScheduled, Some(3), 4, Succeeded),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_keep_the_next_one_waiting() {
        use Last::{Goes, Succeeded};
        use Wish::{AtOnceAndScheduled, Scheduled, Suspended};
        expect![[r#"
            note anew, then wait until 4:00
            note anew, then wait until 4:00
            wait for the last one
            rest
        "#]]
        .assert_eq(
            &[
                told(Scheduled, Some(960), 3, Succeeded),
                told(AtOnceAndScheduled, Some(960), 3, Succeeded),
                told(Scheduled, Some(960), 3, Goes),
                told(Suspended, Some(960), 3, Succeeded),
            ]
            .concat(),
        );
    }

    #[test]
    fn what_is_wanted_once_is_taken_until_one_succeeded() {
        use Last::{Failed, Goes, None as Never, Succeeded};
        expect![[r#"
            take that of 3:30 (AtOnce)
            wait for the last one
            wait until 4:00
            take that of 4:00 (Due)
            rest
        "#]]
        .assert_eq(
            &[
                told(Wish::Once, None, 3, Never),
                told(Wish::Once, Some(3), 3, Goes),
                told(Wish::Once, Some(3), 3, Failed),
                told(Wish::Once, Some(3), 4, Failed),
                told(Wish::Once, Some(3), 4, Succeeded),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_schedule_that_never_comes_again_is_told() {
        let (now, wish, last) = (Moment(0), Wish::Scheduled, Last::None);
        let sight = Sight { now, wish, checked: None, due: None, next: None, last };
        assert_eq!(next(&sight), None);
    }
}
