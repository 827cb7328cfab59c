//! Lists what a repository holds.
//!
//! Never changes it.
