//! Three agents on real PostgreSQL: a cluster comes up, loses its primary, and goes on.
//!
//! Never waits for a time to pass; it waits for what shall happen, with a deadline.

#![expect(clippy::print_stderr, reason = "a test tells what it measured and where it failed")]

#[cfg(test)]
mod agents {
    mod cluster;
    mod copy;
    mod life;
    mod programs;
    mod record;
    mod statements;
}
