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
            let (catalogue, id) = opened.find(&self.backup).await?;
            let all = listed::all(&opened, &catalogue).await?;
            let found = all.iter().find(|one| one.is(&id));
            let found = found.ok_or_else(|| opened.unknown(&self.backup))?;
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
