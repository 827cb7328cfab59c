//! The same clusters as pods of a Kubernetes: the operator, and what an agent in a pod needs.
//!
//! Never decides who is primary: agents do, with or without an operator.

mod backoff;
pub mod backup;
pub mod cluster;
pub mod console;
mod dump;
mod errand;
mod hindrance;
pub mod install;
pub mod leader;
pub mod pod;
pub mod pull;
pub mod rights;
pub mod run;
mod schedule;
pub mod settings;
mod space;
pub mod stores;
mod unacted;
