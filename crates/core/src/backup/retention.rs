//! Decides which backups and which part of the log are kept, with a reason for each.
//!
//! Never gives up what a kept backup needs, a backup on hold, or one that is not finished; and
//! gives up nothing while there is a backup that cannot be read.

use super::horizon::{Horizon, Leap, Side};
use super::{Backup, BackupId, Hold, increment};
use crate::units::Moment;
use crate::wal::{Segment, WalFile};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What shall be possible in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// To go back to any point of the last so many days.
    Days(u32),
    /// To restore so many backups; zero counts as one.
    Count(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a retention policy: use a number and d, w or m (days, weeks, months of 31 \
     days), like 30d, or a number of backups, like 7"
)]
pub struct PolicyError {
    given: String,
}

impl Policy {
    pub fn parse(given: &str) -> Result<Self, PolicyError> {
        let refused = || PolicyError { given: given.to_owned() };
        let digits = given.trim_end_matches(['d', 'w', 'm']);
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        let number: u32 = digits.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        let unit = match given.get(digits.len()..).unwrap_or_default() {
            "" => return Ok(Self::Count(number)),
            "d" => 1,
            "w" => 7,
            "m" => 31,
            _ => return Err(refused()),
        };
        number.checked_mul(unit).map(Self::Days).ok_or_else(refused)
    }

    /// Where the window begins, if it has a length; `taken` is when all was taken that is judged.
    pub(crate) fn horizon(
        self,
        taken: impl IntoIterator<Item = Moment>,
        now: Moment,
    ) -> Option<Horizon> {
        const DAY: u64 = 86_400;
        match self {
            Self::Days(days) => {
                let begins = now.before(Duration::from_secs(u64::from(days) * DAY));
                Some(Horizon::new(begins, taken, now))
            }
            Self::Count(_) => None,
        }
    }
}

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub policy: Policy,
    /// So many usable backups are kept whatever the policy says.
    pub at_least: u32,
    pub backups: &'a [Backup],
    /// Backups that the log cannot make consistent: they keep nothing else from being kept.
    pub unusable: &'a BTreeSet<BackupId>,
    /// Backups whose description could not be read.
    pub unreadable: &'a BTreeSet<BackupId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// In the order of their ids.
    pub backups: Vec<(BackupId, Fate)>,
    pub wal: Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    Kept(Keep),
    Removed(Remove),
}

/// Why a backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// It ended within the window.
    Inside,
    /// The window begins after it only if this time went by, and was not made by a wrong clock.
    Doubtful(Leap),
    /// The window's first days are recovered from it.
    BeginsTheWindow,
    /// It is one of the newest.
    Newest,
    /// Fewer than wanted would be left.
    AtLeast,
    OnHold(Hold),
    /// One that is kept builds on it.
    Needed,
    /// It is being taken, or it failed and somebody should look.
    NotDone,
    /// Some backup cannot be read; what it needs is unknown.
    Unreadable,
    /// Another one is to be removed.
    NotMeant,
}

/// Why a backup is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Remove {
    /// The window begins after it, and another one leads into it.
    BeforeTheWindow,
    /// Enough newer ones are there.
    Surplus,
    /// Somebody asked for that.
    Asked,
    /// What it builds on is to be removed.
    LosesItsBase,
}

/// Which segments of the log are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// The first segment that a kept backup needs; without one nothing is removed.
    pub before: Option<Segment>,
    /// What backups that stand alone need, first and last.
    pub except: Vec<(Segment, Segment)>,
}

impl Cut {
    /// Whether nobody needs this file any more. Histories are kept: they are small, and without
    /// them no later timeline can be followed.
    pub fn removes(&self, file: WalFile) -> bool {
        let segment = match file {
            WalFile::History(_) => return false,
            WalFile::Segment(segment)
            | WalFile::Partial(segment)
            | WalFile::Label { segment, .. } => segment,
        };
        let held = |(first, last): &(Segment, Segment)| (*first..=*last).contains(&segment);
        self.before.is_some_and(|before| segment < before) && !self.except.iter().any(held)
    }
}

