//! `pgherd local psql`: becomes psql, connected to the primary, a standby, or one instance.
//!
//! Never puts the password where other users could see it.

use super::place::Place;
use pgherd_local::control::View;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::uri::{self, Address, Session};
use pgherd_local::wishes;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Open psql on a cluster
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pgherd local psql
  pgherd local psql --standby -- -c 'select pg_is_in_recovery()'
  pgherd local psql 2")]
pub(crate) struct Psql {
    #[command(flatten)]
    pub(super) place: Place,
    /// This instance, whatever it is (default: the one that takes writes)
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
    /// Prefer a standby
    #[arg(long, conflicts_with = "instance")]
    standby: bool,
    /// The user (default: the owner of the application's database); postgres, the superuser, only
    /// where `spec.enableSuperuserAccess` is true
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The database (default: the application's)
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Arguments for psql
    #[arg(last = true, value_name = "PSQL")]
    arguments: Vec<String>,
}

impl Psql {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (program, uri) = self.place.with(|supervisor| {
            let (instance, standby) = (self.instance.clone(), self.standby);
            let (role, database) = (self.role.clone(), self.database.clone());
            async move {
                let view = supervisor.view().await?;
                let ports = match &instance {
                    Some(instance) => vec![port(&view, instance)?],
                    None => uri::ports(&view)?,
                };
                let session = if standby { Session::PreferStandby } else { Session::ReadWrite };
                let uri = uri::uri(&Address {
                    session: if instance.is_some() { Session::Any } else { session },
                    ports,
                    user: role.as_deref().unwrap_or(&view.owner),
                    database: database.as_deref().unwrap_or(&view.database),
                    password: None,
                    tls: view.tls,
                    folder: supervisor.folder(),
                });
                Ok((program(&view), uri))
            }
        })?;
        let mut psql = Command::new(&program);
        // They would lead elsewhere than the address says.
        psql.env_remove("PGHOSTADDR").env_remove("PGSERVICE");
        let error = psql.arg(uri).args(self.arguments).exec();
        Err(Failure::new(Kind::Failed, format!("{} cannot be run", program.display()))
            .because(error.to_string())
            .fix("install PostgreSQL's client programs, or use the address: pgherd local uri"))
    }
}

fn program(view: &View) -> PathBuf {
    let own = view.bindir.join("psql");
    if own.is_file() { own } else { PathBuf::from("psql") }
}

fn port(view: &View, given: &str) -> Result<u16, Failure> {
    let name = wishes::instance(&view.cluster, given)?;
    let found = view.instance(&name).map(|instance| instance.port);
    found.ok_or_else(|| {
        let what = format!("instance {name} not found in cluster {}", view.cluster);
        Failure::new(Kind::NotFound, what).fix("pgherd local status")
    })
}
