//! The invariants S1 to S11, S14 and S15, checked whenever something could break one.
//!
//! Never knows how the protocol works: it sees the true state of everything and nothing else.

use crate::clock::Moment;
use crate::faults::seconds;
use crate::wal::BranchId;
use pgherd_core::record::Holder;
use pgherd_core::units::{Epoch, Timeline};
use std::collections::BTreeMap;
use std::fmt;

pub mod commits;
pub mod offices;
pub mod servers;

/// What a client was told about a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It will be in the log of every later primary.
    Kept,
    /// It may be lost with the primary.
    None,
}

/// The first invariant that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub at: Moment,
    pub invariant: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken at {:.3}s: {}", self.invariant, seconds(self.at), self.what)
    }
}

#[derive(Debug, Default)]
pub struct Checker {
    pub violation: Option<Violation>,
    /// Every epoch that was ever recorded, and its one holder.
    holders: BTreeMap<Epoch, Holder>,
    /// Every timeline that was ever opened, and its one branch.
    timelines: BTreeMap<Timeline, BranchId>,
    /// Somebody has set the store back: up to this epoch its record may be an old one.
    set_back_at: Option<Epoch>,
}

impl Checker {
    pub fn is_broken(&self) -> bool {
        self.violation.is_some()
    }

    /// Somebody edits the store behind everybody's back.
    pub fn store_edited(&mut self) {
        self.set_back_at = self.holders.keys().next_back().copied().max(self.set_back_at);
    }

    /// Whether a record of this epoch may be one that was long replaced.
    fn is_set_back(&self, epoch: Epoch) -> bool {
        self.set_back_at.is_some_and(|highest| epoch <= highest)
    }

    pub fn fail(&mut self, at: Moment, invariant: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { at, invariant, what: what() });
        }
    }
}
