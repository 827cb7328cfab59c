//! Pages of main forks that were changed, in a bounded number of bytes.
//!
//! Never forgets one: what is too much to name one by one becomes all of a relation or database.

use std::collections::{BTreeMap, BTreeSet};

/// Words of 64 pages, of all relations together.
const WORDS: usize = 1 << 20;
const RELATIONS: usize = 1 << 18;
const DATABASES: usize = 1 << 16;

/// A folder of relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Database {
    pub tablespace: u32,
    pub database: u32,
}

/// A relation by the number of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relation {
    pub of: Database,
    pub number: u32,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// It was too much to tell.
    everything: bool,
    /// Whose files came or went as a whole.
    databases: BTreeSet<Database>,
    relations: BTreeMap<Relation, Pages>,
    words: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Pages {
    /// From this page on all may be others: the relation was made or cut off there.
    limit: Option<u32>,
    /// Sixty-four pages each.
    words: BTreeMap<u32, u64>,
}

/// Which pages of a range may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    All,
    /// Their numbers, counted from the begin of the range, in order.
    Only(Vec<usize>),
}

/// What is known of one relation.
pub(super) struct Told {
    pub(super) relation: Relation,
    pub(super) limit: Option<u32>,
    /// The first page of a run, and how many there are.
    pub(super) runs: Vec<(u32, u32)>,
}

impl Touched {
    pub fn page(&mut self, relation: Relation, block: u32) {
        self.pages(relation, (block, 1));
    }

    /// A run of pages.
    pub fn pages(&mut self, relation: Relation, (first, many): (u32, u32)) {
        let Some(last) = many.checked_sub(1).map(|more| first.saturating_add(more)) else { return };
        let Some(pages) = self.of(relation) else { return };
        let mut added = 0;
        for word in first / 64..=last / 64 {
            if pages.limit.is_some_and(|limit| word * 64 >= limit) {
                break;
            }
            let bits = mask(word, first, last);
            pages.words.entry(word).and_modify(|before| *before |= bits).or_insert_with(|| {
                added += 1;
                bits
            });
            if added > WORDS {
                break;
            }
        }
        self.words += added;
        if self.words > WORDS {
            self.limit(relation, 0);
        }
    }

    /// From this page on nothing is as it was.
    pub fn limit(&mut self, relation: Relation, block: u32) {
        let Some(pages) = self.of(relation) else { return };
        let limit = pages.limit.map_or(block, |before| before.min(block));
        pages.limit = Some(limit);
        let gone = pages.words.split_off(&limit.div_ceil(64)).len();
        self.words -= gone;
    }

    /// All files of a database in a tablespace came or went.
    pub fn database(&mut self, database: Database) {
        self.databases.insert(database);
        if self.databases.len() > DATABASES {
            self.everything = true;
            (self.databases, self.relations, self.words) = (BTreeSet::new(), BTreeMap::new(), 0);
        }
    }

    /// Where changes of a relation are noted, unless it is changed as a whole anyhow.
    fn of(&mut self, relation: Relation) -> Option<&mut Pages> {
        if self.everything || self.databases.contains(&relation.of) {
            return None;
        }
        if self.relations.len() >= RELATIONS && !self.relations.contains_key(&relation) {
            self.database(relation.of);
            return None;
        }
        Some(self.relations.entry(relation).or_default())
    }

    pub fn merge(&mut self, other: &Self) {
        self.everything |= other.everything;
        other.databases.iter().for_each(|database| self.database(*database));
        for told in other.told() {
            if let Some(limit) = told.limit {
                self.limit(told.relation, limit);
            }
            told.runs.into_iter().for_each(|run| self.pages(told.relation, run));
        }
    }

