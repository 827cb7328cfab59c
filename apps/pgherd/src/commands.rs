//! One file per command.
//!
//! Never shares state between commands: each is given its arguments and ends with an exit code.

pub(crate) mod agent;
pub(crate) mod bootstrap;
pub(crate) mod bound;
pub(crate) mod install;
pub(crate) mod kubernetes;
pub(crate) mod local;
pub(crate) mod operator;
