//! Decides which files of the log are archived next, when PostgreSQL has more than one ready.
//!
//! Never lets a file that fails hold up the others, and never forgets that it is still there.

use super::WalFile;
use crate::units::Time;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// After the first failure of a file; doubled with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// What PostgreSQL has marked as ready.
    pub ready: &'a BTreeSet<WalFile>,
    /// The one that PostgreSQL waits for, if it asks right now.
    pub asked: Option<WalFile>,
    pub under_way: &'a BTreeSet<WalFile>,
    /// Durable in the repository; PostgreSQL has not been told yet.
    pub stored: &'a BTreeSet<WalFile>,
    pub failed: &'a BTreeMap<WalFile, Failed>,
    /// So many at once.
    pub at_once: usize,
}

/// What became of a file that could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// At least one.
    pub times: u32,
    pub last: Time,
}

impl Failed {
    fn may_be_tried_at(self) -> Time {
        let doublings = self.times.saturating_sub(1).min(16);
        self.last.after(FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// To begin with now, in this order.
    pub take: Vec<WalFile>,
    pub verdict: Verdict,
    /// When to look again if nothing happens before.
    pub look_again: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// All that is ready is stored.
    Idle,
    /// So many are ready and not stored, those under way included.
    Archiving { waiting: usize },
    /// Some of them failed and are tried again later; nothing else can be begun until then.
    Failing { waiting: usize, failed: usize },
}

/// The one that is asked for first, then histories, then the oldest.
pub fn plan(sight: &Sight<'_>, now: Time) -> Plan {
    let waiting: BTreeSet<WalFile> = sight
        .ready
        .iter()
        .chain(&sight.asked)
        .filter(|file| !sight.stored.contains(file))
        .copied()
        .collect();
    let idle = waiting.iter().filter(|file| !sight.under_way.contains(file));
    let is_due = |file: &WalFile| pause(sight, *file).is_none_or(|until| until <= now);
    let mut due: Vec<WalFile> = idle.copied().filter(is_due).collect();
    due.sort_by_key(|file| (Some(*file) != sight.asked, *file));
    due.truncate(sight.at_once.saturating_sub(sight.under_way.len()));

    let paused = waiting.iter().filter_map(|file| pause(sight, *file)).filter(|until| *until > now);
    let look_again = paused.clone().min().unwrap_or(Time::NEVER);
    let (failed, waiting) = (paused.count(), waiting.len());
    let verdict = if waiting == 0 {
        Verdict::Idle
    } else if failed > 0 && due.is_empty() && sight.under_way.is_empty() {
        Verdict::Failing { waiting, failed }
    } else {
        Verdict::Archiving { waiting }
    };
    Plan { take: due, verdict, look_again }
}

/// Until when a file is left alone. The one that PostgreSQL waits for is not: it asks anew only
/// after a pause of its own.
fn pause(sight: &Sight<'_>, file: WalFile) -> Option<Time> {
    let failed = sight.failed.get(&file).filter(|_| sight.asked != Some(file))?;
    Some(failed.may_be_tried_at())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Idle => f.write_str("nothing waits")?,
            Verdict::Archiving { waiting } => write!(f, "{waiting} wait")?,
            Verdict::Failing { waiting, failed } => write!(f, "{waiting} wait, {failed} failed")?,
        }
        for file in &self.take {
            write!(f, "; take {file}")?;
        }
        if self.look_again == Time::NEVER {
            Ok(())
        } else {
            write!(f, "; again at {}", self.look_again)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[derive(Default)]
    struct Story {
        ready: BTreeSet<WalFile>,
        asked: Option<WalFile>,
        under_way: BTreeSet<WalFile>,
        stored: BTreeSet<WalFile>,
        failed: BTreeMap<WalFile, Failed>,
    }

    fn file(short: &str) -> WalFile {
        let name = match short.strip_prefix('h') {
            Some(timeline) => format!("{timeline:0>8}.history"),
            None => format!("00000001{short:0>16}"),
        };
        WalFile::parse(&name).unwrap()
    }

    fn files(shorts: &str) -> BTreeSet<WalFile> {
        shorts.split_whitespace().map(file).collect()
    }

    fn failed(times: u32, last: u64) -> Failed {
        Failed { times, last: Time(last * 1_000_000) }
    }

    fn check(story: &Story, seconds: u64, expected: &Expect) {
        let sight = Sight {
            ready: &story.ready,
            asked: story.asked,
            under_way: &story.under_way,
            stored: &story.stored,
            failed: &story.failed,
            at_once: 3,
        };
        expected.assert_eq(&plan(&sight, Time(seconds * 1_000_000)).to_string());
    }

    #[test]
    fn histories_first_then_the_oldest_no_more_than_allowed() {
        let story = Story { ready: files("C B A D h2"), ..Story::default() };
        check(
            &story,
            0,
            &expect![
                "5 wait; take 00000002.history; take 00000001000000000000000A; take 00000001000000000000000B"
            ],
        );
        let story = Story { under_way: files("A B"), ..story };
        check(&story, 0, &expect!["5 wait; take 00000002.history"]);
    }

    #[test]
    fn the_one_asked_for_goes_before_all() {
        let story = Story { ready: files("A B C h2"), asked: Some(file("C")), ..Story::default() };
        check(
            &story,
            0,
            &expect![
                "4 wait; take 00000001000000000000000C; take 00000002.history; take 00000001000000000000000A"
            ],
        );
        // Asked for and not marked as ready: it is archived all the same.
        let story = Story { asked: Some(file("F")), ..Story::default() };
        check(&story, 0, &expect!["1 wait; take 00000001000000000000000F"]);
    }

    #[test]
    fn one_that_fails_waits_alone() {
        let mut story = Story { ready: files("A B"), ..Story::default() };
        story.failed.insert(file("A"), failed(3, 10));
        check(&story, 11, &expect!["2 wait; take 00000001000000000000000B; again at 14.000s"]);
        check(
            &story,
            14,
            &expect!["2 wait; take 00000001000000000000000A; take 00000001000000000000000B"],
        );
        story.ready = files("A");
        check(&story, 11, &expect!["1 wait, 1 failed; again at 14.000s"]);
        story.asked = Some(file("A"));
        check(&story, 11, &expect!["1 wait; take 00000001000000000000000A"]);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let until = |times| failed(times, 0).may_be_tried_at().0 / 1_000_000;
        assert_eq!([1, 2, 3, 6, 7, 40, u32::MAX].map(until), [1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn what_is_stored_waits_for_nothing() {
        let story = Story { ready: files("A B"), stored: files("A B"), ..Story::default() };
        check(&story, 0, &expect!["nothing waits"]);
    }
}
