//! `pgherd local network`: the process that carries the traffic between instances.
//!
//! Never run by people.

use pgherd_core::names::ClusterName;
use pgherd_local::chained;
use pgherd_local::folder::Home;
use std::path::PathBuf;
use std::process::ExitCode;

/// Carry the traffic between instances (started by a supervisor, not by people)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Network {
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[arg(long, value_name = "NAME")]
    name: String,
}

impl Network {
    pub(super) fn run(self) -> ExitCode {
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr).init();
        let name = match ClusterName::parse(&self.name) {
            Ok(name) => name,
            Err(error) => return failed(&error),
        };
        let folder = match Home::at(self.dir).cluster(&name) {
            Ok(folder) => folder,
            Err(error) => return failed(&error),
        };
        match pgherd_local::network::run(&folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error = %chained(error), "network ends");
    ExitCode::FAILURE
}
