//! Our own product, driven by the same commands that people use.
//!
//! Never reaches behind the command line: what it cannot do is not there.

use super::{Durability, Fault, Rig, Site};
use anyhow::{Result, bail};
use pgherd_local::ledger::Address;

/// Three instances of pgherd.
pub struct Pgherd {}

impl Pgherd {
    pub fn start(_durability: Durability, _site: &Site) -> Result<Self> {
        bail!("not yet")
    }
}

impl Rig for Pgherd {
    fn address(&self) -> Result<Address> {
        bail!("not yet")
    }

    fn primary(&mut self) -> Result<Option<String>> {
        bail!("not yet")
    }

    fn is_steady(&mut self) -> Result<bool> {
        bail!("not yet")
    }

    fn hurt(&mut self, _fault: Fault, _primary: &str) -> Result<()> {
        bail!("not yet")
    }

    fn repair(&mut self) -> Result<()> {
        bail!("not yet")
    }
}
