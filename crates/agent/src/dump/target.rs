//! Looks whether what was asked for can be done, before anything is touched.
//!
//! Never changes anything.

use super::course::{Job, WorkError};
use super::programs::Table;
use super::server::{self, Database};
use super::{Place, globals};
use crate::postgres::config::quote::literal;
use crate::postgres::session::{SUPERUSER, Session};
use pgherd_api::agent::{DumpOwners, DumpRestoreOrder, DumpRoles, DumpTarget};
use pgherd_backup::dump::{Description, DumpedDatabase, DumpedFormat};
use std::collections::BTreeSet;

/// Why it cannot.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no database {name:?} that can be dumped; there are {there}")]
    NoDatabase { name: String, there: String },
    #[error("there is no dump {wanted:?} of {server}: pgherd local dump list")]
    NoDump { wanted: String, server: String },
    #[error("dump {dump} cannot be used: {why}")]
    Unusable { dump: String, why: String },
    #[error("the dump holds {there}: name one of them with --database")]
    WhichDatabase { there: String },
    #[error("the dump holds no database {name:?}, but {there}")]
    NotInDump { name: String, there: String },
    #[error(
        "the dump is of PostgreSQL {dumped}, which PostgreSQL {own} cannot read: restore it into a newer \
         cluster"
    )]
    Newer { dumped: u32, own: u32 },
    #[error("there is no database {name:?}: make it, or add --create")]
    NoTarget { name: String },
    #[error("there is a database {name:?} already: leave out --create, or choose another name")]
    TargetExists { name: String },
    #[error(
        "database {name:?} is not empty, {count} tables, views or sequences are in it: use --create with \
         a new name, or --clean to replace what the dump has"
    )]
    NotEmpty { name: String, count: String },
    #[error(
        "database {name:?} has a table {table} already: add --clean to replace it, or use another database"
    )]
    TableExists { name: String, table: String },
    #[error(
        "roles that the dump needs are missing here: {missing}. Add --create-roles to make them as they \
         were, or --no-owner to leave all to the database's owner"
    )]
    NoRoles { missing: String },
    #[error("tables of several schemas cannot be restored together: restore one schema at a time")]
    SeveralSchemas,
    #[error("{name:?} is no database that may be restored into")]
    Reserved { name: String },
}

/// The databases that are asked for; all if none is named.
pub(super) fn chosen(all: &[Database], wanted: &[String]) -> Result<Vec<Database>, Refused> {
    if wanted.is_empty() {
        return Ok(all.to_vec());
    }
    let names: BTreeSet<&String> = wanted.iter().collect();
    let find = |name: &&String| {
        let found = all.iter().find(|database| database.name == **name).cloned();
        let there = || listed(all.iter().map(|database| &database.name));
        found.ok_or_else(|| Refused::NoDatabase { name: (*name).clone(), there: there() })
    };
    names.iter().map(find).collect()
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The database of the dump that is meant.
pub(super) fn meant<'a>(
    description: &'a Description,
    wanted: Option<&str>,
) -> Result<&'a DumpedDatabase, Refused> {
    let all = &description.databases;
    let there = || listed(all.iter().map(|database| &database.name));
    match (wanted, all.as_slice()) {
        (Some(name), all) => {
            let found = all.iter().find(|database| database.name == name);
            found.ok_or_else(|| Refused::NotInDump { name: name.to_owned(), there: there() })
        }
        (None, [only]) => Ok(only),
        (None, _) => Err(Refused::WhichDatabase { there: there() }),
    }
}

/// What is known of where it goes.
pub(super) struct Target {
    /// Whose it is, or will be.
    pub(super) owner: String,
    /// Roles that are to be made.
    pub(super) missing: BTreeSet<String>,
    pub(super) tables: Vec<Table>,
}

