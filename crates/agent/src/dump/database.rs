//! Brings one database from a dump into PostgreSQL: streamed, or by way of files where several tables
//! are restored at once.
//!
//! Never lets PostgreSQL's program get to the end of a damaged file.

use super::course::{Course, WorkError};
use super::programs::{self, Cleaned, Restoring};
use super::spool::{Spool, SpoolError};
use super::stream;
use super::target::{Target, needs_files};
use crate::process::flow::Flow;
use crate::process::owner::Owner;
use crate::process::tool::{Tool, ToolError};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_api::agent::{DumpOwners, DumpRestoreOrder, DumpTarget};
use pgherd_backup::dump::{
    Description, DumpError, DumpedDatabase, DumpedFile, DumpedFiles, DumpedFormat, Dumps,
};
use pgherd_core::backup::BackupId;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// So many files are fetched at once.
const AT_ONCE: usize = 4;

/// A database in a dump.
pub(super) struct Source<'a> {
    pub(super) dumps: &'a Dumps,
    pub(super) dump: &'a BackupId,
    pub(super) description: &'a Description,
    pub(super) from: &'a DumpedDatabase,
}

/// A folder for what has to pass through one; there is room for all of it.
pub(super) async fn spool(
    course: &Course,
    source: &Source<'_>,
    jobs: u32,
) -> Result<Spool, WorkError> {
    let place = &course.job.place;
    let spool = Spool::make(&place.spool, &place.site).await.map_err(WorkError::Spool)?;
    if needs_files(source.description, jobs) {
        spool.check_room(source.from.stored).map_err(WorkError::Spool)?;
    }
    Ok(spool)
}

pub(super) async fn restore(
    course: &Course,
    order: &DumpRestoreOrder,
    (source, target): (&Source<'_>, &Target),
    spool: &Spool,
) -> Result<(), WorkError> {
    let how = Restoring {
        into: &order.into,
        cleaned: match order.target {
            DumpTarget::Cleaned => Cleaned::Yes,
            DumpTarget::Present | DumpTarget::Created => Cleaned::No,
        },
        tables: &target.tables,
        as_role: match order.owners {
            DumpOwners::Kept => None,
            DumpOwners::LeftOut => Some(&target.owner),
        },
        jobs: order.jobs,
    };
    let place = &course.job.place;
    if !needs_files(source.description, order.jobs) {
        let tool = programs::restore(place, &how, None);
        return streamed(course, source, (&tool, &order.into)).await;
    }
    let fetched = tokio::select! {
        biased;
        cancelled = course.cancelled() => return Err(cancelled),
        fetched = fetch(course, source, spool) => fetched?,
    };
    let tool = programs::restore(place, &how, Some(&fetched));
    from_files(course, (&tool, &order.into)).await
}

/// The archive goes into the program as it comes.
async fn streamed(
    course: &Course,
    source: &Source<'_>,
    (tool, into): (&Tool, &str),
) -> Result<(), WorkError> {
    let failed = |source: ToolError| WorkError::run("pg_restore", into, source);
    let mut flow = Flow::start(tool).map_err(failed)?;
    let reading = source.dumps.reading(source.dump, &source.from.file);
    let mut give = async |piece: Bytes| {
        flow.write(&piece).await.map_err(failed)?;
        course.moved(piece.len());
        Ok::<_, WorkError>(())
    };
    let given = tokio::select! {
        biased;
        cancelled = course.cancelled() => Err(cancelled),
        given = reading.each(&mut give) => given,
    };
    ended(course, flow, given, into).await
}

/// Several tables at once.
async fn from_files(course: &Course, (tool, into): (&Tool, &str)) -> Result<(), WorkError> {
    let flow = Flow::start(tool).map_err(|source| WorkError::run("pg_restore", into, source))?;
    ended(course, flow, Ok(()), into).await
}

/// What it was given it works on as long as that takes.
async fn ended(
    course: &Course,
    mut flow: Flow,
    given: Result<(), WorkError>,
    into: &str,
) -> Result<(), WorkError> {
    let failed = |source: ToolError| WorkError::run("pg_restore", into, source);
    flow.close_input();
    let worked = if given.is_ok() {
        tokio::select! {
            biased;
            cancelled = course.cancelled() => Err(cancelled),
            said = all_said(&mut flow) => said.map_err(failed),
        }
    } else {
        given
    };
    match worked {
        Ok(()) => stream::end(flow).await.map_err(failed),
        Err(error) => {
            // The first error counts.
            let _second = flow.kill().await;
            Err(error)
        }
    }
}

async fn all_said(flow: &mut Flow) -> Result<(), ToolError> {
    while flow.read().await?.is_some() {}
    Ok(())
}

/// Brings all files of it here.
async fn fetch(course: &Course, source: &Source<'_>, spool: &Spool) -> Result<PathBuf, WorkError> {
    let (file, owner) = (&source.from.file, course.job.place.site.owner);
    match source.description.stored_as {
        DumpedFormat::Custom => {
            let path = spool.path().join(file.name.last());
            fetch_file(course, source, file, (&path, owner)).await?;
            Ok(path)
        }
        DumpedFormat::Directory => {
            let list = source.dumps.fetch(source.dump, file).await?;
            let list: DumpedFiles =
                serde_json::from_slice(&list).map_err(|source| DumpError::Encode { source })?;
            let folder = spool.path().join("in");
            let failed = |source| use_failed(&folder, source);
            std::fs::create_dir(&folder).map_err(failed)?;
            give(&folder, owner).map_err(failed)?;
            let fetches = list.files.iter().map(|file| {
                let path = folder.join(file.name.last());
                async move { fetch_file(course, source, file, (&path, owner)).await }
            });
            let fetches = futures_util::stream::iter(fetches).buffer_unordered(AT_ONCE);
            fetches.try_collect::<Vec<()>>().await?;
            Ok(folder)
        }
    }
}

async fn fetch_file(
    course: &Course,
    source: &Source<'_>,
    file: &DumpedFile,
    (path, owner): (&Path, Option<Owner>),
) -> Result<(), WorkError> {
    let failed = |source| use_failed(path, source);
    let mut to = tokio::fs::File::create(path).await.map_err(failed)?;
    give(path, owner).map_err(failed)?;
    let mut write = async |piece: Bytes| {
        to.write_all(&piece).await.map_err(failed)?;
        course.moved(piece.len());
        Ok::<_, WorkError>(())
    };
    source.dumps.reading(source.dump, file).each(&mut write).await?;
    to.flush().await.map_err(failed)
}

fn give(path: &Path, owner: Option<Owner>) -> std::io::Result<()> {
    match owner {
        Some(Owner { user, group }) => std::os::unix::fs::chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

fn use_failed(path: &Path, source: std::io::Error) -> WorkError {
    WorkError::Spool(SpoolError::Use { path: path.to_owned(), source })
}