    /// Which of so many pages of a relation, from this one on, may be others now.
    pub fn named(&self, relation: Relation, first: u32, many: usize) -> Named {
        if self.everything || self.databases.contains(&relation.of) {
            return Named::All;
        }
        let Some(pages) = self.relations.get(&relation) else { return Named::Only(Vec::new()) };
        let Ok(end) = u32::try_from(many).map(|many| first.saturating_add(many)) else {
            return Named::All;
        };
        let limit = pages.limit.unwrap_or(u32::MAX);
        if limit <= first || end == u32::MAX {
            return Named::All;
        }
        let words = pages.words.range(first / 64..=end / 64);
        let named = words.flat_map(|(word, bits)| blocks(*word, *bits));
        let named = named.filter(|block| (first..end.min(limit)).contains(block));
        let behind = limit.min(end)..end;
        Named::Only(named.chain(behind).map(|block| (block - first) as usize).collect())
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    pub(super) fn all(&mut self) {
        self.everything = true;
    }

    pub(super) fn databases(&self) -> impl Iterator<Item = Database> {
        self.databases.iter().copied()
    }

    pub(super) fn told(&self) -> impl Iterator<Item = Told> {
        self.relations.iter().map(|(relation, pages)| {
            let blocks = pages.words.iter().flat_map(|(word, bits)| blocks(*word, *bits));
            let mut runs: Vec<(u32, u32)> = Vec::new();
            for block in blocks {
                match runs.last_mut() {
                    Some((first, many)) if first.saturating_add(*many) == block => *many += 1,
                    Some(_) | None => runs.push((block, 1)),
                }
            }
            Told { relation: *relation, limit: pages.limit, runs }
        })
    }
}

/// The bits of a word that lie between two pages, both included.
fn mask(word: u32, first: u32, last: u32) -> u64 {
    let from = first.saturating_sub(word * 64).min(63);
    let to = last.saturating_sub(word * 64).min(63);
    (u64::MAX << from) & (u64::MAX >> (63 - to))
}

fn blocks(word: u32, bits: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relation(number: u32) -> Relation {
        Relation { of: Database { tablespace: 1663, database: number % 2 }, number }
    }

    #[derive(Debug, Clone)]
    enum Change {
        Pages(u32, u32, u32),
        Limit(u32, u32),
        Database(u32),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            9 => (0..4_u32, 0..300_u32, 0..140_u32).prop_map(|(of, at, many)| Change::Pages(of, at, many)),
            2 => (0..4_u32, 0..300_u32).prop_map(|(of, at)| Change::Limit(of, at)),
            1 => (0..2_u32).prop_map(Change::Database),
        ];
        proptest::collection::vec(change, 0..12)
    }

    fn made(changes: &[Change]) -> Touched {
        let mut touched = Touched::default();
        for change in changes {
            match *change {
                Change::Pages(of, at, many) => touched.pages(relation(of), (at, many)),
                Change::Limit(of, at) => touched.limit(relation(of), at),
                Change::Database(of) => touched.database(relation(of).of),
            }
        }
        touched
    }

    fn is_named(changes: &[Change], of: u32, block: u32) -> bool {
        changes.iter().any(|change| match *change {
            Change::Pages(other, at, many) => other == of && (at..at + many).contains(&block),
            Change::Limit(other, at) => other == of && block >= at,
            Change::Database(database) => relation(of).of == relation(database).of,
        })
    }

    proptest! {
        /// In whatever order it comes, and put together from parts.
        #[test]
        fn exactly_what_changed_is_named(
            one in changes(), other in changes(), first in 0..300_u32, many in 0..200_usize,
        ) {
            let mut touched = made(&one);
            touched.merge(&made(&other));
            let both = [one, other].concat();
            for of in 0..4 {
                let blocks = (first..).take(many).enumerate();
                let expected: Vec<usize> =
                    blocks.filter(|(_, block)| is_named(&both, of, *block)).map(|(at, _)| at).collect();
                match touched.named(relation(of), first, many) {
                    Named::All => prop_assert_eq!(expected.len(), many),
                    Named::Only(named) => prop_assert_eq!(named, expected),
                }
            }
            let words: usize = touched.relations.values().map(|pages| pages.words.len()).sum();
            prop_assert!(touched.words == words);
        }
    }

    #[test]
    fn what_is_too_much_to_name_is_all_of_it() {
        let mut touched = Touched::default();
        touched.page(relation(2), 5);
        touched.pages(relation(0), (0, u32::MAX));
        assert_eq!(touched.named(relation(0), 1 << 31, 10), Named::All);
        assert_eq!(touched.named(relation(2), 0, 10), Named::Only(vec![5]));
        assert!(touched.words <= WORDS);
        for block in 0..=u32::try_from(WORDS).unwrap() {
            touched.page(relation(4), block * 64);
        }
        assert_eq!(touched.named(relation(4), 3, 1), Named::All);
        assert_eq!(touched.named(relation(1), 3, 1), Named::Only(vec![]));
        for number in 0..u32::try_from(RELATIONS).unwrap() {
            touched.page(relation(number * 2), 1);
        }
        assert_eq!(touched.named(relation(8), 3, 1), Named::Only(vec![]));
        touched.page(relation(1 << 30), 1);
        assert_eq!(touched.named(relation(8), 3, 1), Named::All);
        assert_eq!(touched.named(relation(1), 3, 1), Named::Only(vec![]));
        for tablespace in 0..=u32::try_from(DATABASES).unwrap() {
            touched.database(Database { tablespace, database: 3 });
        }
        assert_eq!(touched.named(relation(1), 3, 1), Named::All);
    }
}
