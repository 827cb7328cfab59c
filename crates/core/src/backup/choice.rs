//! Chooses the backup to begin a recovery with, so that as little log as possible is replayed.
//!
//! Never chooses one that cannot reach the target, and says of every refusal what would help.

use super::window::{Archive, Gap, Interval, Missing, Stray, Window};
use super::{Backup, BackupId, Extent};
use crate::units::{Lsn, Moment, Timeline};
use crate::wal::Segment;
use serde::Serialize;
use std::fmt;

/// Where a recovery shall end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// As far as the log goes.
    Latest,
    /// As soon as the backup is consistent.
    Immediate,
    Time(Moment),
    Lsn(Lsn),
    /// A restore point or a transaction: only the log knows where it lies.
    Sought(String),
}

/// On which timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Along {
    /// The newest one that leads away from the backup.
    Latest,
    /// The one that the backup was taken on.
    Current,
    Only(Timeline),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub target: Target,
    pub along: Along,
    /// The user's own choice of the backup.
    pub backup: Option<BackupId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    pub backup: BackupId,
    /// Where the recovery will end at the latest.
    pub timeline: Timeline,
    /// How far the log goes there without a gap.
    pub to: Lsn,
    pub because: Because,
    pub concern: Option<Concern>,
}

/// Why it is this backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Because {
    /// No usable one is newer.
    Newest,
    /// No usable one ended nearer to the target and before it.
    NearestBefore,
    /// The user said so.
    Named,
}

/// What does not rule the choice out and may yet make the recovery fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Concern {
    /// Nothing that was committed so late is known to be archived.
    BehindTheArchive { until: Moment },
    /// A clock was ahead when this one was taken, after the chosen one, and was set back: a replay
    /// stops at the first commit that is later than the target, so before that.
    SetBack { ahead: BackupId },
}

/// Why no backup can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the repository holds no backup that can be restored: take one, or correct the destination \
         or the name of the server"
    )]
    NoBackup,
    #[error("there is no backup {0} that is done: choose one of those that are listed")]
    UnknownBackup(BackupId),
    #[error(
        "backup {backup} lacks the log that makes it consistent: {missing} is missing; choose \
         another backup"
    )]
    Unusable { backup: BackupId, missing: Segment },
    #[error(
        "backup {backup} is incremental, and backup {base}, which it builds on, is not there: \
         choose another backup"
    )]
    Broken { backup: BackupId, base: BackupId },
    #[error(
        "the data of backup {backup} is gone, and only what describes it is left: something removed \
         it; choose another backup"
    )]
    Gone { backup: BackupId },
    #[error(
        "none of the {count} backups that are done can be restored, and the repository's window says \
         why of each: take a new one"
    )]
    NoneUsable { count: usize },
    #[error("a restore point or a transaction is sought: name the backup to begin with")]
    NeedsBackup,
    #[error("the target lies before backup {first} ended, which is the first: choose a later one")]
    TooEarly { first: BackupId },
    #[error("backup {backup} ended after the target: choose an earlier backup or a later target")]
    EndedAfter { backup: BackupId },
    #[error("the log from backup {backup} on ends at {to}: choose a target before it")]
    TooLate { backup: BackupId, to: Lsn },
    #[error("no usable backup leads to timeline {0}: choose another timeline")]
    NoWayTo(Timeline),
}

/// Chooses from the newest backup to the oldest; the first that can do it wins.
pub fn choose(
    wanted: &Wanted,
    backups: &[Backup],
    archive: &Archive,
    window: &Window,
) -> Result<Choice, Refusal> {
    let mut candidates = candidates(wanted, backups)?;
    let count = candidates.len();
    candidates.sort_by(|(one, _), (other, _)| other.cmp(one));
    let because = match (&wanted.backup, &wanted.target) {
        (Some(_), _) => Because::Named,
        (None, Target::Sought(_)) => return Err(Refusal::NeedsBackup),
        (None, Target::Latest | Target::Immediate) => Because::Newest,
        (None, Target::Time(_) | Target::Lsn(_)) => Because::NearestBefore,
    };
    let mut refusal = Refusal::NoBackup;
    for (id, extent) in candidates {
        match judge(wanted, (id, extent), archive, window) {
            Ok((last, concern)) => {
                let Interval { timeline, to, .. } = *last;
                let ahead = set_back(&wanted.target, id, backups);
                let concern = ahead.map(|ahead| Concern::SetBack { ahead }).or(concern);
                return Ok(Choice { backup: id.clone(), timeline, to, because, concern });
            }
            Err(why) => refusal = more_telling(refusal, why),
        }
    }
    Err(match (refusal, &wanted.backup) {
        (Refusal::EndedAfter { backup }, None) => Refusal::TooEarly { first: backup },
        (Refusal::Unusable { .. } | Refusal::Broken { .. } | Refusal::Gone { .. }, None)
            if count > 1 =>
        {
            Refusal::NoneUsable { count }
        }
        (refusal, _) => refusal,
    })
}

