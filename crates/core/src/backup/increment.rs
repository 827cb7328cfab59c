//! Decides what an incremental backup builds on, and why a full one is taken instead.
//!
//! Never builds on what may not be a past of the server, nor on a chain that is not whole.

use super::window::Fork;
use super::{Backup, BackupId, Extent};
use crate::units::Timeline;
use std::collections::BTreeMap;

/// A chain is never longer than this: each of its backups is read when the last one is restored.
pub const LONGEST: u32 = 64;

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub backups: &'a [Backup],
    /// How timelines came about, as far as the repository tells.
    pub forks: &'a BTreeMap<Timeline, Fork>,
    /// Where the server is that is backed up.
    pub timeline: Timeline,
    /// Every so many backups there is a full one, if that is wanted.
    pub full_every: Option<u32>,
}

/// Why it has to be a full one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyFull {
    #[error("there is no backup that one could build on")]
    NothingToBuildOn,
    #[error("every {0} backups there is a full one")]
    Due(u32),
    #[error("{LONGEST} backups build on each other already")]
    LongEnough,
    #[error("timeline {timeline} did not come out of what is in backup {backup}")]
    OtherPast { backup: BackupId, timeline: Timeline },
}

/// The newest backup that is whole with all it builds on.
pub fn base(sight: &Sight<'_>) -> Result<BackupId, WhyFull> {
    let mut done: Vec<(&BackupId, Extent)> =
        sight.backups.iter().filter_map(|backup| Some((&backup.id, backup.done()?))).collect();
    done.sort_by(|(one, _), (other, _)| other.cmp(one));
    let whole = |(id, extent)| Some((id, extent, chain(id, sight.backups).ok()?.len()));
    let newest = done.into_iter().find_map(whole);
    let (backup, extent, length) = newest.ok_or(WhyFull::NothingToBuildOn)?;
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    match sight.full_every {
        Some(every) if length >= every => return Err(WhyFull::Due(every)),
        Some(_) | None if length >= LONGEST => return Err(WhyFull::LongEnough),
        Some(_) | None => {}
    }
    let (backup, timeline) = (backup.clone(), sight.timeline);
    if is_past(extent, timeline, sight.forks) {
        Ok(backup)
    } else {
        Err(WhyFull::OtherPast { backup, timeline })
    }
}

/// Whether what is in a backup happened before this timeline came about, or on it.
fn is_past(extent: Extent, timeline: Timeline, forks: &BTreeMap<Timeline, Fork>) -> bool {
    let mut at = timeline;
    loop {
        if at == extent.timeline {
            return true;
        }
        match forks.get(&at) {
            // A history that names a younger timeline is damaged; following it would not end.
            Some(fork) if fork.parent < at && extent.end <= fork.at => at = fork.parent,
            Some(_) | None => return false,
        }
    }
}

/// A backup and all that it builds on, the full one last; or what of that is missing, or has lost
/// its data.
pub fn chain<'a>(id: &BackupId, backups: &'a [Backup]) -> Result<Vec<&'a Backup>, BackupId> {
    let links = links(id, backups)?;
    match links.iter().find(|link| !link.has_data) {
        Some(lost) => Err(lost.id.clone()),
        None => Ok(links),
    }
}

/// The same, whether or not their data is there.
pub fn links<'a>(id: &BackupId, backups: &'a [Backup]) -> Result<Vec<&'a Backup>, BackupId> {
    let mut chain: Vec<&Backup> = Vec::new();
    let mut next = Some(id);
    while let Some(wanted) = next {
        let found = backups.iter().find(|backup| backup.id == *wanted && backup.done().is_some());
        // What is built on is older: anything else is damaged, and following it might not end.
        let found = found.filter(|found| chain.last().is_none_or(|last| found.id < last.id));
        let found = found.ok_or_else(|| wanted.clone())?;
        chain.push(found);
        next = found.builds_on.as_ref();
    }
    Ok(chain)
}

/// All that cannot be restored without this one.
pub fn dependants<'a>(
    id: &'a BackupId,
    backups: &'a [Backup],
) -> impl Iterator<Item = &'a BackupId> {
    backups.iter().filter(move |backup| builds_on(backup, id, backups)).map(|backup| &backup.id)
}

