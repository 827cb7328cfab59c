//! PROVES on real processes: what a client was promised is kept, and how long it had to wait.
//!
//! Never ships, and never leaves a process or a folder behind.

pub mod bench;
pub mod client;
pub mod member;
pub mod object_store;
pub mod orphans;
pub mod ports;
pub mod proof;
pub mod rig;
pub mod run;
pub mod seed;
pub mod testbed;
pub mod torture;
pub mod wait;

/// Tells people what went wrong where nobody could be handed an error.
#[expect(clippy::print_stderr, reason = "a destructor has no other way")]
fn complain(what: &str) {
    eprintln!("warning: {what}");
}
