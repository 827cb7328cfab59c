//! Proves what peers may rely on when they talk, with real sockets and real certificates.
//!
//! Never waits for a time to pass; it waits for what shall happen, with a deadline.

#[cfg(test)]
mod wire {
    mod answers;
    mod files;
    mod fixtures;
    mod local;
    mod pages;
    mod trust;
}
