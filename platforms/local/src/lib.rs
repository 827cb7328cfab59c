//! PLAYS KUBELET AND OPERATOR for processes: clusters as processes and folders on one machine.
//!
//! Never knows Kubernetes, and never decides who is primary: the agents do.

pub mod account;
pub mod claims;
pub mod failure;
pub mod folder;
pub mod hint;
pub mod ports;
pub mod prepare;
pub mod registration;

pub mod built_in;
pub mod client;
pub mod control;
pub mod explain;
pub mod history;
pub mod key_file;
pub mod launch;
pub mod manifest;
pub mod schedule;
pub mod summary;
pub mod uri;
pub mod wishes;

pub mod credentials;
pub mod keeper;
pub mod ledger;
pub mod network;
pub mod processes;
pub mod relay;
pub mod restored;
pub mod service;
pub mod store;
pub mod supervisor;

pub use pgherd_agent::chain::chain as chained;
