//! A model of PostgreSQL: logs that grow, fork and stream, commits that wait, processes that die.
//!
//! Never kinder than the real thing: where PostgreSQL leaves room for bad luck, so does this.

pub mod commit;
pub mod copy;
pub mod death;
pub mod look;
pub mod obey;
pub mod opening;
pub mod stream;
pub mod tasks;
