//! PROMISES: everything another process or version reads.
//!
//! Never decides, and never talks to anything: text comes in, checked values go out.
#![warn(missing_docs)]

pub mod agent;
pub mod backup;
pub mod cluster;
pub mod console;
pub mod crd;
pub mod database;
pub mod database_role;
pub mod dump;
pub mod errand;
#[cfg(test)]
mod examples;
pub mod failover_quorum;
pub mod field;
mod guess;
pub mod history;
pub mod image_catalog;
pub mod kind;
pub mod manifest;
pub mod policy;
pub mod pooler;
pub mod publication;
pub mod quantity;
pub mod schedule;
pub mod scheduled_backup;
pub mod scheduled_dump;
pub mod subscription;
pub mod warning;
