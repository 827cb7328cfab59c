//! Moves files of the log.
//!
//! Never decides which.
