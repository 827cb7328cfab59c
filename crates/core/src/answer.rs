//! Answers a peer's request at once, from what is seen.
//!
//! Never answers before the steps it names are done: a reply says what is already persisted.

use crate::intent::Intent;
use crate::message::{Reply, Request};
use crate::names::InstanceName;
use crate::notice::Event;
use crate::plan::Step;
use crate::seen::Seen;
use crate::units::Time;

/// What to do, and then what to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Perform these first, in order.
    pub steps: Vec<Step>,
    pub reply: Reply,
    /// What the request itself tells: notice it after the steps and before the reply leaves.
    pub heard: Option<Event>,
}

pub fn answer(
    _intent: &Intent,
    _seen: &Seen,
    _from: &InstanceName,
    _request: &Request,
    _now: Time,
) -> Answered {
    Answered { steps: Vec::new(), reply: Reply::Released, heard: None }
}
