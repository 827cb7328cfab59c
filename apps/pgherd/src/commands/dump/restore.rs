//! What a restore from a dump is asked to be, on a command line.
//!
//! Never says where.

use super::super::repository::dump::list::Listed;
use jiff::Timestamp;
use pgherd_api::agent::{DumpOwners, DumpReport, DumpRestoreOrder, DumpRoles, DumpTarget};
use pgherd_local::failure::{Failure, Kind};

#[derive(Clone, clap::Args)]
pub(crate) struct Restoring {
    /// Its id or name, or first or latest
    #[arg(value_name = "DUMP")]
    pub(crate) dump: String,
    /// The database it goes into
    #[arg(long, value_name = "DB")]
    into: String,
    /// The database in the dump, if it holds several
    #[arg(long, value_name = "DB")]
    database: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Only this table, as TABLE or SCHEMA.TABLE: its rows, without indexes and constraints
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// How many tables are restored at once; with more than one it is not all or nothing
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: u32,
    #[command(flatten)]
    roles: Roles,
    /// The dump is another cluster's, which has this name in the same repository
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
}

/// What is known of the database, or to be done with it.
#[derive(Clone, clap::Args)]
struct Target {
    /// Make the database first
    #[arg(long)]
    create: bool,
    /// Replace what the database has of the dump
    #[arg(long, conflicts_with = "create")]
    clean: bool,
}

/// To whom what is restored belongs.
#[derive(Clone, clap::Args)]
struct Roles {
    /// All belongs to the database's owner, and nothing is granted
    #[arg(long)]
    no_owner: bool,
    /// Make the roles that are missing as they were
    #[arg(long, conflicts_with = "no_owner")]
    create_roles: bool,
}

impl Restoring {
    /// What can be seen in the repository is told at once.
    pub(crate) fn refuse_unusable(listed: &Listed) -> Result<(), Failure> {
        let Some(why) = &listed.problem else { return Ok(()) };
        let id = listed.id.as_deref().unwrap_or("?");
        Err(Failure::new(Kind::Refused, format!("dump {id} cannot be used")).because(why))
    }

    pub(crate) fn restored(&self, report: &DumpReport) -> String {
        let took = report.ended.unwrap_or_default().duration_since(report.ordered);
        format!(
            "database {} restored from dump/{} in {:.1}s, {} read (on {})",
            self.into,
            report.id.as_deref().unwrap_or("?"),
            took.as_secs_f64(),
            report.moved,
            report.instance,
        )
    }

    pub(crate) fn order(&self) -> DumpRestoreOrder {
        let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S%3f").to_string();
        DumpRestoreOrder {
            name: format!("restore-{stamp}"),
            dump: self.dump.clone(),
            server: self.server.clone(),
            database: self.database.clone(),
            into: self.into.clone(),
            target: match (self.target.create, self.target.clean) {
                (true, _) => DumpTarget::Created,
                (false, true) => DumpTarget::Cleaned,
                (false, false) => DumpTarget::Present,
            },
            tables: self.tables.clone(),
            jobs: self.jobs,
            owners: if self.roles.no_owner { DumpOwners::LeftOut } else { DumpOwners::Kept },
            roles: if self.roles.create_roles { DumpRoles::Created } else { DumpRoles::Needed },
        }
    }
}
