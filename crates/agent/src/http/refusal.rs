//! Says why a question got no answer, in a form the asker can act upon.
//!
//! Never claims that nothing happened when that is not known.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// An answerer's "no", as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    pub refusal: Kind,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The question makes no sense to the answerer.
    Malformed,
    /// The asker may not ask this.
    Forbidden,
    /// There is no such route, file or thing.
    Absent,
    /// The answerer is past the state the question assumes: an older epoch, another holder.
    Conflict,
    /// The question is larger than the answerer reads.
    TooLarge,
    /// Not now; asking again later may help.
    Unavailable,
    /// It was tried and failed, perhaps half-way.
    Failed,
    /// It was given up after the answerer's own time limit, perhaps half-way.
    Late,
}

/// What an asker may conclude about a question without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It had no effect and never will have.
    NothingHappened,
    /// It may have had its effect, or may still have it later.
    Unknown,
}

impl Refusal {
    pub fn new(refusal: Kind, why: impl Into<String>) -> Self {
        Self { refusal, why: why.into() }
    }

    pub fn outcome(&self) -> Outcome {
        match self.refusal {
            Kind::Malformed
            | Kind::Forbidden
            | Kind::Absent
            | Kind::Conflict
            | Kind::TooLarge
            | Kind::Unavailable => Outcome::NothingHappened,
            Kind::Failed | Kind::Late => Outcome::Unknown,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.refusal {
            Kind::Malformed => StatusCode::BAD_REQUEST,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Absent => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}
