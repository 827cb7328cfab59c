//! Decides which logical dumps are kept, and when a dump has held its snapshot for too long.
//!
//! Never gives up the last dump of the same databases.

use crate::backup::BackupId;
use crate::backup::horizon::{Leap, Side};
use crate::backup::retention::Policy;
use crate::units::Moment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A dump as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    pub id: BackupId,
    pub began: Moment,
    /// What it is of: dumps of the same databases and tables can stand for each other.
    pub content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    Kept(Keep),
    Removed(Remove),
}

/// Why a dump is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// It was taken within the window.
    Inside,
    /// The window begins after it only if this time went by, and was not made by a wrong clock.
    Doubtful(Leap),
    /// It is one of the newest of its databases.
    Newest,
    /// There is no newer one of its databases.
    Last,
}

/// Why a dump is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Remove {
    /// It was taken before the window, and there is a newer one.
    BeforeTheWindow,
    /// Enough newer ones are there.
    Surplus,
}

/// What becomes of each dump, in the order of their ids.
pub fn retained(policy: Policy, dumps: &[Dump], now: Moment) -> Vec<(BackupId, Fate)> {
    let horizon = policy.horizon(dumps.iter().map(|dump| dump.began), now);
    let mut alike: BTreeMap<&str, Vec<&Dump>> = BTreeMap::new();
    for dump in dumps {
        alike.entry(&dump.content).or_default().push(dump);
    }
    let mut fates = Vec::new();
    for mut same in alike.into_values() {
        same.sort_by(|one, other| other.id.cmp(&one.id));
        let judged = same.iter().enumerate();
        fates.extend(judged.map(|(newer, dump)| {
            let side = horizon.map(|horizon| horizon.side(dump.began));
            (dump.id.clone(), fate(policy, side, newer))
        }));
    }
    fates.sort_by(|(one, _), (other, _)| one.cmp(other));
    fates
}

/// Of a dump of which there are so many newer ones.
fn fate(policy: Policy, side: Option<Side>, newer: usize) -> Fate {
    if newer == 0 {
        return Fate::Kept(Keep::Last);
    }
    match (policy, side) {
        (Policy::Days(_), Some(Side::Before)) => Fate::Removed(Remove::BeforeTheWindow),
        (Policy::Days(_), Some(Side::Doubtful(leap))) => Fate::Kept(Keep::Doubtful(leap)),
        (Policy::Days(_), Some(Side::Inside) | None) => Fate::Kept(Keep::Inside),
        (Policy::Count(count), _) if newer < usize::try_from(count).unwrap_or(usize::MAX) => {
            Fate::Kept(Keep::Newest)
        }
        (Policy::Count(_), _) => Fate::Removed(Remove::Surplus),
    }
}

/// For how long a dump may hold its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotLimits {
    pub age: Duration,
    /// Begun by others since. What they leave behind can be cleared away only after the dump.
    pub transactions: u64,
}

impl SnapshotLimits {
    /// From here on PostgreSQL forces its tables to be vacuumed, which an old snapshot makes useless.
    pub const TRANSACTIONS: u64 = 200_000_000;
}

/// How a snapshot is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotAge {
    pub held: Duration,
    pub transactions: u64,
}

/// Why a dump has to let go of its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overdue {
    #[error(
        "the dump held its snapshot for {held:?}, and {limit:?} is the limit: dump fewer tables at \
         once, use --format directory with more --jobs, or raise --snapshot-limit"
    )]
    Age { held: Duration, limit: Duration },
    #[error(
        "{transactions} transactions began since the dump's snapshot was taken, and {limit} is the \
         limit, so that old row versions can be cleared away: dump fewer tables at once, or use \
         --format directory with more --jobs"
    )]
    Transactions { transactions: u64, limit: u64 },
}

