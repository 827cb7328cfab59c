//! PROVES: a world in virtual time that attacks the decisions of `pgherd-core` with seeded faults.
//!
//! Never decides for an instance: it runs the same `notice`, `plan`, `answer` and `audit` as the
//! agent, and checks what comes of it.

pub mod clock;
pub mod names;
pub mod queue;
pub mod rng;
pub mod wal;

pub mod network;
pub mod node;
pub mod store;

pub mod agent;
pub mod happening;
pub mod server;
pub mod world;

pub mod checker;
pub mod faults;
pub mod figures;
pub mod liveness;
pub mod trace;

pub mod chaos;
pub mod explore;
pub mod mutation;
pub mod run;
pub mod scenario;
pub mod scenarios;
pub mod shrink;
