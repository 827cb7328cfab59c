//! Which object has asked an agent for long work.
//!
//! Never of work that a person asked for by a command: nothing speaks for that but the person.

use serde::{Deserialize, Serialize};

/// The object that asks for something, in the namespace of the cluster. When it is gone, nobody wants
/// what it asked for any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedBy {
    /// Its name.
    pub name: String,
    /// Its unique id: a later object of the same name is another one.
    pub uid: String,
}
