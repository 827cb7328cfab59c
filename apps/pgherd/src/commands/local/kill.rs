//! `pgherd local kill`: an instance is lost, as a machine is, or one of its processes dies.
//!
//! Never gives a killed process time to say goodbye.

use super::action;
use super::place::Place;
use pgherd_local::control::{Part, Request};
use pgherd_local::failure::Failure;

/// Lose an instance as a machine is lost, or kill one of its processes
#[derive(clap::Args)]
#[command(after_help = "\
Without a flag agent and PostgreSQL die at once, their connections fall silent, and the instance
stays dead until `pgherd local start`. A killed agent is started again like a container.

Examples:
  pgherd local kill 1
  pgherd local kill 1 --postgres
  pgherd local kill 1 --agent")]
pub(crate) struct Kill {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Only the first process of PostgreSQL
    #[arg(long, conflicts_with = "agent")]
    postgres: bool,
    /// Only the agent
    #[arg(long)]
    agent: bool,
}

impl Kill {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        let (part, words) = match (self.postgres, self.agent) {
            (true, _) => (Part::Postgres, "lost its PostgreSQL"),
            (false, true) => (Part::Agent, "lost its agent"),
            (false, false) => (Part::Everything, "killed (pgherd local start brings it back)"),
        };
        self.place.with(|supervisor| async move {
            let request = Request::Kill { instance: self.instance, part };
            action::simply(&supervisor, request, output, (words, words)).await
        })
    }
}