fn builds_on(backup: &Backup, id: &BackupId, backups: &[Backup]) -> bool {
    let mut at = backup;
    while let Some(base) = &at.builds_on {
        if base == id {
            return true;
        }
        match backups.iter().find(|other| other.id == *base) {
            Some(next) if next.id < at.id => at = next,
            Some(_) | None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Status;
    use crate::backup::fixtures::{archive, backup, increment};
    use expect_test::expect;

    /// A full one, two increments of it, a full one that failed, and an increment of what is gone.
    fn all() -> Vec<Backup> {
        let full = backup(1, 1, 1);
        let first = increment(backup(2, 1, 2), &full);
        let second = increment(backup(3, 1, 3), &first);
        let failed = Backup { status: Status::Failed, ..backup(4, 1, 4) };
        let lost = increment(backup(6, 1, 6), &backup(5, 1, 5));
        vec![full, first, second, failed, lost]
    }

    fn said(backups: &[Backup], timeline: u32, full_every: Option<u32>) -> String {
        let forks = archive(&[], &[(2, 1, 0x400_0000), (3, 1, 0x200_0000), (4, 5, 0), (5, 4, 0)]);
        let timeline = Timeline(timeline);
        let sight = Sight { backups, forks: &forks.forks, timeline, full_every };
        match base(&sight) {
            Ok(id) => format!("on {id}\n"),
            Err(why) => format!("full: {why}\n"),
        }
    }

    #[test]
    fn it_builds_on_the_newest_that_is_whole_and_its_past() {
        let all = all();
        let mut long = vec![backup(1, 1, 1)];
        for day in 2..=i64::from(LONGEST) {
            let next = increment(backup(day, 1, 1), &long[long.len() - 1]);
            long.push(next);
        }
        expect![[r#"
            on 19700104T000000
            on 19700104T000000
            full: every 3 backups there is a full one
            full: every 1 backups there is a full one
            on 19700104T000000
            full: timeline 3 did not come out of what is in backup 19700104T000000
            full: timeline 4 did not come out of what is in backup 19700104T000000
            full: there is no backup that one could build on
            full: there is no backup that one could build on
            full: 64 backups build on each other already
        "#]]
        .assert_eq(
            &[
                said(&all, 1, None),
                said(&all, 1, Some(4)),
                said(&all, 1, Some(3)),
                said(&all, 1, Some(1)),
                said(&all, 2, None),
                said(&all, 3, None),
                said(&all, 4, None),
                said(&all[3..], 1, None),
                said(&[], 1, None),
                said(&long, 1, None),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_chain_that_runs_in_a_circle_or_is_not_whole_is_none() {
        let all = all();
        let ids = |chain: Vec<&Backup>| chain.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let whole = ids(chain(&all[2].id, &all).unwrap());
        assert_eq!(whole, [all[2].id.clone(), all[1].id.clone(), all[0].id.clone()]);
        assert_eq!(chain(&all[4].id, &all).unwrap_err(), backup(5, 1, 5).id);
        assert_eq!(chain(&all[3].id, &all).unwrap_err(), all[3].id);
        let lost = |at: usize| {
            let mut all = tests::all();
            all[at].has_data = false;
            all
        };
        assert_eq!(chain(&all[2].id, &lost(0)).unwrap_err(), all[0].id);
        assert_eq!(chain(&all[2].id, &lost(2)).unwrap_err(), all[2].id);
        assert_eq!(ids(links(&all[2].id, &lost(0)).unwrap()), whole);
        assert_eq!(said(&lost(2), 1, None), format!("on {}\n", all[1].id));
        assert_eq!(said(&lost(0), 1, None), "full: there is no backup that one could build on\n");
        let one = increment(backup(1, 1, 1), &backup(2, 1, 2));
        let circle = [one.clone(), increment(backup(2, 1, 2), &one)];
        assert!(chain(&circle[1].id, &circle).is_err());
        assert_eq!(dependants(&all[0].id, &all).count(), 2);
        assert_eq!(dependants(&all[2].id, &all).count(), 0);
        assert!(dependants(&circle[1].id, &circle).count() <= 2);
    }
}
