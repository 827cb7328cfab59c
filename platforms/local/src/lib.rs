//! PLAYS KUBELET AND OPERATOR for processes: clusters as processes and folders on one machine.
//!
//! Never knows Kubernetes, and never decides who is primary: the agents do.

pub mod store;
