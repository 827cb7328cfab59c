//! Every log of the world as branches of one tree: a log is a branch and how far it goes.
//!
//! Never copies entries: a branch has one writer and only grows, so a position is enough to know
//! what a log contains.

use pgherd_core::units::{Bytes, Epoch, Lsn, SystemId, Timeline, WalPosition};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BranchId(u32);

/// Where one instance's log ends, and on which branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    pub branch: BranchId,
    pub lsn: Lsn,
}

/// What one promotion wrote. Two branches may bear the same timeline by mistake.
#[derive(Debug, Clone)]
pub struct Branch {
    /// The branch it left, and where.
    pub parent: Option<LogEnd>,
    pub timeline: Timeline,
    pub system_id: SystemId,
    pub epoch: Epoch,
    pub end: Lsn,
    /// Commits up to here were acknowledged under a synchronous rule.
    pub promised: Lsn,
    /// Commits up to here were acknowledged by the primary alone.
    pub hoped: Lsn,
    /// Its writer could not be stopped in time by any lease: it was frozen while it wrote.
    pub tainted: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Forest {
    branches: Vec<Branch>,
}

impl std::ops::Index<BranchId> for Forest {
    type Output = Branch;

    #[expect(clippy::indexing_slicing, reason = "branch ids are made by `plant` alone")]
    fn index(&self, id: BranchId) -> &Branch {
        &self.branches[id.0 as usize]
    }
}

impl std::ops::IndexMut<BranchId> for Forest {
    #[expect(clippy::indexing_slicing, reason = "branch ids are made by `plant` alone")]
    fn index_mut(&mut self, id: BranchId) -> &mut Branch {
        &mut self.branches[id.0 as usize]
    }
}

impl Forest {
    pub fn plant(&mut self, branch: Branch) -> BranchId {
        self.branches.push(branch);
        BranchId(u32::try_from(self.branches.len() - 1).unwrap_or(u32::MAX))
    }

    pub fn ids(&self) -> impl Iterator<Item = BranchId> + use<> {
        (0..u32::try_from(self.branches.len()).unwrap_or(u32::MAX)).map(BranchId)
    }

    /// Whether a log holds what was written on `branch` up to `lsn`.
    pub fn holds(&self, log: LogEnd, branch: BranchId, lsn: Lsn) -> bool {
        self.along(log, branch).is_some_and(|reach| reach >= lsn)
    }

    /// How much of what was written on `branch` up to `lsn` a log lacks.
    pub fn lacks(&self, log: LogEnd, branch: BranchId, lsn: Lsn) -> Bytes {
        let fork = self.meeting(log, LogEnd { branch, lsn });
        lsn.ahead_of(fork)
    }

    /// Where two logs part; zero for logs of different clusters.
    pub fn meeting(&self, one: LogEnd, other: LogEnd) -> Lsn {
        let mut at = Some(other);
        while let Some(end) = at {
            if let Some(reach) = self.along(one, end.branch) {
                return reach.min(end.lsn);
            }
            at = self[end.branch]
                .parent
                .map(|fork| LogEnd { branch: fork.branch, lsn: fork.lsn.min(end.lsn) });
        }
        Lsn(0)
    }

    /// The log that has received what `source` holds up to `lsn`.
    pub fn prefix(&self, source: LogEnd, lsn: Lsn) -> LogEnd {
        let mut branch = source.branch;
        while let Some(fork) = self[branch].parent.filter(|fork| fork.lsn >= lsn) {
            branch = fork.branch;
        }
        LogEnd { branch, lsn: lsn.min(source.lsn) }
    }

    pub fn position(&self, log: LogEnd) -> WalPosition {
        WalPosition { timeline: self[log.branch].timeline, lsn: log.lsn }
    }

    /// Where a branch begins.
    pub fn began(&self, branch: BranchId) -> Lsn {
        self[branch].parent.map_or(Lsn(0), |fork| fork.lsn)
    }

    /// How far a log goes on `branch`, if it has any of it.
    fn along(&self, log: LogEnd, branch: BranchId) -> Option<Lsn> {
        let mut at = log;
        while at.branch != branch {
            let fork = self[at.branch].parent?;
            at = LogEnd { branch: fork.branch, lsn: fork.lsn.min(at.lsn) };
        }
        Some(at.lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(parent: Option<LogEnd>, timeline: u32) -> Branch {
        Branch {
            parent,
            timeline: Timeline(timeline),
            system_id: SystemId(1),
            epoch: Epoch(u64::from(timeline)),
            end: Lsn(0),
            promised: Lsn(0),
            hoped: Lsn(0),
            tainted: false,
        }
    }

    fn end(branch: BranchId, lsn: u64) -> LogEnd {
        LogEnd { branch, lsn: Lsn(lsn) }
    }

    #[test]
    fn a_log_holds_its_past_up_to_each_fork() {
        let mut forest = Forest::default();
        let one = forest.plant(branch(None, 1));
        let two = forest.plant(branch(Some(end(one, 100)), 2));
        let three = forest.plant(branch(Some(end(one, 150)), 3));
        let log = end(two, 130);
        assert!(forest.holds(log, one, Lsn(100)) && !forest.holds(log, one, Lsn(101)));
        assert!(forest.holds(log, two, Lsn(130)) && !forest.holds(log, two, Lsn(131)));
        assert!(!forest.holds(log, three, Lsn(1)));
        assert_eq!(forest.meeting(log, end(three, 170)), Lsn(100));
        assert_eq!(forest.meeting(end(three, 170), log), Lsn(100));
        assert_eq!(forest.lacks(log, one, Lsn(140)), Bytes(40));
        assert_eq!(forest.prefix(log, Lsn(100)), end(one, 100));
        assert_eq!(forest.prefix(log, Lsn(101)), end(two, 101));
    }
}