fn candidates<'a>(
    wanted: &Wanted,
    backups: &'a [Backup],
) -> Result<Vec<(&'a BackupId, Extent)>, Refusal> {
    let done = backups.iter().filter_map(|backup| Some((&backup.id, backup.done()?)));
    let Some(named) = &wanted.backup else { return Ok(done.collect()) };
    let found: Vec<_> = done.filter(|(id, _)| *id == named).collect();
    if found.is_empty() { Err(Refusal::UnknownBackup(named.clone())) } else { Ok(found) }
}

/// What a person is told when no backup will do. Of two alike it is the one about the newer backup,
/// except that the oldest of those that ended too late bounds what can be asked for.
fn more_telling(before: Refusal, now: Refusal) -> Refusal {
    let bounds = matches!(now, Refusal::EndedAfter { .. });
    if rank(&now) > rank(&before) || (bounds && rank(&now) == rank(&before)) { now } else { before }
}

fn rank(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::NoBackup | Refusal::UnknownBackup(_) | Refusal::NeedsBackup => 0,
        Refusal::Unusable { .. }
        | Refusal::Broken { .. }
        | Refusal::Gone { .. }
        | Refusal::NoneUsable { .. } => 1,
        Refusal::EndedAfter { .. } | Refusal::TooEarly { .. } => 2,
        Refusal::NoWayTo(_) => 3,
        Refusal::TooLate { .. } => 4,
    }
}

fn judge<'a>(
    wanted: &Wanted,
    (id, extent): (&BackupId, Extent),
    archive: &Archive,
    window: &'a Window,
) -> Result<(&'a Interval, Option<Concern>), Refusal> {
    if let Some(one) = window.unusable.iter().find(|one| one.backup == *id) {
        let backup = id.clone();
        return Err(match &one.missing {
            Missing::Log(missing) => Refusal::Unusable { backup, missing: *missing },
            Missing::Backup(base) => Refusal::Broken { backup, base: base.clone() },
            Missing::Data => Refusal::Gone { backup },
        });
    }
    let too_early = match &wanted.target {
        Target::Time(time) => *time < extent.ended,
        Target::Lsn(lsn) => *lsn < extent.end,
        Target::Latest | Target::Immediate | Target::Sought(_) => false,
    };
    if too_early {
        return Err(Refusal::EndedAfter { backup: id.clone() });
    }
    let last = destination(wanted.along, extent, archive, window)?;
    let (to, until) = match wanted.along {
        Along::Only(_) => last.alone(),
        Along::Latest | Along::Current => (last.to, last.until),
    };
    let concern = match &wanted.target {
        Target::Lsn(lsn) if *lsn > to => {
            return Err(Refusal::TooLate { backup: id.clone(), to });
        }
        Target::Time(time) if *time > until => Some(Concern::BehindTheArchive { until }),
        Target::Latest
        | Target::Immediate
        | Target::Sought(_)
        | Target::Time(_)
        | Target::Lsn(_) => None,
    };
    Ok((last, concern))
}

/// The next backup that began behind the target, if one that was taken later ended before it began.
fn set_back(target: &Target, chosen: &BackupId, backups: &[Backup]) -> Option<BackupId> {
    let Target::Time(time) = target else { return None };
    let later = backups.iter().filter(|backup| backup.id > *chosen);
    let later = later.filter_map(|backup| Some((&backup.id, backup.done()?)));
    let mut later: Vec<(&BackupId, Extent)> = later.collect();
    later.sort_by_key(|(id, _)| *id);
    let mut behind = later.into_iter().skip_while(|(_, other)| other.began <= *time);
    let (ahead, Extent { began, .. }) = behind.next()?;
    behind.any(|(_, other)| other.ended < began).then(|| ahead.clone())
}

