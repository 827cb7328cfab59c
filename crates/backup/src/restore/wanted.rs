//! Knows which pages of the files of an incremental backup are still to come from what it builds on.
//!
//! Never gives a page out twice: each is written once, from the newest backup that has it.

use crate::base::index::{Chunk, Piece};
use std::collections::{BTreeMap, HashMap};

const PAGE: u32 = 8192;

/// A run of pages of a piece: the first one, and how many.
type Run = (u32, u32);

/// A part of what a chunk holds of a piece, and where in its file that belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Behind the begin of what is stored of the piece.
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) to: u64,
}

/// All files of a backup of which pages are missing.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// By path and by where the piece begins in the file.
    files: HashMap<Box<str>, BTreeMap<u64, Vec<Run>>>,
}

/// Where in a chain a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It is the one that is restored.
    Newest,
    Below,
}

impl Wanted {
    /// What is to be written of each piece of a chunk.
    pub(super) fn take_in(&mut self, chunk: &Chunk, depth: Depth) -> Vec<Vec<Span>> {
        let spans = |piece: &Piece| match depth {
            Depth::Newest => self.newest(piece),
            Depth::Below => self.older(piece),
        };
        chunk.pieces.iter().map(spans).collect()
    }

    /// Takes in a piece of the newest backup. What it has itself is all to be written.
    fn newest(&mut self, piece: &Piece) -> Vec<Span> {
        let Some(changed) = &piece.changed else {
            return vec![Span { at: 0, length: piece.length as usize, to: piece.from }];
        };
        let mut missing = Vec::new();
        let mut free = 0;
        for (first, many) in &changed.runs {
            missing.push((free, first - free));
            free = first + many;
        }
        missing.push((free, piece.length / PAGE - free));
        missing.retain(|(_, many)| *many > 0);
        if !missing.is_empty() {
            self.files.entry(piece.path.as_str().into()).or_default().insert(piece.from, missing);
        }
        spans(piece, &changed.runs, &changed.runs)
    }

    /// What of a piece of an older backup is to be written: what no newer one had.
    fn older(&mut self, piece: &Piece) -> Vec<Span> {
        let Some(pieces) = self.files.get_mut(piece.path.as_str()) else { return Vec::new() };
        let Some(missing) = pieces.get_mut(&piece.from) else { return Vec::new() };
        let whole = [(0, piece.length / PAGE)];
        let has = piece.changed.as_ref().map_or(whole.as_slice(), |changed| &changed.runs);
        let taken = both(missing, has);
        *missing = without(missing, &taken);
        if missing.is_empty() {
            pieces.remove(&piece.from);
            if pieces.is_empty() {
                self.files.remove(piece.path.as_str());
            }
        }
        spans(piece, has, &taken)
    }

    /// A piece that is not needed after all: it is there.
    pub(super) fn drop(&mut self, path: &str, from: u64) {
        if let Some(pieces) = self.files.get_mut(path) {
            pieces.remove(&from);
            if pieces.is_empty() {
                self.files.remove(path);
            }
        }
    }

    /// A file of which no backup had all pages.
    pub(super) fn missing(&self) -> Option<&str> {
        self.files.keys().next().map(AsRef::as_ref)
    }
}

/// Where the chosen pages lie among those that are stored.
fn spans(piece: &Piece, stored: &[Run], chosen: &[Run]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (first, many) in chosen {
        let mut before = 0;
        for (begin, count) in stored {
            if *begin <= *first && first - begin < *count {
                let at = (before + (first - begin)) as usize * PAGE as usize;
                let to = piece.from + u64::from(*first) * u64::from(PAGE);
                spans.push(Span { at, length: *many as usize * PAGE as usize, to });
                break;
            }
            before += count;
        }
    }
    spans
}

/// Pages that are in both; both are in their order.
fn both(one: &[Run], other: &[Run]) -> Vec<Run> {
    let mut both = Vec::new();
    let mut others = other.iter().peekable();
    for (first, many) in one {
        while let Some((begin, count)) = others.peek() {
            let (from, to) = ((*first).max(*begin), (first + many).min(begin + count));
            if from < to {
                both.push((from, to - from));
            }
            if begin + count > first + many {
                break;
            }
            others.next();
        }
    }
    both
}

/// Pages that are in the first and not in the second, which is a part of it.
fn without(all: &[Run], some: &[Run]) -> Vec<Run> {
    let mut rest = Vec::new();
    let mut gone = some.iter().peekable();
    for (first, many) in all {
        let (mut free, end) = (*first, first + many);
        while let Some((begin, count)) = gone.peek() {
            if *begin >= end {
                break;
            }
            rest.push((free, begin - free));
            free = begin + count;
            gone.next();
        }
        rest.push((free, end.saturating_sub(free)));
    }
    rest.retain(|(_, many)| *many > 0);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::index::Changed;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PAGES: u32 = 24;

    fn runs(pages: &BTreeSet<u32>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for page in pages {
            match runs.last_mut() {
                Some((first, many)) if *first + *many == *page => *many += 1,
                Some(_) | None => runs.push((*page, 1)),
            }
        }
        runs
    }

    /// A piece that has all pages up to a length, or only these.
    fn piece(pages: u32, changed: Option<&BTreeSet<u32>>) -> Piece {
        Piece {
            path: "base/5/1".to_owned(),
            size: 1 << 30,
            mode: 0,
            modified: 0,
            from: 4 << 20,
            at: 0,
            length: pages * PAGE,
            crc32c: 0,
            pages: None,
            changed: changed.map(|pages| Changed { runs: runs(pages), crc32c: 0 }),
        }
    }

    proptest! {
        #[test]
        fn each_page_comes_once_from_the_newest_that_has_it(
            links in proptest::collection::vec(
                proptest::collection::btree_set(0..PAGES, 0..24), 1..6),
            full in 0..=PAGES,
        ) {
            let mut wanted = Wanted::default();
            let mut written: BTreeMap<u64, usize> = BTreeMap::new();
            let last = links.len();
            for number in 0..=last {
                let given = match links.get(number) {
                    Some(pages) => piece(PAGES, Some(pages)),
                    None => piece(full, None),
                };
                let spans = match number {
                    0 => wanted.newest(&given),
                    _ => wanted.older(&given),
                };
                let all: BTreeSet<u32> = (0..full).collect();
                let has: Vec<u32> = links.get(number).unwrap_or(&all).iter().copied().collect();
                for Span { at, length, to } in spans {
                    for page in 0..length / PAGE as usize {
                        let position = to + (page * PAGE as usize) as u64;
                        let stored = has[at / PAGE as usize + page];
                        prop_assert_eq!(position, given.from + u64::from(stored * PAGE));
                        prop_assert_eq!(written.insert(position, number), None);
                    }
                }
            }
            for page in 0..PAGES {
                let expected = links.iter().position(|pages| pages.contains(&page));
                let expected = expected.or((page < full).then_some(last));
                let position = (4 << 20) + u64::from(page * PAGE);
                prop_assert_eq!(written.get(&position).copied(), expected);
            }
            let all_there = (full..PAGES).all(|page| links.iter().any(|one| one.contains(&page)));
            prop_assert_eq!(wanted.missing().is_none(), all_there);
        }
    }
}
