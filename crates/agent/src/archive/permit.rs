//! Says which files of the archive a standby may be given.
//!
//! Never one that its primary's past does not hold: an archive also has what was written on
//! timelines that lost.

use pgherd_core::record::Term;
use pgherd_core::units::{Lsn, Timeline};
use pgherd_core::wal::{SegmentSize, WalFile};
use std::collections::BTreeMap;

/// The timelines of a primary's past, and where each was left; the last one is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permit(BTreeMap<Timeline, Option<Lsn>>);

impl Permit {
    /// From the terms that the primary told, the newest last.
    pub fn of(terms: &[Term]) -> Self {
        let mut past = BTreeMap::new();
        let mut term = terms.last();
        past.extend(term.map(|term| (term.timeline, None)));
        while let Some(Term { parent, began: Some(began), .. }) = term {
            // A circle would be a mistake of somebody's; it ends here.
            if past.insert(*parent, Some(*began)).is_some() {
                break;
            }
            term = terms.iter().find(|other| other.timeline == *parent);
        }
        Self(past)
    }

    pub(super) fn allows(&self, file: WalFile, size: SegmentSize) -> bool {
        let Some(left) = self.0.get(&file.timeline()) else { return false };
        match (file, left) {
            (WalFile::History(_), _) | (WalFile::Segment(_), None) => true,
            (WalFile::Segment(segment), Some(left)) => segment.end(size) <= *left,
            (WalFile::Partial(_) | WalFile::Label { .. }, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::InstanceName;
    use pgherd_core::record::Cause;
    use pgherd_core::units::Epoch;

    fn term(timeline: u32, parent: u32, began: Option<u64>) -> Term {
        Term {
            epoch: Epoch(u64::from(timeline)),
            timeline: Timeline(timeline),
            parent: Timeline(parent),
            holder: InstanceName::parse("db-1").unwrap(),
            cause: Cause::Initialised,
            began: began.map(|segment| Lsn((segment << 24) + 0x100)),
        }
    }

    #[test]
    fn only_the_primarys_past_is_given() {
        // Timeline 3 lost against 4.
        let terms = [term(2, 1, Some(1)), term(3, 2, Some(5)), term(4, 2, Some(7))];
        let permit = Permit::of(&terms);
        let allows =
            |name: &str| permit.allows(WalFile::parse(name).unwrap(), SegmentSize::DEFAULT);
        for good in [
            "000000040000000000000009",
            "000000020000000000000006",
            "000000010000000000000000",
            "00000004.history",
            "00000002.history",
        ] {
            assert!(allows(good), "{good}");
        }
        for bad in [
            "000000020000000000000007",
            "000000030000000000000005",
            "000000050000000000000009",
            "00000003.history",
            "00000005.history",
            "000000020000000000000007.partial",
        ] {
            assert!(!allows(bad), "{bad}");
        }
        let nothing = Permit::of(&[]);
        let file = WalFile::parse("000000010000000000000001").unwrap();
        assert!(!nothing.allows(file, SegmentSize::DEFAULT));
    }

    #[test]
    fn a_fork_that_is_not_known_yet_ends_the_past() {
        let permit = Permit::of(&[term(2, 1, Some(1)), term(3, 2, None)]);
        let file = WalFile::parse("000000020000000000000001").unwrap();
        assert!(!permit.allows(file, SegmentSize::DEFAULT));
    }
}
