//! Base backups and restores: of folders made up for the purpose, and of a real PostgreSQL.
//!
//! Never reaches outside this machine, and leaves no process and no folder behind.

#[cfg(test)]
mod base {
    mod barman;
    mod blockmap;
    mod chains;
    mod failures;
    mod faults;
    mod folders;
    mod increments;
    mod postgres;
    mod real;
    mod tablespaces;
    mod trees;
}

#[cfg(test)]
#[expect(dead_code, reason = "the contract of stores needs more of it")]
#[path = "stores/servers.rs"]
mod servers;

#[cfg(test)]
#[path = "stores/relay.rs"]
mod relay;
