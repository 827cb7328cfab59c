//! Deletes one dump.
//!
//! Never without being told twice.

use super::super::output::say_either;
use super::super::place::Place;
use super::opened;
use pgherd_local::failure::{Failure, Kind};

/// Delete one dump
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local dump delete 20261122T112233 --yes")]
pub(super) struct Delete {
    /// Its id or name
    #[arg(value_name = "DUMP")]
    dump: String,
    /// Really
    #[arg(long)]
    yes: bool,
}

impl Delete {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let catalogue = opened::open(&folder)?;
            catalogue.opened.refuse_other().await?;
            let id = catalogue.find(&self.dump).await?.id;
            if !self.yes {
                let what = format!("dump {id} would be deleted, and nothing brings it back");
                return Err(Failure::new(Kind::Refused, what)
                    .fix(format!("pgherd local dump delete {id} --yes")));
            }
            let removed = catalogue.dumps.remove(&id).await;
            removed.map_err(|error| catalogue.failed(&error))?;
            let document = serde_json::json!({ "dump": id });
            say_either(output, &format!("dump/{id} deleted"), &document)
        })
    }
}
