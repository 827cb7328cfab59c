//! Makes a data folder by copying a running server's, with pg_basebackup.
//!
//! Never gives an unfinished copy the final name, and keeps the old folder until the copy is whole.

use crate::durable::{self, DurableError};
use crate::postgres::config::{
    self, ConfigError, Opens, Receive, Settings, Upstream, connection_to,
};
use crate::postgres::control::{self, Control, ControlError};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::server::{self, ServerError};
use crate::postgres::site::Site;
use crate::process::tool::{Next, Stream, Tool, ToolError};
use crate::process::tree::{Reaper, TreeError};
use pgherd_core::units::{Bytes, SystemId};
use std::path::Path;
use std::time::Duration;

/// What must be left free beyond the copy itself: the log that is written meanwhile.
const MARGIN: Bytes = Bytes(128 << 20);
/// Longer than any line of progress.
const LINE_LIMIT: usize = 512;
const SWEEP: Duration = Duration::from_secs(30);

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub copied: Bytes,
    /// As estimated by the server; a busy one may come to more.
    pub total: Bytes,
    /// How many tablespaces the server has, with its own.
    pub tablespaces: u32,
}

/// What becomes of the present data folder while the copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldFolder {
    Keep,
    /// There is no room for both.
    RemoveFirst,
}

/// What becomes of tablespaces that lie elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tablespaces {
    /// They come to lie where they lay there.
    Kept,
    Refused,
}

#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    #[error("there is nobody to copy from in the settings")]
    FindSource,
    #[error("looking for processes in the folder that is to be replaced")]
    LookForProcesses { source: TreeError },
    #[error("{count} processes work in the folder that is to be replaced: stop the server first")]
    FindNoProcess { count: usize },
    #[error("ending what an interrupted attempt left running")]
    EndEarlier { source: ServerError },
    #[error("preparing the folder")]
    PrepareFolder { source: FolderError },
    #[error("writing the configuration")]
    Configure { source: ConfigError },
    #[error(
        "the disk is too small for the copy: it takes {needed} and {available} are free: make room or use a larger disk"
    )]
    FindRoom { needed: Bytes, available: Bytes },
    #[error("the disk ran full during the copy, what was copied was removed: make room")]
    DiskFull,
    #[error(
        "the source has {count} tablespaces of its own, which cannot be copied yet: move what is in them into pg_default there, and drop them"
    )]
    PlaceTablespaces { count: u32 },
    #[error("copying with pg_basebackup")]
    Copy { source: ToolError },
    #[error("reading the control file of the copy")]
    ReadControl { source: ControlError },
    #[error("the source is another cluster: its system identifier is {found} and not {expected}")]
    MatchSystem { expected: SystemId, found: SystemId },
    #[error("making the copy start as a standby")]
    SetMode { source: DurableError },
    #[error("giving the copy its name")]
    Publish { source: FolderError },
}

/// What to copy and how.
#[derive(Debug, Clone, Copy)]
pub struct Copy<'a> {
    /// The identity the source must have, when it is known.
    pub system_id: Option<SystemId>,
    /// A slot of the source that keeps its log from the beginning of the copy on.
    pub slot: Option<&'a str>,
    pub old: OldFolder,
    pub tablespaces: Tablespaces,
    pub within: Duration,
}

