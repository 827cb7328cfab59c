//! Decides who is believed on the wire: one authority per cluster, one certificate per process.
//!
//! Never trusts a root of the machine, and never asks anybody: who says a thing is known offline.

pub mod authority;
pub mod certificate;
pub mod files;
pub mod holder;
pub mod identity;
pub mod inspect;
pub mod peer;
pub mod signer;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The one set of algorithms, handed in everywhere so that no process-wide default decides.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
