//! Processes of this machine: tools that are run, trees that are killed, the deadline that kills.
//!
//! Never touches a process that does not belong to this agent's PostgreSQL.

pub mod clock;
pub mod fence;
pub mod flow;
pub mod launch;
pub mod owner;
pub(crate) mod table;
pub mod tool;
pub mod tree;