/// Judges each backup, then cuts the log at the first segment that is still needed.
pub fn plan(sight: &Sight<'_>, now: Moment) -> Plan {
    let mut sorted: Vec<&Backup> = sight.backups.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    if !sight.unreadable.is_empty() {
        let fates = sorted.iter().map(|one| (one.id.clone(), Fate::Kept(Keep::Unreadable)));
        return Plan { backups: fates.collect(), wal: Cut::default() };
    }
    let ended = sorted.iter().filter_map(|backup| Some(backup.done()?.ended));
    let horizon = sight.policy.horizon(ended, now);
    let mut fates = Vec::new();
    let mut ahead = Ahead::default();
    for backup in sorted.iter().rev() {
        fates.push((backup.id.clone(), fate(backup, sight, horizon.as_ref(), &mut ahead)));
    }
    fates.reverse();
    keep_what_is_built_on(&mut fates, sight.backups);
    let wal = cut(&sorted, &fates);
    Plan { backups: fates, wal }
}

/// A backup that is kept is worth nothing without those that it builds on.
fn keep_what_is_built_on(fates: &mut [(BackupId, Fate)], backups: &[Backup]) {
    let kept = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Kept(_)));
    let chains = kept.filter_map(|(id, _)| increment::links(id, backups).ok());
    let needed: BTreeSet<BackupId> =
        chains.flat_map(|chain| chain.into_iter().skip(1).map(|one| one.id.clone())).collect();
    for (id, fate) in fates {
        if matches!(fate, Fate::Removed(_)) && needed.contains(id) {
            *fate = Fate::Kept(Keep::Needed);
        }
    }
}

/// When the first of these ended that a policy keeps at that moment, as far as holds do not matter.
pub fn first_kept(ended: &[Moment], policy: Option<Policy>, now: Moment) -> Option<Moment> {
    let mut ended = ended.to_vec();
    ended.sort_unstable();
    let first = ended.first().copied()?;
    Some(match policy {
        None => first,
        Some(Policy::Count(count)) => {
            let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
            ended.get(ended.len().saturating_sub(count)).copied().unwrap_or(first)
        }
        Some(policy @ Policy::Days(_)) => {
            let horizon = policy.horizon(ended.iter().copied(), now);
            let leads = |end: &&Moment| horizon.is_some_and(|it| it.side(**end) == Side::Before);
            ended.iter().rfind(leads).copied().unwrap_or(first)
        }
    })
}

/// Why a backup is not removed although somebody asks for that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoveRefusal {
    #[error("there is no backup {0}: choose one of those that are listed")]
    Unknown(BackupId),
    #[error("backup {0} is on hold: release it first")]
    OnHold(BackupId),
    #[error("backup {held} builds on backup {backup} and is on hold: release it first")]
    HeldBuildsOn { backup: BackupId, held: BackupId },
    #[error(
        "backup {0} is the last one that can be restored, or all others build on it: take another \
         one first"
    )]
    Last(BackupId),
    #[error("backup {0} cannot be read, and what it needs is unknown: remove its folder by hand")]
    Unreadable(BackupId),
}

/// Removes this one, those that build on it, and the log that only they needed. Policy and time of
/// the sight do not count.
pub fn without(meant: &BackupId, sight: &Sight<'_>) -> Result<Plan, RemoveRefusal> {
    let found = sight.backups.iter().find(|backup| backup.id == *meant);
    let Some(found) = found else {
        let is_there = sight.unreadable.contains(meant);
        let refusal = if is_there { RemoveRefusal::Unreadable } else { RemoveRefusal::Unknown };
        return Err(refusal(meant.clone()));
    };
    if found.hold.is_some() {
        return Err(RemoveRefusal::OnHold(meant.clone()));
    }
    let builds_on_it: BTreeSet<&BackupId> = increment::dependants(meant, sight.backups).collect();
    let is_held = |backup: &&Backup| backup.hold.is_some() && builds_on_it.contains(&backup.id);
    if let Some(held) = sight.backups.iter().find(is_held) {
        let (backup, held) = (meant.clone(), held.id.clone());
        return Err(RemoveRefusal::HeldBuildsOn { backup, held });
    }
    let is_usable =
        |backup: &&Backup| backup.done().is_some() && !sight.unusable.contains(&backup.id);
    let goes = |backup: &&Backup| backup.id == *meant || builds_on_it.contains(&backup.id);
    let usable = || sight.backups.iter().filter(is_usable);
    let stays = usable().any(|backup| !goes(&backup));
    if !stays && usable().next().is_some() && sight.at_least > 0 {
        return Err(RemoveRefusal::Last(meant.clone()));
    }
    let mut sorted: Vec<&Backup> = sight.backups.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let fate = |backup: &&Backup| match backup.hold {
        _ if backup.id == *meant => Fate::Removed(Remove::Asked),
        _ if builds_on_it.contains(&backup.id) => Fate::Removed(Remove::LosesItsBase),
        Some(hold) => Fate::Kept(Keep::OnHold(hold)),
        None => Fate::Kept(Keep::NotMeant),
    };
    let fates: Vec<_> = sorted.iter().map(|backup| (backup.id.clone(), fate(backup))).collect();
    let wal = if sight.unreadable.is_empty() { cut(&sorted, &fates) } else { Cut::default() };
    Ok(Plan { backups: fates, wal })
}

