//! Tells all that is known of one backup.
//!
//! Never reads its data: `verify` does.

use super::super::output::{Output, say_all, say_json};
use super::super::place::Place;
use super::super::repository;
use super::listed;
use pgherd_local::failure::Failure;

/// Tell all that is known of one backup
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local backup info latest")]
pub(super) struct Details {
    /// Its id or name, or first or latest
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
}

impl Details {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            let catalogue = opened.repository.list().await;
            let catalogue = catalogue.map_err(|error| opened.failed(&error))?;
            let unknown = || opened.unknown(&self.backup);
            let id = catalogue.find(&self.backup).map(|entry| entry.id.clone());
            let id = id.ok_or_else(unknown)?;
            let all = listed::all(&opened).await?;
            let found = all.iter().find(|one| one.is(&id)).ok_or_else(unknown)?;
            match output {
                Output::Json => say_json(found),
                Output::Text => {
                    say_all(&found.page());
                    Ok(())
                }
            }
        })
    }
}
