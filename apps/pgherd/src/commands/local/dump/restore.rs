//! Restores a database from a dump, and follows that.
//!
//! Never ends a restore because nobody follows it any more.

use super::super::output::{say_either, warn};
use super::super::place::Place;
use super::follow::follow;
use super::opened;
use jiff::Timestamp;
use pgherd_api::agent::{DumpOwners, DumpRestoreOrder, DumpRoles, DumpTarget};
use pgherd_local::control::Request;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;

/// Restore a database from a dump
#[derive(clap::Args)]
#[command(after_help = "\
All is looked at that could be in the way before anything is touched. With one job it is all or nothing:
whatever goes wrong, the database is as it was.

Examples:
  pgherd local dump restore latest --database shop --into shop_copy --create
  pgherd local dump restore latest --into shop --clean
  pgherd local dump restore latest --into shop --table orders
  pgherd local dump restore 20261122T112233 --into shop --create --jobs 4
  pgherd local dump restore latest --server shop --into shop --no-owner")]
pub(super) struct Restore {
    /// Its id or name, or first or latest
    #[arg(value_name = "DUMP")]
    dump: String,
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
    server: Option<String>,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

/// What is known of the database, or to be done with it.
#[derive(clap::Args)]
struct Target {
    /// Make the database first
    #[arg(long)]
    create: bool,
    /// Replace what the database has of the dump
    #[arg(long, conflicts_with = "create")]
    clean: bool,
}

/// To whom what is restored belongs.
#[derive(clap::Args)]
struct Roles {
    /// All belongs to the database's owner, and nothing is granted
    #[arg(long)]
    no_owner: bool,
    /// Make the roles that are missing as they were
    #[arg(long, conflicts_with = "no_owner")]
    create_roles: bool,
}

impl Restore {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let (output, patience) = (place.output(), place.timeout());
        place.with(|supervisor| async move {
            self.refuse_unknown(supervisor.folder()).await?;
            let order = self.order();
            let name = order.name.clone();
            let done = supervisor.ask(&Request::RestoreDump { order }).await?;
            let Some(instance) = done.instances.first().cloned() else {
                return Err(Failure::new(Kind::Failed, "nobody restores the dump"));
            };
            if self.no_wait {
                let sentence = format!("restore/{name} begun on {instance}");
                let document = serde_json::json!({ "name": name, "instance": instance });
                return say_either(output, &sentence, &document);
            }
            let report = follow(&supervisor, (&instance, &name), patience).await?;
            warn(&report.warnings);
            let took = report.ended.unwrap_or_default().duration_since(report.ordered);
            let sentence = format!(
                "database {} restored from dump/{} in {:.1}s, {} read (on {instance})",
                self.into,
                report.id.as_deref().unwrap_or("?"),
                took.as_secs_f64(),
                report.moved,
            );
            say_either(output, &sentence, &report)
        })
    }

    /// What can be seen from here is told at once.
    async fn refuse_unknown(&self, folder: &ClusterFolder) -> Result<(), Failure> {
        if self.server.is_some() {
            return Ok(());
        }
        let found = opened::open(folder)?.find(&self.dump).await?;
        found.description.map(drop).map_err(|why| {
            Failure::new(Kind::Refused, format!("dump {} cannot be used", found.id)).because(why)
        })
    }

    fn order(&self) -> DumpRestoreOrder {
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
