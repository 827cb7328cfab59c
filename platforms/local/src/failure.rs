//! A "no" for people: what could not be done, why, and what to do about it.
//!
//! Never a bare code: each is one sentence that stands alone, and its kind decides the exit code.

use crate::hint;
use pgherd_agent::chain::chain;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::Path;

/// Why a command ends without success. It also travels from the supervisor to the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub kind: Kind,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What kind of "no" it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It was tried and did not work.
    Failed,
    /// The request itself is wrong.
    Usage,
    /// It names something that does not exist.
    NotFound,
    /// It would do harm, or what it needs is not there: nothing was changed.
    Refused,
    /// It is still going on; nobody waits for it any more.
    TimedOut,
    /// The user stopped waiting.
    Interrupted,
}

impl Kind {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::TimedOut => 5,
            Self::Interrupted => 130,
        }
    }
}

impl Failure {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), cause: None, fix: None }
    }

    /// All that there is to say has been said: only the exit code tells it.
    pub fn silent(kind: Kind) -> Self {
        Self::new(kind, String::new())
    }

    pub fn is_silent(&self) -> bool {
        self.what.is_empty()
    }

    /// From an error: its own text, and those of the errors below it as the cause.
    pub fn from_error(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        let cause = error.source().map(|source| chain(source).to_string());
        Self { kind, what: error.to_string(), cause, fix: None }
    }

    /// With commands that are about the cluster in `folder`.
    pub fn addressed(self, folder: &Path) -> Self {
        self.reworded(|text| hint::addressed(text, folder))
    }

    /// With each of its texts as `change` writes it.
    pub fn reworded(self, change: impl Fn(&str) -> String) -> Self {
        Self {
            kind: self.kind,
            what: change(&self.what),
            cause: self.cause.as_deref().map(&change),
            fix: self.fix.as_deref().map(&change),
        }
    }

    pub fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}
