//! RUNS ONE PostgreSQL: starts it, stops it, fences it, and speaks for it to its peers.
//!
//! Never decides who is primary (`pgherd-core` does), and knows no platform.

pub mod accepted;
pub mod archive;
mod aside;
pub mod backup;
pub mod config;
pub mod coordinator;
pub mod dump;
pub mod durable;
pub mod events;
pub mod http;
pub mod log;
pub mod metrics;
mod naming;
pub mod observe;
mod order;
pub mod perform;
pub mod platform;
pub mod postgres;
pub mod process;
pub mod program;
pub mod recovery;
pub mod reexec;
pub mod run;
pub mod serve;
pub mod settings;
pub mod signals;
pub mod specification;
pub mod state;
pub mod tasks;
pub mod tls;
pub mod wake;

/// How an error is told; the store of backups tells its own alike.
pub use pgherd_backup::chain;
