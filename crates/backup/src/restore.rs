//! Restores.
//!
//! Never.