pub fn overdue(age: SnapshotAge, limits: SnapshotLimits) -> Option<Overdue> {
    let SnapshotLimits { age: limit, transactions: most } = limits;
    if age.held >= limit {
        // Whole seconds are enough for people.
        let held = Duration::from_secs(age.held.as_secs());
        return Some(Overdue::Age { held, limit });
    }
    (age.transactions >= most)
        .then_some(Overdue::Transactions { transactions: age.transactions, limit: most })
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inside => "kept: taken within the window",
            Self::Doubtful(leap) => {
                return write!(
                    f,
                    "kept: taken before the window only if the time {leap} went by, in which no \
                     dump was taken; a clock may have been wrong"
                );
            }
            Self::Newest => "kept: one of the newest of its databases",
            Self::Last => "kept: the last one of its databases",
        })
    }
}

impl fmt::Display for Remove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeTheWindow => "removed: taken before the window",
            Self::Surplus => "removed: enough newer ones are there",
        })
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(keep) => keep.fmt(f),
            Self::Removed(remove) => remove.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const DAY: i64 = 86_400_000_000;

    fn told(policy: &str, dumps: &[(i64, &str)]) -> String {
        let dump = |(day, content): &(i64, &str)| Dump {
            id: BackupId::parse(&format!("202611{day:02}T000000")).unwrap(),
            began: Moment(day * DAY),
            content: (*content).to_owned(),
        };
        let dumps: Vec<Dump> = dumps.iter().map(dump).collect();
        let fates = retained(Policy::parse(policy).unwrap(), &dumps, Moment(20 * DAY));
        fates.iter().map(|(id, fate)| format!("{id} {fate}\n")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn dumps_of_the_same_databases_stand_for_each_other_and_the_last_stays() {
        let dumps = [(1, "a"), (2, "b"), (9, "a"), (12, "a"), (18, "a"), (19, "a t")];
        expect![[r#"
            20261101T000000 removed: taken before the window
            20261102T000000 kept: the last one of its databases
            20261109T000000 removed: taken before the window
            20261112T000000 removed: taken before the window
            20261118T000000 kept: the last one of its databases
            20261119T000000 kept: the last one of its databases
            20261101T000000 removed: enough newer ones are there
            20261102T000000 kept: the last one of its databases
            20261109T000000 removed: enough newer ones are there
            20261112T000000 kept: one of the newest of its databases
            20261118T000000 kept: the last one of its databases
            20261119T000000 kept: the last one of its databases
            20261101T000000 removed: taken before the window
            20261109T000000 kept: taken within the window
            20261118T000000 kept: the last one of its databases
        "#]]
        .assert_eq(
            &[told("7d", &dumps), told("2", &dumps), told("2w", &[(1, "a"), (9, "a"), (18, "a")])]
                .concat(),
        );
    }

    #[test]
    fn a_clock_that_is_ahead_gives_nothing_up() {
        let dumps = [(1, "a"), (2, "a"), (3, "a"), (19, "a")];
        expect![[r#"
            20261101T000000 removed: taken before the window
            20261102T000000 kept: taken before the window only if the time from 1970-01-04 00:00:00 UTC to 1970-01-20 00:00:00 UTC went by, in which no dump was taken; a clock may have been wrong
            20261103T000000 kept: taken before the window only if the time from 1970-01-04 00:00:00 UTC to 1970-01-20 00:00:00 UTC went by, in which no dump was taken; a clock may have been wrong
            20261119T000000 kept: the last one of its databases
        "#]].assert_eq(&told("3d", &dumps));
    }

    #[test]
    fn a_snapshot_is_given_up_at_either_limit() {
        let limits = SnapshotLimits { age: Duration::from_mins(1), transactions: 1000 };
        let judged = |seconds, transactions| {
            let age = SnapshotAge { held: Duration::from_secs(seconds), transactions };
            overdue(age, limits)
        };
        assert_eq!(judged(59, 999), None);
        assert!(matches!(judged(60, 0), Some(Overdue::Age { .. })));
        assert!(matches!(judged(0, 1000), Some(Overdue::Transactions { .. })));
    }
}
