//! How an agent serves its metrics.
//!
//! Never says where: that is its platform's to know.

use serde::{Deserialize, Serialize};

/// How metrics are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsSpec {
    /// Who can read on the way.
    pub way: MetricsWay,
}

/// How metrics go to whoever asks for them. They are no secret either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricsWay {
    /// In the clear.
    #[default]
    Plain,
    /// Over TLS, with the certificate that PostgreSQL shows its clients.
    Encrypted,
}

impl MetricsWay {
    /// The scheme of an address where metrics are asked for.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Encrypted => "https",
        }
    }
}
