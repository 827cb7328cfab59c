//! DECIDES: who may be primary, and what each instance does next. Pure, synchronous, printable.
//!
//! Never does I/O, reads a clock, or draws a random number: all of it is handed in.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod names;
pub mod units;

pub mod intent;
pub mod message;
pub mod record;
pub mod seen;
pub mod timers;
pub mod wishes;

pub mod answer;
pub mod audit;
pub mod fleet;
pub mod instance;
pub mod notice;
pub mod plan;
pub mod ports;
pub mod reason;
pub mod rules;
pub mod switchover;

pub mod backup;
pub mod dump;
pub mod wal;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
