//! The performers against a real PostgreSQL.
//!
//! Never leaves a process or a folder behind.
#![expect(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

#[cfg(test)]
mod postgres {
    mod commits;
    mod control;
    mod copies;
    mod external;
    mod failover;
    mod fence;
    mod folder;
    mod fork;
    mod gate;
    mod import;
    mod initdb;
    mod launch;
    mod log;
    mod rig;
    mod server;
    mod tree;
    mod unbegun;
    mod wal;
}
