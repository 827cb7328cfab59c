//! Tells all that is known of one backup.
//!
//! Never reads its data: `verify` does.

use super::Opened;
use super::list::{self, Listed};
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};

/// Tell all that is known of one backup
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Its id or name, or first or latest
    #[arg(value_name = "BACKUP", default_value = "latest")]
    pub(crate) backup: String,
}

impl Details {
    pub(super) async fn answer(&self, opened: &Opened) -> Result<Listed, Failure> {
        let (catalogue, id) = opened.find(&self.backup).await?;
        let all = list::all(opened, &catalogue).await?;
        all.into_iter().find(|one| one.is(&id)).ok_or_else(|| opened.unknown(&self.backup))
    }
}
