//! The instances of the simulated cluster by number, name and letter, and sets of them.
//!
//! Never more than eight: a set fits into one byte.

use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::record::Pair;
use std::collections::BTreeSet;
use std::fmt;

/// Slots for instances; a cluster uses at most one more than it began with.
pub const SLOTS: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u8);

impl NodeId {
    pub fn of(name: &InstanceName) -> Self {
        Self(u8::try_from(name.serial().saturating_sub(1)).unwrap_or(u8::MAX))
    }

    pub fn name(self, cluster: &ClusterName) -> InstanceName {
        InstanceName::new(cluster, u32::from(self.0) + 1)
    }

    /// The letter that scenarios call it by.
    pub fn letter(self) -> char {
        char::from(b'a' + self.0)
    }

    pub fn lettered(letter: char) -> Self {
        let letter = u8::try_from(letter).unwrap_or(b'a');
        Self(letter.saturating_sub(b'a'))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NodeSet(u8);

impl NodeSet {
    pub const EMPTY: Self = Self(0);

    pub fn first(count: u8) -> Self {
        (0..count).map(NodeId).collect()
    }

    pub fn of(names: &BTreeSet<InstanceName>) -> Self {
        names.iter().map(NodeId::of).collect()
    }

    pub fn holds(self, node: NodeId) -> bool {
        self.0 & Self::bit(node) != 0
    }

    #[must_use]
    pub fn with(self, node: NodeId) -> Self {
        Self(self.0 | Self::bit(node))
    }

    #[must_use]
    pub fn without(self, node: NodeId) -> Self {
        Self(self.0 & !Self::bit(node))
    }

    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (0..8).map(NodeId).filter(move |node| self.holds(*node))
    }

    /// Every set within this one, itself included.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).filter(move |bits| bits & !self.0 == 0).map(Self)
    }

    fn bit(node: NodeId) -> u8 {
        1_u8.checked_shl(u32::from(node.0)).unwrap_or(0)
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|node| write!(f, "{node}"))
    }
}

/// A pair as PostgreSQL knows it: this many of these must have flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitRule {
    pub voters: NodeSet,
    pub acks: usize,
}

impl CommitRule {
    pub fn of(pair: &Pair) -> Self {
        Self { voters: NodeSet::of(&pair.voters), acks: pair.acks }
    }

    pub fn is_solo(self) -> bool {
        self.acks == 0
    }

    /// Whether every set that can acknowledge under this rule meets every set that can be elected
    /// under all of `pairs`.
    pub fn meets_every_election(self, pairs: &[Self], everybody: NodeSet) -> bool {
        let elected = |set: NodeSet| pairs.iter().all(|pair| pair.elects(set));
        let acks: Vec<NodeSet> =
            self.voters.subsets().filter(|set| set.len() == self.acks).collect();
        everybody
            .subsets()
            .filter(|set| elected(*set))
            .all(|election| acks.iter().all(|ack| !ack.meet(election).is_empty()))
    }

    pub fn elects(self, sealed: NodeSet) -> bool {
        self.voters.meet(sealed).len() + self.acks > self.voters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(letters: &str) -> NodeSet {
        letters.chars().map(NodeId::lettered).collect()
    }

    fn rule(acks: usize, letters: &str) -> CommitRule {
        CommitRule { voters: set(letters), acks }
    }

    #[test]
    fn the_same_pair_meets_its_own_elections() {
        for (acks, voters) in [(1, "b"), (1, "bc"), (2, "bc"), (1, "bcde"), (2, "bcde"), (0, "")] {
            let rule = rule(acks, voters);
            assert!(rule.meets_every_election(&[rule], set("abcde")), "{rule:?}");
        }
    }

    #[test]
    fn a_rule_outside_the_record_lets_an_election_miss_a_commit() {
        let everybody = set("abc");
        assert!(!rule(1, "bc").meets_every_election(&[rule(1, "b")], everybody));
        assert!(!rule(0, "").meets_every_election(&[rule(1, "bc")], everybody));
        assert!(rule(1, "bc").meets_every_election(&[rule(1, "b"), rule(1, "bc")], everybody));
        assert!(rule(2, "bc").meets_every_election(&[rule(1, "bc")], everybody));
    }

    #[test]
    fn letters_numbers_and_names_agree() {
        let cluster = ClusterName::parse("db").unwrap();
        for id in (0..SLOTS).map(NodeId) {
            assert_eq!(NodeId::of(&id.name(&cluster)), id);
            assert_eq!(NodeId::lettered(id.letter()), id);
        }
        assert_eq!(set("ca").to_string(), "ac");
        assert_eq!(set("ab").subsets().count(), 4);
    }
}