/// What is known of the newer backups when one is judged.
#[derive(Debug, Default)]
struct Ahead {
    /// Those that can be restored, on hold or not.
    usable: u32,
    /// One of them leads into the window.
    begins_the_window: bool,
}

fn fate(backup: &Backup, sight: &Sight<'_>, horizon: Option<&Horizon>, ahead: &mut Ahead) -> Fate {
    let Some(extent) = backup.done() else { return Fate::Kept(Keep::NotDone) };
    let usable = !sight.unusable.contains(&backup.id);
    let side = horizon.map(|horizon| horizon.side(extent.ended));
    let fate = match backup.hold {
        Some(hold) => Fate::Kept(Keep::OnHold(hold)),
        None => unheld(sight, side, ahead),
    };
    // What stands alone does not lead into the window: the log after it is removed.
    let leads = usable && backup.hold != Some(Hold::Standalone);
    if leads {
        ahead.usable += 1;
        ahead.begins_the_window |= side == Some(Side::Before);
    }
    fate
}

fn unheld(sight: &Sight<'_>, side: Option<Side>, ahead: &Ahead) -> Fate {
    let removed = match (sight.policy, side) {
        (Policy::Count(count), _) => {
            if ahead.usable < count.max(1) {
                return Fate::Kept(Keep::Newest);
            }
            Remove::Surplus
        }
        (Policy::Days(_), Some(Side::Inside)) => return Fate::Kept(Keep::Inside),
        (Policy::Days(_), Some(Side::Doubtful(leap))) => {
            return Fate::Kept(Keep::Doubtful(leap));
        }
        (Policy::Days(_), Some(Side::Before) | None) => {
            if !ahead.begins_the_window {
                return Fate::Kept(Keep::BeginsTheWindow);
            }
            Remove::BeforeTheWindow
        }
    };
    if ahead.usable < sight.at_least { Fate::Kept(Keep::AtLeast) } else { Fate::Removed(removed) }
}

