//! The keepers of the record, as the agent reaches them: one file per platform's way.
//!
//! Never answers from memory: every read goes to the keeper.

pub mod http;