/// Copies the server that `settings` name as the one to receive from.
pub async fn clone(
    site: &Site,
    settings: &Settings,
    copy: Copy<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Control, CloneError> {
    let Receive::From(upstream) = &settings.receive else { return Err(CloneError::FindSource) };
    let prepare = |source| CloneError::PrepareFolder { source };
    let staged = site.staged();
    refuse_processes(site)?;
    server::sweep(&staged, SWEEP).await.map_err(|source| CloneError::EndEarlier { source })?;
    if copy.old == OldFolder::RemoveFirst {
        folder::remove_tree(&site.data).map_err(prepare)?;
    }
    folder::begin_staging(site).map_err(prepare)?;
    let made = make(&staged, settings, upstream, copy, progress).await;
    if made.is_err() {
        // It may be what filled the disk.
        folder::remove_tree(&staged.data).map_err(prepare)?;
    }
    let control = made?;
    folder::publish(site).map_err(|source| CloneError::Publish { source })?;
    Ok(control)
}

async fn make(
    staged: &Site,
    settings: &Settings,
    upstream: &Upstream,
    copy: Copy<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Control, CloneError> {
    config::write_key(staged, settings).map_err(|source| CloneError::Configure { source })?;
    // It flushes log into a folder that nobody can vote with: no commit may count on that.
    let uncounted = Settings { receive: Receive::Uncounted(upstream.clone()), ..settings.clone() };
    run(staged, &connection_to(staged, &uncounted, upstream), copy, progress).await?;
    let control = control::read(&staged.installation, &staged.data)
        .await
        .map_err(|source| CloneError::ReadControl { source })?;
    if let Some(expected) = copy.system_id.filter(|expected| *expected != control.system_id) {
        return Err(CloneError::MatchSystem { expected, found: control.system_id });
    }
    config::apply(staged, &staged.data, (settings, Opens::AsStandby))
        .map_err(|source| CloneError::Configure { source })?;
    durable::write(&staged.data.join("standby.signal"), b"", staged.private())
        .map_err(|source| CloneError::SetMode { source })?;
    Ok(control)
}

fn refuse_processes(site: &Site) -> Result<(), CloneError> {
    let count = Reaper::new(&site.data).and_then(|mut reaper| reaper.count());
    match count.map_err(|source| CloneError::LookForProcesses { source })? {
        0 => Ok(()),
        count => Err(CloneError::FindNoProcess { count }),
    }
}

/// Copies into the empty folder of `staged` whatever server `connection` leads to.
pub(super) async fn run(
    staged: &Site,
    connection: &str,
    copy: Copy<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), CloneError> {
    let mut tool = Tool::new(staged.installation.tool("pg_basebackup"))
        .argument("--pgdata")
        .argument(&staged.data)
        .argument("--dbname")
        .argument(connection)
        .argument("--wal-method=stream")
        .argument("--checkpoint=fast")
        .argument("--no-password")
        .argument("--progress")
        .working_in(&staged.data)
        .run_as(staged.owner);
    if let Some(slot) = copy.slot {
        tool = tool.argument("--slot").argument(slot);
    }
    let mut lines = Lines::default();
    let mut refusal = None;
    let mut listen = |stream, piece: &[u8]| {
        if stream == Stream::Stdout {
            return Next::GoOn;
        }
        for now in lines.feed(piece) {
            refusal = refusal.take().or_else(|| lacks_room(&staged.data, now));
            refusal = refusal.take().or_else(|| misplaces(copy.tablespaces, now));
            progress(now);
        }
        if refusal.is_some() { Next::Stop } else { Next::GoOn }
    };
    let ended = tool.run_listening(copy.within, &mut listen).await;
    match (ended, refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Ok(_), None) => Ok(()),
        (Err(error), None) if error.complaint().is_some_and(is_disk_full) => {
            Err(CloneError::DiskFull)
        }
        (Err(source), None) => Err(CloneError::Copy { source }),
    }
}

fn is_disk_full(complaint: &str) -> bool {
    complaint.contains("No space left on device")
}

/// Refuses a copy that cannot fit before it fills the disk that others use too.
fn lacks_room(folder: &Path, now: Progress) -> Option<CloneError> {
    let available = free_space(folder)?;
    let needed = Bytes(now.total.0.saturating_sub(now.copied.0) + MARGIN.0);
    (needed > available).then_some(CloneError::FindRoom { needed, available })
}

/// Refuses to write outside of the folder.
fn misplaces(tablespaces: Tablespaces, now: Progress) -> Option<CloneError> {
    let count = now.tablespaces.saturating_sub(1);
    match tablespaces {
        Tablespaces::Refused if count > 0 => Some(CloneError::PlaceTablespaces { count }),
        Tablespaces::Refused | Tablespaces::Kept => None,
    }
}

/// How large the disk is that the folder is on.
pub fn size(folder: &Path) -> Option<Bytes> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(Bytes(disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// What an unprivileged user may still write to the disk of that folder.
pub fn free_space(folder: &Path) -> Option<Bytes> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)))
}

/// Cuts what pg_basebackup says into lines; it ends them with a carriage return at times.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, piece: &[u8]) -> Vec<Progress> {
        let mut found = Vec::new();
        for byte in piece {
            if matches!(byte, b'\r' | b'\n') {
                found.extend(parse_progress(&String::from_utf8_lossy(&self.rest)));
                self.rest.clear();
            } else if self.rest.len() < LINE_LIMIT {
                self.rest.push(*byte);
            }
        }
        found
    }
}

/// Reads `  1234/38421 kB (3%), 0/1 tablespace`.
fn parse_progress(line: &str) -> Option<Progress> {
    let (numbers, rest) = line.split_once(" kB")?;
    let (copied, total) = numbers.trim().split_once('/')?;
    let bytes = |number: &str| number.parse::<u64>().ok().map(|kilo| Bytes(kilo * 1024));
    let (_, tablespaces) = rest.split_once('/')?;
    let tablespaces = tablespaces.split(' ').next()?.parse().ok()?;
    Some(Progress { copied: bytes(copied)?, total: bytes(total)?, tablespaces })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"waiting for checkpoint\r    0/38"), []);
        let first = Progress { copied: Bytes(0), total: Bytes(38 << 10), tablespaces: 1 };
        let second = Progress { copied: Bytes(10 << 10), total: Bytes(38 << 10), tablespaces: 2 };
        assert_eq!(
            lines.feed(b" kB (0%), 0/1 tablespace\r   10/38 kB (26%), 0/2 tablespaces (/v)\n"),
            [first, second]
        );
    }

    #[test]
    fn a_copy_that_cannot_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let small = Progress { copied: Bytes(0), total: Bytes(1), tablespaces: 1 };
        assert!(lacks_room(folder.path(), small).is_none());
        let large = Progress { total: Bytes(1 << 60), ..small };
        let refusal = lacks_room(folder.path(), large).unwrap();
        assert!(refusal.to_string().starts_with("the disk is too small"), "{refusal}");
    }

    #[test]
    fn tablespaces_are_refused_where_they_have_no_place() {
        let now = Progress { copied: Bytes(0), total: Bytes(1), tablespaces: 3 };
        assert!(misplaces(Tablespaces::Kept, now).is_none());
        assert!(misplaces(Tablespaces::Refused, Progress { tablespaces: 1, ..now }).is_none());
        let refusal = misplaces(Tablespaces::Refused, now).unwrap();
        assert!(refusal.to_string().starts_with("the source has 2 tablespaces"), "{refusal}");
    }
}