fn cut(sorted: &[&Backup], fates: &[(BackupId, Fate)]) -> Cut {
    let mut cut = Cut::default();
    for (backup, (_, fate)) in sorted.iter().zip(fates) {
        let Some(extent) = backup.extent else { continue };
        match fate {
            Fate::Removed(_) => {}
            Fate::Kept(Keep::OnHold(Hold::Standalone)) => {
                cut.except.push((extent.first_segment(), extent.last_segment()));
            }
            Fate::Kept(
                Keep::Inside
                | Keep::Doubtful(_)
                | Keep::BeginsTheWindow
                | Keep::Newest
                | Keep::AtLeast
                | Keep::OnHold(Hold::Full)
                | Keep::Needed
                | Keep::NotDone
                | Keep::Unreadable
                | Keep::NotMeant,
            ) => {
                // By name, and so by timeline first: a segment of an older timeline is never
                // needed by a backup of a younger one.
                let first = extent.first_segment();
                cut.before = Some(cut.before.map_or(first, |before| before.min(first)));
            }
        }
    }
    cut
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept(Keep::Inside) => "kept: it ended within the window",
            Self::Kept(Keep::Doubtful(leap)) => {
                return write!(
                    f,
                    "kept: the window begins after it only if the time {leap} went by, in which no \
                     backup ended; a clock may have been wrong"
                );
            }
            Self::Kept(Keep::BeginsTheWindow) => "kept: the window is recovered from it",
            Self::Kept(Keep::Newest) => "kept: it is one of the newest",
            Self::Kept(Keep::AtLeast) => "kept: fewer than wanted would be left",
            Self::Kept(Keep::OnHold(Hold::Full)) => "kept: on hold, with all log from it on",
            Self::Kept(Keep::OnHold(Hold::Standalone)) => "kept: on hold, standing alone",
            Self::Kept(Keep::Needed) => "kept: an incremental backup that is kept builds on it",
            Self::Kept(Keep::NotDone) => "kept: it is not done",
            Self::Kept(Keep::Unreadable) => {
                "kept: a backup cannot be read, so nobody knows what it needs"
            }
            Self::Kept(Keep::NotMeant) => "kept: another one is meant",
            Self::Removed(Remove::LosesItsBase) => "removed: what it builds on is removed",
            Self::Removed(Remove::Asked) => "removed: somebody asked for that",
            Self::Removed(Remove::BeforeTheWindow) => "removed: the window begins after it",
            Self::Removed(Remove::Surplus) => "removed: enough newer ones are there",
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, fate) in &self.backups {
            writeln!(f, "{id} {fate}")?;
        }
        match self.wal.before {
            Some(before) => write!(f, "log before {before} removed")?,
            None => write!(f, "no log removed")?,
        }
        for (first, last) in &self.wal.except {
            write!(f, ", except {first} to {last}")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Status;
    use crate::backup::fixtures::{DAY, backup};
    use expect_test::{Expect, expect};

    fn check(policy: &str, at_least: u32, backups: &[Backup], expected: &Expect) {
        let none = BTreeSet::new();
        let policy = Policy::parse(policy).unwrap();
        let sight = Sight { policy, at_least, backups, unusable: &none, unreadable: &none };
        expected.assert_eq(&plan(&sight, Moment(10 * DAY + DAY / 2)).to_string());
    }

    fn daily() -> Vec<Backup> {
        (1..=5).map(|day| backup(2 * day, 1, u64::try_from(10 * day).unwrap())).collect()
    }

    #[test]
    fn the_first_that_is_kept_leads_into_the_window() {
        let ended = [9, 1, 3, 5].map(|day| Moment(day * DAY));
        let first = |policy: &str| {
            let policy = Policy::parse(policy).ok();
            first_kept(&ended, policy, Moment(9 * DAY)).map(|first| first.0 / DAY)
        };
        assert_eq!(["", "2", "9", "5d", "1d", "30d"].map(first), [1, 5, 1, 3, 5, 1].map(Some));
        assert_eq!(first_kept(&[], None, Moment(0)), None);
    }

    #[test]
    fn policies_are_as_people_write_them() {
        let read = |given| Policy::parse(given).ok();
        assert_eq!(read("30d"), Some(Policy::Days(30)));
        assert_eq!(read("2w"), Some(Policy::Days(14)));
        assert_eq!(read("1m"), Some(Policy::Days(31)));
        assert_eq!(read("7"), Some(Policy::Count(7)));
        for bad in ["", "d", "0d", "07d", "7y", "7dd", "-1d", "99999999999d", "4294967295m"] {
            assert_eq!(read(bad), None, "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_window_keeps_the_backup_that_leads_into_it() {
        check(
            "3d",
            0,
            &daily(),
            &expect![[r#"
            19700103T000000 removed: the window begins after it
            19700105T000000 removed: the window begins after it
            19700107T000000 kept: the window is recovered from it
            19700109T000000 kept: it ended within the window
            19700111T000000 kept: it ended within the window
            log before 00000001000000000000001E removed
        "#]],
        );
        check(
            "300d",
            0,
            &daily()[..1],
            &expect![[r#"
            19700103T000000 kept: it ended within the window
            log before 00000001000000000000000A removed
        "#]],
        );
    }

    #[test]
    fn a_clock_that_is_ahead_gives_nothing_up() {
        let mut backups = daily();
        backups.push(backup(50, 1, 60));
        let none = BTreeSet::new();
        let policy = Policy::Days(5);
        let sight =
            Sight { policy, at_least: 1, backups: &backups, unusable: &none, unreadable: &none };
        let plan = plan(&sight, Moment(50 * DAY));
        expect![[r#"
            19700103T000000 removed: the window begins after it
            19700105T000000 kept: the window is recovered from it
            19700107T000000 kept: the window begins after it only if the time from 1970-01-11 00:00:00 UTC to 1970-02-20 00:00:00 UTC went by, in which no backup ended; a clock may have been wrong
            19700109T000000 kept: the window begins after it only if the time from 1970-01-11 00:00:00 UTC to 1970-02-20 00:00:00 UTC went by, in which no backup ended; a clock may have been wrong
            19700111T000000 kept: the window begins after it only if the time from 1970-01-11 00:00:00 UTC to 1970-02-20 00:00:00 UTC went by, in which no backup ended; a clock may have been wrong
            19700220T000000 kept: it ended within the window
            log before 000000010000000000000014 removed
        "#]].assert_eq(&plan.to_string());
    }

    #[test]
    fn a_count_keeps_the_newest() {
        check(
            "2",
            0,
            &daily(),
            &expect![[r#"
            19700103T000000 removed: enough newer ones are there
            19700105T000000 removed: enough newer ones are there
            19700107T000000 removed: enough newer ones are there
            19700109T000000 kept: it is one of the newest
            19700111T000000 kept: it is one of the newest
            log before 000000010000000000000028 removed
        "#]],
        );
        check(
            "1",
            3,
            &daily(),
            &expect![[r#"
            19700103T000000 removed: enough newer ones are there
            19700105T000000 removed: enough newer ones are there
            19700107T000000 kept: fewer than wanted would be left
            19700109T000000 kept: fewer than wanted would be left
            19700111T000000 kept: it is one of the newest
            log before 00000001000000000000001E removed
        "#]],
        );
    }

    #[test]
    fn holds_and_unfinished_ones_stay() {
        let mut backups = daily();
        backups[0].hold = Some(Hold::Standalone);
        backups[1].status = Status::Failed;
        backups[1].extent = None;
        backups[2].hold = Some(Hold::Full);
        check(
            "1",
            0,
            &backups,
            &expect![[r#"
            19700103T000000 kept: on hold, standing alone
            19700105T000000 kept: it is not done
            19700107T000000 kept: on hold, with all log from it on
            19700109T000000 removed: enough newer ones are there
            19700111T000000 kept: it is one of the newest
            log before 00000001000000000000001E removed, except 00000001000000000000000A to 00000001000000000000000A
        "#]],
        );
    }

    #[test]
    fn a_backup_that_cannot_be_recovered_does_not_replace_one_that_can() {
        let backups = daily();
        let unusable = backups[3..].iter().map(|one| one.id.clone()).collect();
        let unreadable = BTreeSet::new();
        let policy = Policy::Count(1);
        let mut sight = Sight {
            policy,
            at_least: 0,
            backups: &backups,
            unusable: &unusable,
            unreadable: &unreadable,
        };
        expect![[r#"
            19700103T000000 removed: enough newer ones are there
            19700105T000000 removed: enough newer ones are there
            19700107T000000 kept: it is one of the newest
            19700109T000000 kept: it is one of the newest
            19700111T000000 kept: it is one of the newest
            log before 00000001000000000000001E removed
        "#]]
        .assert_eq(&plan(&sight, Moment(0)).to_string());
        sight.unreadable = &unusable;
        assert_eq!(plan(&sight, Moment(0)).wal, Cut::default());
    }

    #[test]
    fn one_is_removed_when_asked_for_unless_it_is_needed() {
        let none = BTreeSet::new();
        let mut backups = daily();
        backups.truncate(2);
        let meant = |backups: &[Backup], at: usize| {
            let id = backups.get(at).map_or_else(|| daily()[4].id.clone(), |it| it.id.clone());
            let policy = Policy::Count(1);
            let sight = Sight { policy, at_least: 1, backups, unusable: &none, unreadable: &none };
            match without(&id, &sight) {
                Ok(plan) => plan.to_string(),
                Err(refusal) => format!("{refusal}\n"),
            }
        };
        let mut held = backups.clone();
        held[0].hold = Some(Hold::Full);
        expect![[r#"
            19700103T000000 removed: somebody asked for that
            19700105T000000 kept: another one is meant
            log before 000000010000000000000014 removed
            19700103T000000 kept: another one is meant
            19700105T000000 removed: somebody asked for that
            log before 00000001000000000000000A removed
            backup 19700103T000000 is the last one that can be restored, or all others build on it: take another one first
            backup 19700103T000000 is on hold: release it first
            there is no backup 19700111T000000: choose one of those that are listed
        "#]]
        .assert_eq(
            &[
                meant(&backups, 0),
                meant(&backups, 1),
                meant(&backups[..1], 0),
                meant(&held, 0),
                meant(&backups, 7),
            ]
            .concat(),
        );
    }

    #[test]
    fn nothing_to_keep_means_nothing_to_remove() {
        check(
            "1",
            0,
            &[],
            &expect![[r#"
            no log removed
        "#]],
        );
        let mut alone = daily()[..1].to_vec();
        alone[0].hold = Some(Hold::Standalone);
        check(
            "1",
            0,
            &alone,
            &expect![[r#"
            19700103T000000 kept: on hold, standing alone
            no log removed, except 00000001000000000000000A to 00000001000000000000000A
        "#]],
        );
    }

    #[test]
    fn only_the_log_before_the_cut_goes() {
        let name = |number: &str| WalFile::parse(number).unwrap();
        let segment = |number: &str| Segment::parse(number).unwrap();
        let cut = Cut {
            before: Some(segment("000000020000000000000010")),
            except: vec![(
                segment("000000010000000000000003"),
                segment("000000010000000000000004"),
            )],
        };
        for gone in [
            "000000010000000000000002",
            "0000000100000000000000FF",
            "00000002000000000000000F.partial",
            "000000010000000000000001.00000028.backup",
        ] {
            assert!(cut.removes(name(gone)), "{gone}");
        }
        for kept in [
            "000000010000000000000003",
            "000000020000000000000010",
            "00000001.history",
            "000000030000000000000001",
        ] {
            assert!(!cut.removes(name(kept)), "{kept}");
        }
    }

    #[test]
    fn what_is_kept_keeps_what_it_builds_on() {
        let mut chain = daily();
        chain[1].builds_on = Some(chain[0].id.clone());
        chain[2].builds_on = Some(chain[1].id.clone());
        check(
            "3d",
            0,
            &chain,
            &expect![[r#"
            19700103T000000 kept: an incremental backup that is kept builds on it
            19700105T000000 kept: an incremental backup that is kept builds on it
            19700107T000000 kept: the window is recovered from it
            19700109T000000 kept: it ended within the window
            19700111T000000 kept: it ended within the window
            log before 00000001000000000000000A removed
        "#]],
        );
        // A chain that nobody needs goes as a whole.
        check(
            "1",
            0,
            &chain,
            &expect![[r#"
            19700103T000000 removed: enough newer ones are there
            19700105T000000 removed: enough newer ones are there
            19700107T000000 removed: enough newer ones are there
            19700109T000000 removed: enough newer ones are there
            19700111T000000 kept: it is one of the newest
            log before 000000010000000000000032 removed
        "#]],
        );
    }

    #[test]
    fn what_builds_on_a_removed_one_goes_with_it() {
        let mut chain = daily()[..3].to_vec();
        chain[1].builds_on = Some(chain[0].id.clone());
        let none = BTreeSet::new();
        let said = |backups: &[Backup], meant: usize| {
            let policy = Policy::Count(1);
            let sight = Sight { policy, at_least: 1, backups, unusable: &none, unreadable: &none };
            match without(&backups[meant].id, &sight) {
                Ok(plan) => plan.to_string(),
                Err(refusal) => format!("refused: {refusal}\n"),
            }
        };
        let first = said(&chain, 0);
        let last = said(&chain[..2], 0);
        let alone = said(&chain, 1);
        chain[1].hold = Some(Hold::Full);
        expect![[r#"
            19700103T000000 removed: somebody asked for that
            19700105T000000 removed: what it builds on is removed
            19700107T000000 kept: another one is meant
            log before 00000001000000000000001E removed
            19700103T000000 kept: another one is meant
            19700105T000000 removed: somebody asked for that
            19700107T000000 kept: another one is meant
            log before 00000001000000000000000A removed
            refused: backup 19700103T000000 is the last one that can be restored, or all others build on it: take another one first
            refused: backup 19700105T000000 builds on backup 19700103T000000 and is on hold: release it first
        "#]]
        .assert_eq(&[first, alone, last, said(&chain, 0)].concat());
    }
}
