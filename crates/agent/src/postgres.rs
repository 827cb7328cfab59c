//! One PostgreSQL server and its folder: each module is one thing done to it or seen of it.
//!
//! Never decides: a performer does what it was told, or says why it could not.

pub mod clone;
pub mod commits;
pub mod config;
pub mod control;
pub mod external;
pub mod folder;
pub mod follow;
pub(crate) mod globals;
pub mod import;
pub mod initdb;
pub mod install;
pub mod lost_and_found;
pub mod memory;
pub mod promote;
pub mod rewind;
pub mod roles;
pub mod running;
pub mod said;
pub mod scram;
pub mod seal;
pub mod server;
pub mod session;
pub mod site;
pub mod wal;
