//! Tells all that is known of one dump.
//!
//! Never reads its data.

use super::super::Opened;
use super::list::Listed;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};

/// Tell all that is known of one dump
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Its id or name, or first or latest
    #[arg(value_name = "DUMP", default_value = "latest")]
    pub(crate) dump: String,
}

impl Details {
    pub(crate) async fn answer(&self, opened: &Opened) -> Result<Listed, Failure> {
        Ok(Listed::of(&opened.find_dump(&self.dump).await?))
    }
}
