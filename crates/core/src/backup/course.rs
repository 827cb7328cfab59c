//! Decides what is done next about one backup that somebody asked for.
//!
//! Never takes two backups of a cluster at once, never waits without an end, and never takes
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

/// All that the decision is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight<'a> {
    /// Another one that comes first and has not ended.
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
    },
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
    /// What took it is lost: look for another one.
    Anew {
        attempt: u32,
        lost: String,
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
    ForTaker,
    /// The agent that was asked refused.
    ForAgent {
        why: String,
    },
}

pub fn next(sight: &Sight<'_>) -> Step {
    match &sight.stage {
        Stage::Waiting { turn, attempt } => begin(sight, *turn, *attempt),
        Stage::Begun { attempt, heard } => follow(*heard, *attempt, sight),
    }
}

fn begin(sight: &Sight<'_>, turn: Duration, attempt: u32) -> Step {
    if let Home::WithoutArchive = sight.home {
        return Step::Fail(
            "the cluster has no archive: add spec.backup.barmanObjectStore to it".to_owned(),
        );
    }
    if let Some(behind) = sight.behind {
        return Step::Wait(Wait::ForTurn { behind: behind.to_owned() });
    }
    let wait = match &sight.home {
        Home::There { taker: Ok(taker), failing: None } => {
            return Step::Begin { instance: taker.name.clone(), attempt };
        }
        Home::There { failing: Some(why), .. } => Wait::ForArchiving { why: (*why).to_owned() },
        Home::There { taker: Err(NoTaker), failing: None } => Wait::ForTaker,
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
        Heard::Failed { why, at: Before::Begin } => Step::Fail(why.to_owned()),
        Heard::Failed { why, at: Before::End } => anew(attempt, why),
        Heard::Nothing(Before::End) => {
            anew(attempt, "its instance lost its data, and with it the memory of the backup")
        }
        Heard::Gone => anew(attempt, "its instance was removed from the cluster"),
        Heard::Silent { since } if since < SILENT_AT_MOST => Step::Follow,
        Heard::Silent { .. } => {
            let minutes = SILENT_AT_MOST.as_secs() / 60;
            anew(attempt, &format!("its instance has not answered for {minutes} minutes"))
        }
    }
}

fn anew(attempt: u32, lost: &str) -> Step {
    if attempt < ATTEMPTS {
        return Step::Anew { attempt: attempt + 1, lost: lost.to_owned() };
    }
    Step::Fail(format!("{lost} (attempt {attempt} of {ATTEMPTS})"))
}

/// Whether one that was asked for comes before another one: who has begun, then who was first.
pub fn comes_before<Asked: Ord>(one: (Order, Asked), other: (Order, Asked)) -> bool {
    one < other
}

/// Those that have begun come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Begun,
    Waits,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForTurn { behind } => write!(f, "it waits for the end of backup {behind}"),
            Self::ForCluster => f.write_str("there is no such cluster"),
            Self::ForManifest => {
                f.write_str("the manifest of the cluster cannot be carried out: correct that first")
            }
            Self::ForWaking => f.write_str("the cluster is hibernated, so nobody can take it"),
            Self::ForArchiving { why } => write!(f, "the log is not archived: {why}"),
            Self::ForTaker => write!(f, "{NoTaker}"),
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
            Step::Anew { attempt, lost } => format!("anew {attempt}: {lost}\n"),
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
        let no_taker = || Home::There { taker: Err(NoTaker), failing: None };
        expect![[r#"
            begin 1 on db-2
            wait: it waits for the end of backup nightly
            wait: the log is not archived: no such bucket
            wait: no instance can take a backup: there is no primary that is open, and no standby that receives
            fail: it could not begin for 60 minutes: no instance can take a backup: there is no primary that is open, and no standby that receives
            wait: there is no such cluster
            wait: the manifest of the cluster cannot be carried out: correct that first
            wait: the cluster is hibernated, so nobody can take it
            fail: the cluster has no archive: add spec.backup.barmanObjectStore to it
        "#]]
        .assert_eq(
            &[
                waiting(there(&second, None), None, MINUTE),
                waiting(there(&second, None), Some("nightly"), MINUTE),
                waiting(there(&second, Some("no such bucket")), None, MINUTE),
                waiting(no_taker(), None, MINUTE),
                waiting(no_taker(), None, BEGIN_WITHIN),
                waiting(Home::Missing, None, MINUTE),
                waiting(Home::Refused, None, MINUTE),
                waiting(Home::Asleep, None, MINUTE),
                waiting(Home::WithoutArchive, Some("nightly"), MINUTE),
            ]
            .concat(),
        );
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
        let failed = |at| Heard::Failed { why: "PostgreSQL was stopped", at };
        expect![[r#"
            follow
            complete
            fail: it was cancelled
            begin 2 on db-3
            fail: PostgreSQL was stopped
            anew 2: PostgreSQL was stopped
            fail: PostgreSQL was stopped (attempt 3 of 3)
            anew 2: its instance lost its data, and with it the memory of the backup
            anew 2: its instance was removed from the cluster
            follow
            anew 3: its instance has not answered for 10 minutes
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

    #[test]
    fn who_has_begun_comes_before_who_was_first() {
        assert!(comes_before((Order::Begun, 2), (Order::Waits, 1)));
        assert!(comes_before((Order::Waits, 1), (Order::Waits, 2)));
        assert!(!comes_before((Order::Waits, 2), (Order::Waits, 1)));
    }
}
