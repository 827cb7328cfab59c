//! The operator's half: what exists in Kubernetes for one cluster.
//!
//! Never decides who is primary, and never writes what is the agents' own: the record and the route
//! to the primary.

pub mod manifests;
