//! Base backups and restores: of folders made up for the purpose, and of a real PostgreSQL.
//!
//! Never reaches outside this machine, and leaves no process and no folder behind.

#[path = "base/barman.rs"]
mod barman;
#[path = "base/failures.rs"]
mod failures;
#[path = "base/folders.rs"]
mod folders;
#[path = "base/postgres.rs"]
mod postgres;
#[path = "base/real.rs"]
mod real;
#[expect(dead_code, reason = "the contract of stores needs more of it")]
#[path = "stores/servers.rs"]
mod servers;
#[path = "base/trees.rs"]
mod trees;
