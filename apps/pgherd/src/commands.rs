//! One file per command.
//!
//! Never shares state between commands: each is given its arguments and ends with an exit code.

pub(crate) mod agent;
pub(crate) mod bound;
pub(crate) mod local;
