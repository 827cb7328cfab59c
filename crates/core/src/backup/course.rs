//! Decides what is done next about one backup or dump that somebody asked for.
//!
//! Never takes two of the same kind of a cluster at once, never waits without an end, and never takes
//! silence for a failure before its time.

use super::taker::{NoTaker, Taker};
use crate::names::InstanceName;
use std::fmt;
use std::time::Duration;

/// How long what it takes to begin is waited for, once it is its turn.
pub const BEGIN_WITHIN: Duration = Duration::from_hours(1);
/// How long the agent that takes it may be silent.
pub const SILENT_AT_MOST: Duration = Duration::from_mins(10);
/// How often it is begun if what takes it is lost on the way.
pub const ATTEMPTS: u32 = 3;
/// How often it is begun if what keeps it from its end may have passed by itself.
pub const PASSING_ATTEMPTS: u32 = 6;
/// Before each attempt but the first: eight minutes in all.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(4),
];

/// All that the decision is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight<'a> {
    /// Another one that comes first and has not ended, with the word for what it is.
    pub behind: Option<&'a str>,
    pub home: Home<'a>,
    pub stage: Stage<'a>,
}

/// The cluster that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home<'a> {
    Missing,
    /// Its manifest cannot be carried out.
    Refused,
    WithoutArchive,
    Asleep,
    There {
        /// Who would take it.
        taker: Result<Taker<'a>, NoTaker>,
        /// Why its log is not archived.
        failing: Option<&'a str>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage<'a> {
    /// For so long it has been its turn; which attempt is the next one.
    Waiting { turn: Duration, attempt: u32 },
    /// An agent was asked for it.
    Begun { attempt: u32, heard: Heard<'a> },
}

/// What the agent says that was asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    Silent {
        since: Duration,
    },
    /// Its instance is not of the cluster any more.
    Gone,
    /// It was never asked, or its memory is lost.
    Nothing(Before),
    Goes,
    Completed,
    Cancelled,
    Failed {
        why: &'a str,
        /// How far it had come.
        at: Before,
        nature: Nature,
    },
}

/// Whether what it failed at is there as long as nobody does anything about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Lasting,
    /// A store that did not answer, for example.
    Passing,
}

/// Whether it had begun in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Begin,
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Wait(Wait),
    /// Ask this instance.
    Begin {
        instance: InstanceName,
        attempt: u32,
    },
    Follow,
    /// What took it is lost, or did not get on: look for another one, after a pause.
    Anew {
        attempt: u32,
        lost: String,
        pause: Duration,
    },
    Complete,
    Fail(String),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    ForTurn {
        behind: String,
    },
    ForCluster,
    ForManifest,
    ForWaking,
    ForArchiving {
        why: String,
    },
    ForTaker {
        why: NoTaker,
    },
    /// It is begun again a little later.
    ForPause {
        left: Duration,
    },
    /// The agent that was asked refused.
    ForAgent {
        why: String,
    },
}

pub fn next(sight: &Sight<'_>) -> Step {
    match &sight.stage {
        Stage::Waiting { turn, attempt } => match pause(*attempt).checked_sub(*turn) {
            Some(left) if !left.is_zero() => Step::Wait(Wait::ForPause { left }),
            Some(_) | None => begin(sight, *turn, *attempt),
        },
        Stage::Begun { attempt, heard } => follow(*heard, *attempt, sight),
    }
}

fn begin(sight: &Sight<'_>, turn: Duration, attempt: u32) -> Step {
    if let Home::WithoutArchive = sight.home {
        return Step::Fail(
            "the cluster has no archive: add spec.backup.barmanObjectStore to it".to_owned(),
        );
    }
    // One of a cluster that does not exist holds up nobody.
    if let Some(behind) = sight.behind.filter(|_| sight.home != Home::Missing) {
        return Step::Wait(Wait::ForTurn { behind: behind.to_owned() });
    }
    let wait = match &sight.home {
        Home::There { taker: Ok(taker), failing: None } => {
            return Step::Begin { instance: taker.name.clone(), attempt };
        }
        Home::There { taker: Err(NoTaker::Stranger { name }), .. } => {
            return Step::Fail(NoTaker::Stranger { name: name.clone() }.to_string());
        }
        Home::There { failing: Some(why), .. } => Wait::ForArchiving { why: (*why).to_owned() },
        Home::There { taker: Err(why), failing: None } => Wait::ForTaker { why: why.clone() },
        Home::Asleep => Wait::ForWaking,
        Home::Refused => Wait::ForManifest,
        Home::Missing | Home::WithoutArchive => Wait::ForCluster,
    };
    if turn < BEGIN_WITHIN { Step::Wait(wait) } else { late(&wait) }
}

