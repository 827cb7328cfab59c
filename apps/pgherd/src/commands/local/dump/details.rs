//! Tells all that is known of one dump.
//!
//! Never reads its data.

use super::super::output::{Output, say_all, say_json};
use super::super::place::Place;
use super::listed::Listed;
use super::opened;
use pgherd_local::failure::Failure;

/// Tell all that is known of one dump
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local dump info latest")]
pub(super) struct Details {
    /// Its id or name, or first or latest
    #[arg(value_name = "DUMP", default_value = "latest")]
    dump: String,
}

impl Details {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let found = opened::open(&folder)?.find(&self.dump).await?;
            let listed = Listed::of(&found);
            match output {
                Output::Json => say_json(&listed),
                Output::Text => {
                    say_all(&listed.page());
                    Ok(())
                }
            }
        })
    }
}
