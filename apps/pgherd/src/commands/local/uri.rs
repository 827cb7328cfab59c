//! `pgherd local uri`: the address of a cluster for any client of libpq.
//!
//! Never shows the password unless it is asked for.

use super::output::say_either;
use super::place::Place;
use pgherd_local::credentials;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::uri::{self, Address, Session};

/// Print the cluster's address for any client of libpq
#[derive(clap::Args)]
#[command(after_help = "\
The password is in the passfile that the address names; libpq reads it from there.

Examples:
  psql \"$(pgherd local uri)\"
  pgherd local uri --standby")]
pub(crate) struct Uri {
    #[command(flatten)]
    pub(super) place: Place,
    /// Put the password into the address, for clients that know no passfile
    #[arg(long)]
    with_password: bool,
    /// Prefer a standby, for reading
    #[arg(long)]
    standby: bool,
    /// The user (default: the owner of the application's database)
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The database (default: the application's)
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

impl Uri {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        let uri = self.place.with(|supervisor| async move {
            let (view, folder) = (supervisor.view().await?, supervisor.folder());
            let user = self.role.as_deref().unwrap_or(&view.owner);
            let secret = if user == "postgres" { "superuser" } else { "app" };
            let password = credentials::password(folder, secret)
                .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
            Ok(uri::uri(&Address {
                ports: uri::ports(&view)?,
                user,
                database: self.database.as_deref().unwrap_or(&view.database),
                password: self.with_password.then_some(password.as_str()),
                session: if self.standby { Session::PreferStandby } else { Session::ReadWrite },
                tls: view.tls,
                folder,
            }))
        })?;
        say_either(output, &uri, &serde_json::json!({ "uri": uri }))
    }
}