/// What becomes of it when the agent that was asked refuses.
pub fn refused(why: String, turn: Duration) -> Step {
    let wait = Wait::ForAgent { why };
    if turn < BEGIN_WITHIN { Step::Wait(wait) } else { late(&wait) }
}

fn late(wait: &Wait) -> Step {
    let minutes = BEGIN_WITHIN.as_secs() / 60;
    Step::Fail(format!("it could not begin for {minutes} minutes: {wait}"))
}

fn follow(heard: Heard<'_>, attempt: u32, sight: &Sight<'_>) -> Step {
    match heard {
        Heard::Goes => Step::Follow,
        Heard::Completed => Step::Complete,
        Heard::Cancelled => Step::Fail("it was cancelled".to_owned()),
        // What was asked may not have arrived.
        Heard::Nothing(Before::Begin) => begin(sight, Duration::ZERO, attempt),
        Heard::Failed { why, nature: Nature::Passing, .. } => again(attempt, why, PASSING_ATTEMPTS),
        Heard::Failed { why, at: Before::Begin, .. } => Step::Fail(why.to_owned()),
        Heard::Failed { why, at: Before::End, .. } => anew(attempt, why),
        Heard::Nothing(Before::End) => anew(attempt, "its instance has lost the memory of it"),
        Heard::Gone => anew(attempt, "its instance was removed from the cluster"),
        Heard::Silent { since } if since < SILENT_AT_MOST => Step::Follow,
        Heard::Silent { .. } => {
            let minutes = SILENT_AT_MOST.as_secs() / 60;
            anew(attempt, &format!("its instance has not answered for {minutes} minutes"))
        }
    }
}

fn anew(attempt: u32, lost: &str) -> Step {
    again(attempt, lost, ATTEMPTS)
}

fn again(attempt: u32, lost: &str, most: u32) -> Step {
    if attempt < most {
        let attempt = attempt + 1;
        return Step::Anew { attempt, lost: lost.to_owned(), pause: pause(attempt) };
    }
    Step::Fail(format!("{lost} (attempt {attempt} of {most})"))
}

/// How long after the last attempt this one begins.
fn pause(attempt: u32) -> Duration {
    let before = usize::try_from(attempt.saturating_sub(2)).unwrap_or(usize::MAX);
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => PAUSES.get(before).or(PAUSES.last()).copied().unwrap_or_default(),
    }
}

