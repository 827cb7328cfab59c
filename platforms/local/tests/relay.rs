//! Proves that a relay fails the way networks fail, with real sockets.
//!
//! Never waits for a time to pass, except to see that nothing comes.

#[cfg(test)]
mod relay {
    mod disturbed;
    mod ends;
    mod fabric;
    mod fixtures;
    mod passing;
}
