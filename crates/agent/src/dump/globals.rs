//! Dumps what all databases share, and looks which roles are missing.
//!
//! Never changes a role.

use super::course::{Course, ENDING, WorkError};
use super::programs;
use super::server;
use crate::postgres::config::quote::literal;
use crate::postgres::session::{SUPERUSER, Session};
use crate::process::flow::Flow;
use crate::process::tool::ToolError;
use pgherd_api::agent::DumpPasswords;
use pgherd_backup::dump::{DumpFile, DumpedFile, Taking};
use std::collections::BTreeSet;

pub(super) async fn store(
    course: &Course,
    taking: &Taking,
    passwords: DumpPasswords,
) -> Result<DumpedFile, WorkError> {
    let failed = |source: ToolError| WorkError::run("pg_dumpall", SUPERUSER, source);
    let mut flow = Flow::start(&programs::globals(&course.job.place, passwords)).map_err(failed)?;
    let mut text = Vec::new();
    let read = async {
        while let Some(piece) = flow.read().await? {
            text.extend_from_slice(&piece);
        }
        flow.end().await
    };
    let read = tokio::time::timeout(ENDING, read).await;
    read.map_err(|_| late())?.map_err(failed)?;
    Ok(taking.put_packed(DumpFile::globals(), &text).await?)
}

fn late() -> WorkError {
    let (program, complaint) = ("pg_dumpall".into(), String::new());
    WorkError::run(
        "pg_dumpall",
        SUPERUSER,
        ToolError::Deadline { program, within: ENDING, complaint },
    )
}

/// The roles of these that are not there.
pub(super) async fn missing(
    session: &mut Session,
    wanted: &BTreeSet<String>,
) -> Result<BTreeSet<String>, WorkError> {
    let there = server::rows(session, "select rolname from pg_roles", "roles").await?;
    let there: BTreeSet<String> = there.into_iter().flatten().collect();
    Ok(wanted.difference(&there).cloned().collect())
}

/// Whether a role may be set for what is restored.
pub(super) async fn exists(session: &mut Session, role: &str) -> Result<bool, WorkError> {
    let sql = format!("select count(*) from pg_roles where rolname = {}", literal(role));
    Ok(server::value(session, &sql, "a role").await? != "0")
}
