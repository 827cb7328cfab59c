//! What a primary's agent is asked for a restore point, and what it tells of it.
//!
//! Never the same one twice: to ask again is to make another one of that name.

use pgherd_core::units::Lsn;
use serde::{Deserialize, Serialize};

/// Asks for a name in the log that a recovery can stop at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestorePointOrder {
    /// Its name: 1 to 63 bytes without control characters.
    pub name: String,
}

/// A restore point that is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestorePoint {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub lsn: Lsn,
    /// The file of the log that it is in.
    pub wal: String,
}

impl RestorePointOrder {
    /// Why PostgreSQL, or a manifest that names it, would refuse this name; none if neither does.
    pub fn wrong(name: &str) -> Option<&'static str> {
        match name {
            "" => Some("a restore point has a name: write 1 to 63 characters"),
            name if name.len() > 63 => {
                Some("the name of a restore point has 63 bytes at most: choose a shorter one")
            }
            name if name.contains(char::is_control) => {
                Some("the name of a restore point has no control characters: choose another one")
            }
            _ => None,
        }
    }
}
