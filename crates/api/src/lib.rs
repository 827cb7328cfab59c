//! PROMISES: everything another process or version reads.
//!
//! Never decides, and never talks to anything: text comes in, checked values go out.
#![warn(missing_docs)]

pub mod agent;
pub mod cluster;
pub mod field;
mod guess;
pub mod manifest;
pub mod quantity;
pub mod warning;
