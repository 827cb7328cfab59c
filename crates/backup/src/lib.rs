//! STORES: backups and the log, in the layout that barman-cloud reads, on S3, Azure, Google Cloud
//! or in a folder.
//!
//! Never decides what is kept or restored (`pgherd-core` does), and knows no platform.

pub mod credentials;
pub mod destination;
pub mod encryption;
pub mod secret;

pub mod chain;

pub mod compression;
pub mod layout;

pub mod backup_info;
pub mod blockmap;
pub mod catalogue;
pub mod increment;
pub mod store;
pub mod wal;

pub mod base;
pub mod dump;
pub mod restore;
pub mod rewrap;

mod budget;
mod workers;

#[cfg(test)]
mod fuzz;
