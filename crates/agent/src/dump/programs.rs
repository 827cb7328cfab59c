//! How PostgreSQL's own programs are called for dumps.
//!
//! Never with a secret: they come in through the agent's private socket.

use super::Place;
use crate::postgres::config::quote::conninfo;
use crate::postgres::session::SUPERUSER;
use crate::postgres::site::Site;
use crate::process::tool::Tool;
use pgherd_api::agent::{DumpFormat, DumpOrder, DumpPasswords};
use std::path::Path;

/// How connections of dumps are recognised.
pub(super) const APPLICATION: &str = "pgherd-dump";
/// For a lock that somebody else has. Who waits for one holds up all that come later.
const LOCK_WAIT_MILLISECONDS: u32 = 60_000;

/// A program that is gone leaves its session at a lock unless the server looks after it, in
/// milliseconds.
const LOOKS_AFTER_CLIENTS: &str = "-c client_connection_check_interval=1000";

/// The server's own database.
fn connection(site: &Site, database: &str) -> String {
    let host = conninfo(&site.sockets.display().to_string());
    let (port, user, database) = (site.port, SUPERUSER, conninfo(database));
    let options = conninfo(LOOKS_AFTER_CLIENTS);
    format!("host={host} port={port} user={user} dbname={database} options={options}")
}

fn program(place: &Place, name: &str) -> Tool {
    Tool::new(place.site.installation.tool(name))
        .environment("PGAPPNAME", APPLICATION)
        .argument("--no-password")
        .working_in(&place.spool)
        .run_as(place.site.owner)
}

pub(super) fn globals(place: &Place, passwords: DumpPasswords) -> Tool {
    let tool = program(place, "pg_dumpall")
        .argument("--globals-only")
        .argument(format!("--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}"))
        .argument(format!("--dbname={}", connection(&place.site, SUPERUSER)));
    match passwords {
        DumpPasswords::Kept => tool,
        DumpPasswords::LeftOut => tool.argument("--no-role-passwords"),
    }
}

/// One database as of this snapshot; the directory format goes into that folder.
pub(super) fn dump(
    place: &Place,
    order: &DumpOrder,
    (database, snapshot): (&str, &str),
    folder: &Path,
) -> Tool {
    let mut tool = program(place, "pg_dump")
        .argument(format!("--snapshot={snapshot}"))
        .argument(format!("--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}"))
        .argument("--no-sync")
        .argument(format!("--dbname={}", connection(&place.site, database)));
    for table in &order.tables {
        tool = tool.argument(format!("--table={table}"));
    }
    if let Some(compress) = &order.compress {
        tool = tool.argument(format!("--compress={compress}"));
    }
    match order.format {
        DumpFormat::Custom => tool.argument("--format=custom"),
        DumpFormat::Directory => tool
            .argument("--format=directory")
            .argument(format!("--jobs={}", order.jobs))
            .argument(format!("--file={}", folder.display())),
    }
}

/// How a database is restored.
#[derive(Debug, Clone)]
pub(super) struct Restoring<'a> {
    pub(super) into: &'a str,
    pub(super) cleaned: Cleaned,
    pub(super) tables: &'a [Table],
    /// As whom, if not as the dump says.
    pub(super) as_role: Option<&'a str>,
    pub(super) jobs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaned {
    Yes,
    No,
}

/// A table by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: Option<String>,
    pub(super) name: String,
}

impl Table {
    pub(super) fn parse(given: &str) -> Self {
        match given.split_once('.') {
            Some((schema, name)) => Self { schema: Some(schema.to_owned()), name: name.to_owned() },
            None => Self { schema: None, name: given.to_owned() },
        }
    }
}

/// From standard input, unless a file or folder is named.
pub(super) fn restore(place: &Place, how: &Restoring<'_>, from: Option<&Path>) -> Tool {
    let mut tool = program(place, "pg_restore")
        .argument("--exit-on-error")
        .argument(format!("--dbname={}", connection(&place.site, how.into)));
    tool = match how.jobs {
        // All or nothing.
        1 => tool.argument("--single-transaction"),
        jobs => tool.argument(format!("--jobs={jobs}")),
    };
    if how.cleaned == Cleaned::Yes {
        tool = tool.argument("--clean").argument("--if-exists");
    }
    if let Some(role) = how.as_role {
        tool = tool.argument("--no-owner").argument("--no-privileges");
        tool = tool.argument(format!("--role={role}"));
    }
    if !how.tables.is_empty() {
        // Else what is not in the dump would be restored by doing nothing.
        tool = tool.argument("--strict-names");
    }
    for table in how.tables {
        if let Some(schema) = &table.schema {
            tool = tool.argument(format!("--schema={schema}"));
        }
        tool = tool.argument(format!("--table={}", table.name));
    }
    match from {
        Some(path) => tool.argument(path),
        None => tool.argument("--format=custom").fed(),
    }
}
