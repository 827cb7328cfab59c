//! Makes the segment whole in which the newest timeline began.
//!
//! A standby that changes to a new timeline is sent that segment anew, from its first byte and under
//! a new name. PostgreSQL then reads only the file of the newest timeline: if its primary dies
//! before the segment has come, a standby that restarts waits for log it has had all along, and one
//! that is promoted panics.
//!
//! Never replaces log that can be read up to where the timeline began.

use crate::durable::{self, DurableError};
use crate::postgres::control::{self, ControlError};
use crate::postgres::site::Site;
use crate::postgres::wal::history::{self, HistoryError};
use crate::postgres::wal::{self, Segment, WalError};
use crate::process::tool::{Tool, ToolError};
use pgherd_core::units::{Bytes, Lsn};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::info;

const PIECE: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    #[error("reading the size of a segment from the control file")]
    ReadControl { source: ControlError },
    #[error("finding the newest timeline of the log")]
    FindTimeline { source: WalError },
    #[error("reading where the newest timeline began")]
    ReadHistory { source: HistoryError },
    #[error("comparing {path:?} with the one it replaces")]
    Compare { path: PathBuf, source: io::Error },
    #[error("looking whether {segment} can be read")]
    Look { segment: Segment, source: ToolError },
    #[error("completing {segment}")]
    Write { segment: Segment, source: DurableError },
}

/// Two files for the same stretch of log: of the timeline that began in it, and of its parent.
#[derive(Debug, Clone, Copy)]
struct Fork {
    newer: Segment,
    older: Segment,
    /// Where the newer timeline began. Up to there both files are the same.
    at: Lsn,
    size: Bytes,
}

/// Nobody may receive log into the folder meanwhile; a server may read it. Returns the segment that
/// was completed, if any.
pub async fn complete(site: &Site, within: Duration) -> Result<Option<Segment>, ForkError> {
    let Some(fork) = find(&site.data)? else { return Ok(None) };
    if is_same(site.data.clone(), fork).await?
        || is_readable(site, fork, fork.newer, within).await?
        || !is_readable(site, fork, fork.older, within).await?
    {
        return Ok(None);
    }
    write(site, fork)?;
    info!(segment = %fork.newer, from = %fork.older, "completed what was received only in part");
    Ok(Some(fork.newer))
}

fn find(data: &Path) -> Result<Option<Fork>, ForkError> {
    let newest = match wal::highest_timeline(data) {
        // Whoever starts a server in there says it better.
        Err(WalError::FindSegment { .. }) => return Ok(None),
        other => other.map_err(|source| ForkError::FindTimeline { source })?,
    };
    let history =
        history::read(data, newest).map_err(|source| ForkError::ReadHistory { source })?;
    let Some(last) = history.as_ref().and_then(|history| history.forks.last()) else {
        return Ok(None);
    };
    let size =
        control::read_file(data).map_err(|source| ForkError::ReadControl { source })?.segment_size;
    let at = last.at;
    let (newer, older) =
        (Segment::holding(newest, at, size), Segment::holding(last.timeline, at, size));
    let exists = |segment| wal::path(data, segment).exists();
    let shared = newer.begins(size) < at && exists(newer) && exists(older);
    Ok(shared.then_some(Fork { newer, older, at, size }))
}

impl Fork {
    /// How much of both files is the same log.
    fn shared(self) -> u64 {
        self.at.0.saturating_sub(self.newer.begins(self.size).0)
    }
}

async fn is_same(data: PathBuf, fork: Fork) -> Result<bool, ForkError> {
    let newer = wal::path(&data, fork.newer);
    let paths = [newer.clone(), wal::path(&data, fork.older)];
    let attempt = move || -> io::Result<bool> {
        let mut files = [File::open(&paths[0])?, File::open(&paths[1])?];
        let [mut first, mut second] = [vec![0; PIECE], vec![0; PIECE]];
        let mut left = fork.shared();
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            first.truncate(length);
            second.truncate(length);
            let [newer, older] = &mut files;
            newer.read_exact(&mut first)?;
            older.read_exact(&mut second)?;
            if first != second {
                return Ok(false);
            }
            left -= length as u64;
        }
        Ok(true)
    };
    let compared = tokio::task::spawn_blocking(attempt).await.map_err(io::Error::other);
    match compared.flatten() {
        // One of them is shorter than a segment.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map_err(|source| ForkError::Compare { path: newer, source }),
    }
}

/// Whether every record from the beginning of that file up to the fork is whole.
async fn is_readable(
    site: &Site,
    fork: Fork,
    segment: Segment,
    within: Duration,
) -> Result<bool, ForkError> {
    let tool = Tool::new(site.installation.tool("pg_waldump"))
        .argument("--path")
        .argument(wal::folder(&site.data))
        .argument(format!("--timeline={}", segment.timeline))
        .argument(format!("--start={}", segment.begins(fork.size)))
        .argument(format!("--end={}", fork.at))
        .argument("--stats")
        .run_as(site.owner);
    match tool.run(within).await {
        Ok(_) => Ok(true),
        Err(ToolError::Fail { .. }) => Ok(false),
        Err(source) => Err(ForkError::Look { segment, source }),
    }
}

/// What comes after the fork is zero, as in a segment that nothing was written to yet.
fn write(site: &Site, fork: Fork) -> Result<(), ForkError> {
    let fill = |mut file: &File| -> io::Result<()> {
        let older = File::open(wal::path(&site.data, fork.older))?;
        io::copy(&mut older.take(fork.shared()), &mut file)?;
        let rest = fork.size.0.saturating_sub(fork.shared());
        io::copy(&mut io::repeat(0).take(rest), &mut file)?;
        file.flush()
    };
    durable::write_with(&wal::path(&site.data, fork.newer), site.private(), fill)
        .map_err(|source| ForkError::Write { segment: fork.newer, source })
}