/// Of all backups or dumps of a cluster those that have begun come first, then those that were asked for
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Begun,
    Waits,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForTurn { behind } => write!(f, "it waits for the end of {behind}"),
            Self::ForCluster => f.write_str("there is no such cluster"),
            Self::ForManifest => {
                f.write_str("the manifest of the cluster cannot be carried out: correct that first")
            }
            Self::ForWaking => f.write_str("the cluster is hibernated, so nobody can take it"),
            Self::ForArchiving { why } => write!(f, "the log is not archived: {why}"),
            Self::ForTaker { why } => write!(f, "{why}"),
            Self::ForPause { left } => write!(f, "it is begun anew in {} s", left.as_secs()),
            Self::ForAgent { why } => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::taker::Because;
    use super::*;
    use crate::fixtures::name;
    use expect_test::expect;

    const MINUTE: Duration = Duration::from_mins(1);

    fn told(sight: &Sight<'_>) -> String {
        match next(sight) {
            Step::Wait(wait) => format!("wait: {wait}\n"),
            Step::Begin { instance, attempt } => format!("begin {attempt} on {instance}\n"),
            Step::Follow => "follow\n".to_owned(),
            Step::Anew { attempt, lost, pause } => format!("anew {attempt} in {pause:?}: {lost}\n"),
            Step::Complete => "complete\n".to_owned(),
            Step::Fail(why) => format!("fail: {why}\n"),
        }
    }

    fn there<'a>(taker: &'a InstanceName, failing: Option<&'a str>) -> Home<'a> {
        Home::There { taker: Ok(Taker { name: taker, because: Because::MostLog }), failing }
    }

    #[test]
    fn it_begins_when_it_is_its_turn_and_somebody_can_take_it() {
        let second = name(2);
        let waiting = |home, behind, turn| {
            told(&Sight { behind, home, stage: Stage::Waiting { turn, attempt: 1 } })
        };
        let without = |taker| Home::There { taker: Err(taker), failing: None };
        let no_taker = || without(NoTaker::Nobody);
        expect![[r#"
            begin 1 on db-2
            wait: it waits for the end of backup nightly
            wait: the log is not archived: no such bucket
            wait: no instance can take it: there is no primary that is open, and no standby that receives
            fail: it could not begin for 60 minutes: no instance can take it: there is no primary that is open, and no standby that receives
            wait: there is no such cluster
            wait: the manifest of the cluster cannot be carried out: correct that first
            wait: the cluster is hibernated, so nobody can take it
            fail: the cluster has no archive: add spec.backup.barmanObjectStore to it
            wait: db-2 cannot take it: it is neither a primary that is open nor a standby that receives
            fail: db-2 is no instance of the cluster: name another one, or none
        "#]]
        .assert_eq(
            &[
                waiting(there(&second, None), None, MINUTE),
                waiting(there(&second, None), Some("backup nightly"), MINUTE),
                waiting(there(&second, Some("no such bucket")), None, MINUTE),
                waiting(no_taker(), None, MINUTE),
                waiting(no_taker(), None, BEGIN_WITHIN),
                waiting(Home::Missing, None, MINUTE),
                waiting(Home::Refused, None, MINUTE),
                waiting(Home::Asleep, None, MINUTE),
                waiting(Home::WithoutArchive, Some("nightly"), MINUTE),
                waiting(without(NoTaker::Named { name: name(2) }), None, MINUTE),
                waiting(without(NoTaker::Stranger { name: name(2) }), None, MINUTE),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_store_that_is_away_is_given_time_within_a_bound() {
        let second = name(2);
        let at = |stage| told(&Sight { behind: None, home: there(&second, None), stage });
        let waiting =
            |turn, attempt| at(Stage::Waiting { turn: Duration::from_secs(turn), attempt });
        let failed = |attempt, at_which| {
            let (why, nature) = ("nobody answers", Nature::Passing);
            at(Stage::Begun { attempt, heard: Heard::Failed { why, at: at_which, nature } })
        };
        expect![[r#"
            anew 2 in 10s: nobody answers
            wait: it is begun anew in 7 s
            begin 2 on db-2
            anew 3 in 30s: nobody answers
            anew 6 in 240s: nobody answers
            fail: nobody answers (attempt 6 of 6)
        "#]]
        .assert_eq(
            &[
                failed(1, Before::Begin),
                waiting(3, 2),
                waiting(10, 2),
                failed(2, Before::End),
                failed(5, Before::End),
                failed(6, Before::Begin),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_cluster_that_does_not_exist_makes_nobody_wait_for_another_backup() {
        let stage = Stage::Waiting { turn: MINUTE, attempt: 1 };
        let sight = Sight { behind: Some("nightly"), home: Home::Missing, stage };
        assert_eq!(next(&sight), Step::Wait(Wait::ForCluster));
    }

    #[test]
    fn an_agent_that_refuses_is_asked_again_for_as_long() {
        let busy = || "db-2 takes backup old already".to_owned();
        assert_eq!(refused(busy(), MINUTE), Step::Wait(Wait::ForAgent { why: busy() }));
        assert!(matches!(refused(busy(), BEGIN_WITHIN), Step::Fail(why) if why.contains("old")));
    }

    #[test]
    fn what_is_lost_on_the_way_is_begun_anew_a_few_times() {
        let third = name(3);
        let begun = |attempt, heard| {
            let home = there(&third, None);
            told(&Sight { behind: None, home, stage: Stage::Begun { attempt, heard } })
        };
        let failed =
            |at| Heard::Failed { why: "PostgreSQL was stopped", at, nature: Nature::Lasting };
        expect![[r#"
            follow
            complete
            fail: it was cancelled
            begin 2 on db-3
            fail: PostgreSQL was stopped
            anew 2 in 10s: PostgreSQL was stopped
            fail: PostgreSQL was stopped (attempt 3 of 3)
            anew 2 in 10s: its instance has lost the memory of it
            anew 2 in 10s: its instance was removed from the cluster
            follow
            anew 3 in 30s: its instance has not answered for 10 minutes
        "#]]
        .assert_eq(
            &[
                begun(1, Heard::Goes),
                begun(1, Heard::Completed),
                begun(1, Heard::Cancelled),
                begun(2, Heard::Nothing(Before::Begin)),
                begun(1, failed(Before::Begin)),
                begun(1, failed(Before::End)),
                begun(3, failed(Before::End)),
                begun(1, Heard::Nothing(Before::End)),
                begun(1, Heard::Gone),
                begun(1, Heard::Silent { since: MINUTE }),
                begun(2, Heard::Silent { since: SILENT_AT_MOST }),
            ]
            .concat(),
        );
    }
}
