//! `pgherd window`: to which moments a cluster can be taken back, and where there are gaps.
//!
//! Never promises more than the repository holds.

use super::super::repository::{Asked, window};
use super::place::Place;
use super::{hint, repository};
use pgherd_local::failure::Failure;

/// Show to which moments the cluster can be taken back, and where there are gaps
#[derive(clap::Args)]
#[command(after_help = "\
The repository is asked in a pod of the cluster, which takes the right to create pods/exec.

Examples:
  pgherd window app-db
  pgherd window app-db -o json")]
pub(crate) struct Window {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Window {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let told = repository::ask(&reached, &Asked::Window(window::Window {})).await?;
            told.tell(form, &|text| hint::here(text, &reached))
        })
    }
}
