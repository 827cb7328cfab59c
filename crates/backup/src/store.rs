//! Speaks to what stores objects.
//!
//! Never knows what they hold.
