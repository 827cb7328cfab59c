//! `pgherd local supervise`: the process behind a cluster; other verbs start it.
//!
//! Never run by people.

use pgherd_core::names::ClusterName;
use pgherd_local::chained;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::Home;
use pgherd_local::launch;
use pgherd_local::supervisor::{self, SupervisorError};
use std::path::PathBuf;
use std::process::ExitCode;

/// Keep a cluster running (started by other verbs, not by people)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Supervise {
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[arg(long, value_name = "NAME")]
    name: String,
    #[arg(long)]
    staying: bool,
}

impl Supervise {
    pub(super) fn run(self) -> ExitCode {
        let home = Home::at(self.dir.clone());
        let ended = match ClusterName::parse(&self.name) {
            Err(error) => Err(Failure::from_error(Kind::Usage, &error)),
            Ok(name) if self.staying => stay(&home, &name),
            Ok(name) => launch::leave(&home, &name)
                .map_err(|error| Failure::from_error(Kind::Failed, &error)),
        };
        let Err(failure) = ended else { return ExitCode::SUCCESS };
        // Whoever started it may be gone.
        let _gone = launch::say_failure(&failure).is_err();
        ExitCode::from(failure.kind.exit_code())
    }
}

fn stay(home: &Home, name: &ClusterName) -> Result<(), Failure> {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr).init();
    supervisor::run(home, name, launch::say_ready).map_err(|error| {
        tracing::error!(error = %chained(&error), "supervisor ends");
        match error {
            SupervisorError::Refused(failure) => failure,
            SupervisorError::Start { .. } => Failure::from_error(Kind::Failed, &error),
        }
    })
}
