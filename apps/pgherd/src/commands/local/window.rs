//! `pgherd local window`: to which moments a cluster can be taken back, and where there are gaps.
//!
//! Never asks an agent.

use super::super::repository::{Asked, window};
use super::place::Place;
use super::repository;
use pgherd_local::failure::Failure;

/// Show to which moments the cluster can be taken back, and where there are gaps
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local window")]
pub(crate) struct Window {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Window {
    pub(super) fn run(self) -> Result<(), Failure> {
        repository::ask(&self.place, &Asked::Window(window::Window {}))
    }
}
