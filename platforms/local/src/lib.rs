//! PLAYS KUBELET AND OPERATOR for processes: clusters as processes and folders on one machine.
//!
//! Never knows Kubernetes, and never decides who is primary: the agents do.

pub mod account;
pub mod failure;
pub mod folder;
pub mod ports;
pub mod registration;
pub mod wishes;

pub mod keeper;
pub mod ledger;
pub mod processes;
pub mod relay;
pub mod store;
