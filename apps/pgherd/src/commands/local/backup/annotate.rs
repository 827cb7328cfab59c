//! Holds a backup so that retention leaves it alone, or releases it.
//!
//! Never changes a backup itself.

use super::super::output::say_either;
use super::super::place::Place;
use super::super::repository;
use pgherd_core::backup::Hold;
use pgherd_local::failure::Failure;

/// Hold a backup whatever retention says, or release it
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pgherd local backup annotate latest --keep full
  pgherd local backup annotate 20261122T112233 --release")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Annotate {
    /// Its id or name, or first or latest
    #[arg(value_name = "BACKUP")]
    backup: String,
    /// full keeps all log after it, too; standalone only what makes it consistent
    #[arg(long, value_enum, group = "what")]
    keep: Option<Keep>,
    /// Retention may remove it again
    #[arg(long, group = "what")]
    release: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Keep {
    Full,
    Standalone,
}

impl Annotate {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            opened.refuse_other(&folder).await?;
            let (_, id) = opened.find(&self.backup).await?;
            let hold = self.keep.map(|keep| match keep {
                Keep::Full => Hold::Full,
                Keep::Standalone => Hold::Standalone,
            });
            let held = opened.repository.set_hold(&id, hold).await;
            held.map_err(|error| opened.failed(&error))?;
            let words = match hold {
                Some(Hold::Full) => "is on hold, with all log after it",
                Some(Hold::Standalone) => "is on hold by itself",
                None => "is released",
            };
            let document = serde_json::json!({ "backup": id, "hold": hold });
            say_either(output, &format!("backup/{id} {words}"), &document)
        })
    }
}
