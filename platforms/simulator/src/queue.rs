//! What will happen, in order of time; things of the same moment keep the order they were added in.
//!
//! Never looks at what it holds.

use crate::clock::Moment;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    added: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Moment,
    number: u64,
    what: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), added: 0 }
    }
}

impl<T> Queue<T> {
    pub fn add(&mut self, at: Moment, what: T) {
        self.added += 1;
        self.heap.push(Entry { at, number: self.added, what });
    }

    pub fn take_next(&mut self) -> Option<(Moment, T)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }

    pub fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|entry| entry.at)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap yields its greatest entry: the earliest must be the greatest.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_comes_first_and_equal_moments_keep_their_order() {
        let mut queue = Queue::default();
        for (at, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b')] {
            queue.add(at, what);
        }
        assert_eq!(queue.next_at(), Some(3));
        let order: String =
            std::iter::from_fn(|| queue.take_next()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
