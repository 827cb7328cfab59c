//! `pgherd local freeze`: stops processes of an instance where they are (SIGSTOP).
//!
//! Never kills one: `thaw` lets them go on.

use super::action;
use super::place::Place;
use pgherd_local::control::{Part, Request};
use pgherd_local::failure::Failure;

/// Freeze an instance where it is, as a machine that hangs
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  pgherd local freeze 1\n  pgherd local freeze 1 --postgres")]
pub(crate) struct Freeze {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Only PostgreSQL
    #[arg(long, conflicts_with = "agent")]
    postgres: bool,
    /// Only the agent
    #[arg(long)]
    agent: bool,
}

impl Freeze {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        let part = match (self.postgres, self.agent) {
            (true, _) => Part::Postgres,
            (false, true) => Part::Agent,
            (false, false) => Part::Everything,
        };
        self.place.with(|supervisor| async move {
            let request = Request::Freeze { instance: self.instance, part };
            let words = ("frozen (pgherd local thaw)", "is frozen already");
            action::simply(&supervisor, request, output, words).await
        })
    }
}