/// What is in the way to a target that may lie behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    Gap(Gap),
    /// A newer timeline, which may be the one that leads on.
    Stray(Stray),
}

/// The log that is missing on the way to a target which may lie behind it. A recovery would end
/// before it, as if that were the end of the log.
pub fn obstacle(wanted: &Wanted, choice: &Choice, window: &Window) -> Option<Obstacle> {
    let may_lie_behind = |known: Moment| match &wanted.target {
        Target::Latest => true,
        Target::Time(time) => *time > known,
        // What is sought may be found before; else it is not found.
        Target::Immediate | Target::Lsn(_) | Target::Sought(_) => false,
    };
    let latest = wanted.along == Along::Latest;
    let lies_on_the_way = |gap: &&Gap| {
        let leads_away = gap.is_of_another() && gap.timeline == choice.timeline;
        let ends = gap.ends(choice.timeline, choice.to) || (leads_away && gap.at <= choice.to);
        ends && (latest || !leads_away) && may_lie_behind(gap.since)
    };
    if let Some(gap) = window.gaps.iter().find(lies_on_the_way) {
        return Some(Obstacle::Gap(*gap));
    }
    let reached = choice.reached(window)?;
    let leads_on = |stray: &&Stray| {
        latest && stray.timeline > choice.timeline && may_lie_behind(reached.until)
    };
    window.strays.iter().find(leads_on).map(|stray| Obstacle::Stray(*stray))
}

/// The last interval that a recovery from this backup goes through.
fn destination<'a>(
    along: Along,
    extent: Extent,
    archive: &Archive,
    window: &'a Window,
) -> Result<&'a Interval, Refusal> {
    let leads = |interval: &&Interval| comes_from(interval, extent, archive, window);
    let mut reached = window.intervals.iter().filter(leads);
    let (found, timeline) = match along {
        Along::Latest => (reached.max_by_key(|one| one.timeline), extent.timeline),
        Along::Current => (reached.find(|one| one.timeline == extent.timeline), extent.timeline),
        Along::Only(timeline) => (reached.find(|one| one.timeline == timeline), timeline),
    };
    found.ok_or(Refusal::NoWayTo(timeline))
}

/// Whether the log from the backup on leads to this interval.
fn comes_from(interval: &Interval, extent: Extent, archive: &Archive, window: &Window) -> bool {
    if interval.timeline == extent.timeline {
        return interval.holds(extent.end);
    }
    let Some(fork) = archive.fork(interval.timeline) else { return false };
    interval.from == fork.at
        && window.intervals.iter().any(|parent| {
            parent.timeline == fork.parent
                && parent.from <= fork.at
                && (parent.timeline != extent.timeline || extent.end <= fork.at)
                && comes_from(parent, extent, archive, window)
        })
}

