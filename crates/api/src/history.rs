//! What is noted of terms of office beside the record, for people.
//!
//! Never anything that a decision rests on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a term of office came to its end, as its own holder said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// When its holder began to hand over, or had stopped cleanly.
    pub at: Timestamp,
    /// What for.
    pub why: Why,
}

/// What a holder gives its office away for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// A switchover was asked for.
    Request,
    /// The holder was to be stopped, and another one was there to take over.
    Departure,
    /// All were to be stopped, or nobody was there to take over.
    Stop,
}
