//! PROVES on real processes: what a client was promised is kept, and how long it had to wait.
//!
//! Never ships, and never leaves a process or a folder behind.

pub mod bench;
pub mod member;
pub mod orphans;
pub mod ports;
pub mod rig;
pub mod wait;