impl Choice {
    /// The interval in which the recovery will end.
    pub(super) fn reached<'a>(&self, window: &'a Window) -> Option<&'a Interval> {
        window.intervals.iter().find(|one| (one.timeline, one.to) == (self.timeline, self.to))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = match self.because {
            Because::Newest => "the newest",
            Because::NearestBefore => "the nearest before the target",
            Because::Named => "as named",
        };
        write!(f, "backup {} along timeline {}: {because}", self.backup, self.timeline)?;
        match &self.concern {
            Some(Concern::BehindTheArchive { until }) => {
                write!(f, "; nothing committed after {until} is known to be archived")
            }
            Some(Concern::SetBack { ahead }) => write!(
                f,
                "; a clock was ahead when backup {ahead} was taken and was set back later: the \
                 recovery stops before that, so name a position of the log for what came after"
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::{DAY, archive, backup};
    use crate::backup::window::window;
    use expect_test::{Expect, expect};

    fn wanted(target: Target) -> Wanted {
        Wanted { target, along: Along::Latest, backup: None }
    }

    /// Three backups; a promotion after the second; the third's log is not there.
    fn check(wanted: &[Wanted], expected: &Expect) {
        let backups = [backup(1, 1, 3), backup(2, 1, 6), backup(3, 2, 20)];
        let archive = archive(&[(1, 2, 8), (2, 9, 12)], &[(2, 1, 0x900_0100)]);
        let window = window(&backups, &archive);
        let said = |wanted: &Wanted| match choose(wanted, &backups, &archive, &window) {
            Ok(choice) => format!("{choice}\n"),
            Err(refusal) => format!("refused: {refusal}\n"),
        };
        expected.assert_eq(&wanted.iter().map(said).collect::<String>());
    }

    #[test]
    fn the_newest_usable_one_leads_to_the_end() {
        let along = |along| Wanted { along, ..wanted(Target::Latest) };
        let all = [
            along(Along::Latest),
            along(Along::Current),
            along(Along::Only(Timeline(1))),
            along(Along::Only(Timeline(7))),
        ];
        check(
            &all,
            &expect![[r#"
            backup 19700103T000000 along timeline 2: the newest
            backup 19700103T000000 along timeline 1: the newest
            backup 19700103T000000 along timeline 1: the newest
            refused: no usable backup leads to timeline 7: choose another timeline
        "#]],
        );
    }

    #[test]
    fn what_came_later_on_a_timeline_whose_begin_is_missing_is_not_passed_over() {
        let backups = [backup(1, 1, 3)];
        // The old primary went on for a segment after it was left.
        let archive = archive(&[(1, 2, 6), (2, 8, 9)], &[(2, 1, 0x500_0100)]);
        let window = window(&backups, &archive);
        let named = |along| {
            let wanted = Wanted { along, ..wanted(Target::Latest) };
            let choice = choose(&wanted, &backups, &archive, &window).unwrap();
            obstacle(&wanted, &choice, &window)
        };
        let Some(Obstacle::Gap(gap)) = named(Along::Latest) else { panic!("{window}") };
        assert_eq!(gap.first.to_string(), "000000020000000000000005");
        assert_eq!(named(Along::Only(Timeline(1))), None);
    }

    #[test]
    fn what_a_failover_lost_is_reached_by_naming_its_timeline() {
        let backups = [backup(1, 1, 3)];
        let archive = archive(&[(1, 2, 5), (2, 6, 9)], &[(2, 1, 0x600_0100)]);
        let archive = crate::backup::fixtures::streaming(archive, &[(1, 0x600_0900)]);
        let window = window(&backups, &archive);
        let to = |along, lsn: u64| {
            let wanted = Wanted { along, ..wanted(Target::Lsn(Lsn(lsn))) };
            choose(&wanted, &backups, &archive, &window).map(|choice| choice.timeline)
        };
        let only = Along::Only(Timeline(1));
        assert_eq!(to(only, 0x600_0900), Ok(Timeline(1)));
        // Along the newest, that position is of the one that took over.
        assert_eq!(to(Along::Latest, 0x600_0900), Ok(Timeline(2)));
        let too_late = Refusal::TooLate { backup: backups[0].id.clone(), to: Lsn(0x600_0900) };
        assert_eq!(to(only, 0x600_0901), Err(too_late));
    }

    #[test]
    fn a_gap_is_named_before_a_target_behind_it() {
        let backups = [backup(1, 1, 3)];
        let archive = archive(&[(1, 2, 8), (1, 11, 12)], &[]);
        let window = window(&backups, &archive);
        let minute = |minutes: i64| Moment(minutes * 60_000_000 + DAY * 2);
        let mut said = Vec::new();
        for target in [
            Target::Latest,
            Target::Immediate,
            Target::Lsn(Lsn(0x500_0000)),
            Target::Time(minute(1)),
        ] {
            let wanted = wanted(target.clone());
            let choice = choose(&wanted, &backups, &archive, &window).unwrap();
            let gap = obstacle(&wanted, &choice, &window).map(|obstacle| match obstacle {
                Obstacle::Gap(gap) => format!("{} to {}", gap.first, gap.last),
                Obstacle::Stray(stray) => format!("{stray:?}"),
            });
            said.push(format!("{target:?}: {gap:?}\n"));
        }
        expect![[r#"
            Latest: Some("000000010000000000000009 to 00000001000000000000000A")
            Immediate: None
            Lsn(Lsn(83886080)): None
            Time(Moment(172860000000)): Some("000000010000000000000009 to 00000001000000000000000A")
        "#]]
        .assert_eq(&said.concat());
    }

    #[test]
    fn a_lost_history_is_in_the_way_of_what_may_lie_behind() {
        let backups = [backup(1, 1, 3)];
        let archive = archive(&[(1, 2, 8), (2, 8, 12), (3, 12, 14)], &[(2, 1, 0x800_0100)]);
        let window = window(&backups, &archive);
        let minute = |minutes: i64| Moment(minutes * 60_000_000 + DAY * 2);
        let is_hindered = |target: Target, along: Along| {
            let wanted = Wanted { along, ..wanted(target) };
            let choice = choose(&wanted, &backups, &archive, &window).unwrap();
            match obstacle(&wanted, &choice, &window) {
                None => false,
                Some(Obstacle::Stray(stray)) => stray.timeline == Timeline(3),
                Some(Obstacle::Gap(gap)) => panic!("{gap:?}"),
            }
        };
        assert!(is_hindered(Target::Latest, Along::Latest));
        assert!(is_hindered(Target::Time(minute(1)), Along::Latest));
        for (target, along) in [
            (Target::Latest, Along::Only(Timeline(2))),
            (Target::Latest, Along::Current),
            (Target::Immediate, Along::Latest),
            (Target::Lsn(Lsn(0x500_0000)), Along::Latest),
        ] {
            assert!(!is_hindered(target.clone(), along), "{target:?} {along:?}");
        }
    }

    #[test]
    fn a_target_takes_the_nearest_before_it() {
        let all = [
            wanted(Target::Lsn(Lsn(0x500_0000))),
            wanted(Target::Lsn(Lsn(0x700_0000))),
            wanted(Target::Time(Moment(DAY + DAY / 2))),
        ];
        check(
            &all,
            &expect![[r#"
            backup 19700102T000000 along timeline 2: the nearest before the target
            backup 19700103T000000 along timeline 2: the nearest before the target
            backup 19700102T000000 along timeline 2: the nearest before the target; nothing committed after 1970-01-01 00:12:00 UTC is known to be archived
        "#]],
        );
    }

    /// The third backup was taken by a clock that was four days ahead, the others after it was set
    /// back; names are in the order of the log all the same.
    #[test]
    fn a_clock_that_was_set_back_is_named() {
        let ended = |backup: Backup, day: i64, hours: i64| {
            let ended = Moment(day * DAY + hours * DAY / 24);
            let extent = backup.extent.map(|extent| Extent { began: ended, ended, ..extent });
            Backup { extent, ..backup }
        };
        let backups = [
            backup(1, 1, 3),
            backup(2, 1, 4),
            backup(6, 1, 5),
            ended(backup(7, 1, 6), 2, 12),
            ended(backup(8, 1, 7), 3, 12),
        ];
        let archive = archive(&[(1, 2, 9)], &[]);
        let window = window(&backups, &archive);
        let said = |(day, hours): (i64, i64)| {
            let target = Target::Time(Moment(day * DAY + hours * DAY / 24));
            match choose(&wanted(target), &backups, &archive, &window) {
                Ok(choice) => format!("day {day}, {hours} h: {choice}\n"),
                Err(refusal) => format!("refused: {refusal}\n"),
            }
        };
        let all = [(1, 12), (2, 6), (2, 18), (3, 18), (6, 6)];
        expect![[r#"
            day 1, 12 h: backup 19700102T000000 along timeline 1: the nearest before the target; nothing committed after 1970-01-01 00:09:00 UTC is known to be archived
            day 2, 6 h: backup 19700103T000000 along timeline 1: the nearest before the target; a clock was ahead when backup 19700107T000000 was taken and was set back later: the recovery stops before that, so name a position of the log for what came after
            day 2, 18 h: backup 19700108T000000 along timeline 1: the nearest before the target; nothing committed after 1970-01-01 00:09:00 UTC is known to be archived
            day 3, 18 h: backup 19700109T000000 along timeline 1: the nearest before the target; nothing committed after 1970-01-01 00:09:00 UTC is known to be archived
            day 6, 6 h: backup 19700109T000000 along timeline 1: the nearest before the target; nothing committed after 1970-01-01 00:09:00 UTC is known to be archived
        "#]].assert_eq(&all.map(said).concat());
    }

    #[test]
    fn targets_out_of_reach_are_refused_with_the_reason() {
        let all = [
            wanted(Target::Time(Moment(DAY / 2))),
            wanted(Target::Lsn(Lsn(0x9900_0000))),
            wanted(Target::Sought("before-upgrade".to_owned())),
        ];
        check(
            &all,
            &expect![[r#"
            refused: the target lies before backup 19700102T000000 ended, which is the first: choose a later one
            refused: the log from backup 19700103T000000 on ends at 0/D000000: choose a target before it
            refused: a restore point or a transaction is sought: name the backup to begin with
        "#]],
        );
    }

    #[test]
    fn a_named_backup_is_taken_or_refused() {
        let named = |id| Wanted {
            backup: Some(BackupId::parse(id).unwrap()),
            ..wanted(Target::Lsn(Lsn(0x500_0000)))
        };
        let all = ["19700102T000000", "19700103T000000", "19700104T000000", "19700109T000000"];
        check(
            &all.map(named),
            &expect![[r#"
            backup 19700102T000000 along timeline 2: as named
            refused: backup 19700103T000000 ended after the target: choose an earlier backup or a later target
            refused: backup 19700104T000000 lacks the log that makes it consistent: 000000020000000000000014 is missing; choose another backup
            refused: there is no backup 19700109T000000 that is done: choose one of those that are listed
        "#]],
        );
    }

    #[test]
    fn the_end_is_reached_over_timelines_that_have_no_segment_of_their_own() {
        let backups = [backup(1, 1, 3)];
        let forks = [(2, 1, 0x600_0100), (3, 2, 0x600_0200)];
        let archive = archive(&[(1, 3, 5), (3, 6, 9)], &forks);
        let window = window(&backups, &archive);
        let choice = choose(&wanted(Target::Latest), &backups, &archive, &window).unwrap();
        assert_eq!((choice.timeline, choice.to), (Timeline(3), Lsn(0xA00_0000)));
    }

    #[test]
    fn a_history_that_runs_in_a_circle_leads_nowhere() {
        let backups = [backup(1, 1, 3)];
        let archive = archive(&[(1, 2, 8)], &[(2, 3, 0x400_0000), (3, 2, 0x400_0000), (1, 1, 0)]);
        let window = window(&backups, &archive);
        let only = Wanted { along: Along::Only(Timeline(3)), ..wanted(Target::Latest) };
        assert_eq!(choose(&only, &backups, &archive, &window), Err(Refusal::NoWayTo(Timeline(3))));
    }

    #[test]
    fn a_backup_is_passed_over_that_lost_its_data_or_what_it_builds_on() {
        let lost = Backup { builds_on: Some(backup(9, 1, 9).id), ..backup(2, 1, 6) };
        let empty = Backup { has_data: false, ..backup(3, 1, 7) };
        let backups = [backup(1, 1, 3), lost, empty];
        let archive = archive(&[(1, 2, 8)], &[]);
        let window = window(&backups, &archive);
        let named =
            |at: usize| Wanted { backup: Some(backups[at].id.clone()), ..wanted(Target::Latest) };
        let latest = wanted(Target::Latest);
        let asked = [
            (&latest, &backups[..]),
            (&named(1), &backups),
            (&named(2), &backups),
            (&latest, &backups[1..]),
        ];
        let said =
            asked.map(|(wanted, backups)| match choose(wanted, backups, &archive, &window) {
                Ok(choice) => format!("{choice}\n"),
                Err(refusal) => format!("refused: {refusal}\n"),
            });
        expect![[r#"
            backup 19700102T000000 along timeline 1: the newest
            refused: backup 19700103T000000 is incremental, and backup 19700110T000000, which it builds on, is not there: choose another backup
            refused: the data of backup 19700104T000000 is gone, and only what describes it is left: something removed it; choose another backup
            refused: none of the 2 backups that are done can be restored, and the repository's window says why of each: take a new one
        "#]]
        .assert_eq(&said.concat());
    }
}