/// Looks at all of it.
pub(super) async fn look(
    job: &Job,
    order: &DumpRestoreOrder,
    (description, database): (&Description, &DumpedDatabase),
) -> Result<Target, WorkError> {
    let (place, usual_owner) = (&job.place, job.owner.as_str());
    let own = place.site.installation.version.major;
    let dumped = description.from.version / 10_000;
    if dumped > own {
        return Err(Refused::Newer { dumped, own }.into());
    }
    if ["template0", "template1"].contains(&order.into.as_str()) {
        return Err(Refused::Reserved { name: order.into.clone() }.into());
    }
    let tables: Vec<Table> = order.tables.iter().map(|table| Table::parse(table)).collect();
    let schemas: BTreeSet<_> = tables.iter().map(|table| &table.schema).collect();
    if schemas.len() > 1 {
        return Err(Refused::SeveralSchemas.into());
    }
    let mut session = server::connect(&place.site, SUPERUSER).await?;
    let owner = target(place, &mut session, order, &tables).await?;
    let wanted = match order.owners {
        DumpOwners::Kept => database.roles.iter().cloned().collect(),
        DumpOwners::LeftOut => BTreeSet::new(),
    };
    let missing = globals::missing(&mut session, &wanted).await?;
    if !missing.is_empty() && order.roles == DumpRoles::Needed {
        let missing = listed(missing.iter());
        return Err(Refused::NoRoles { missing }.into());
    }
    let owner = match (owner, order.owners) {
        (Some(owner), _) => owner,
        (None, DumpOwners::Kept) => database.owner.clone(),
        (None, DumpOwners::LeftOut) if globals::exists(&mut session, usual_owner).await? => {
            usual_owner.to_owned()
        }
        (None, DumpOwners::LeftOut) => SUPERUSER.to_owned(),
    };
    Ok(Target { owner, missing, tables })
}

/// The owner of the database, if it is there as it should be.
async fn target(
    place: &Place,
    session: &mut Session,
    order: &DumpRestoreOrder,
    tables: &[Table],
) -> Result<Option<String>, WorkError> {
    let name = order.into.clone();
    let owner = server::owner(session, &name).await?;
    match (order.target, owner) {
        (DumpTarget::Created, None) => Ok(None),
        (DumpTarget::Created, Some(_)) => Err(Refused::TargetExists { name }.into()),
        (DumpTarget::Present | DumpTarget::Cleaned, None) => Err(Refused::NoTarget { name }.into()),
        (DumpTarget::Cleaned, Some(owner)) => Ok(Some(owner)),
        (DumpTarget::Present, Some(owner)) => {
            let mut inside = server::connect(&place.site, &name).await?;
            if tables.is_empty() {
                refuse_filled(&mut inside, name).await?;
            } else {
                refuse_tables(&mut inside, &name, tables).await?;
            }
            Ok(Some(owner))
        }
    }
}

/// What extensions bring along does not count.
const OBJECTS: &str = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace \
    where nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_(toast|temp)' \
    and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (select from pg_depend d where \
    d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')";

async fn refuse_filled(session: &mut Session, name: String) -> Result<(), WorkError> {
    let count = server::value(session, OBJECTS, "what is in the database").await?;
    if count == "0" { Ok(()) } else { Err(Refused::NotEmpty { name, count }.into()) }
}

async fn refuse_tables(
    session: &mut Session,
    name: &str,
    tables: &[Table],
) -> Result<(), WorkError> {
    for table in tables {
        let schema = table.schema.as_deref().map(literal);
        let schema = schema.map_or_else(String::new, |schema| format!("and nspname = {schema}"));
        let sql = format!(
            "select quote_ident(nspname) || '.' || quote_ident(relname) from pg_class join \
             pg_namespace n on n.oid = relnamespace where relname = {} {schema} \
             and nspname not in ('pg_catalog', 'information_schema') limit 1",
            literal(&table.name)
        );
        let found = server::rows(session, &sql, "a table").await?;
        if let Some(table) = found.into_iter().flatten().next() {
            return Err(Refused::TableExists { name: name.to_owned(), table }.into());
        }
    }
    Ok(())
}

/// Whether all of it has to be on this machine before it is restored.
pub(super) fn needs_files(description: &Description, jobs: u32) -> bool {
    match description.stored_as {
        DumpedFormat::Custom => jobs > 1,
        DumpedFormat::Directory => true,
    }
}
