//! The file PostgreSQL writes its messages to, kept within a bound.
//!
//! Never a pipe: an agent that stands still would stop PostgreSQL with it.

use crate::postgres::config::Profile;
use crate::postgres::said;
use crate::postgres::site::Site;
use crate::process::owner::Owner;
use rustix::fs::{FallocateFlags, Gid, Mode, OFlags, Uid};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What of the log an error quotes.
const TAIL_BYTES: u64 = 2 << 10;
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("opening {path:?}")]
    Open { path: PathBuf, source: io::Error },
    #[error("moving the older part of {path:?} away")]
    Rotate { path: PathBuf, source: io::Error },
}

/// Every write goes to the end, wherever that is: so the file can be cut while it is written to.
pub(super) fn open(site: &Site) -> Result<File, LogError> {
    let path = site.log();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let attempt = || -> io::Result<File> {
        let file = File::from(rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?);
        if let Some(Owner { user, group }) = site.owner {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            rustix::fs::fchown(&file, Some(user), Some(group))?;
        }
        Ok(file)
    };
    attempt().map_err(|source| LogError::Open { path: path.clone(), source })
}

/// Frees the room of what came before the last `limit` bytes, or keeps a log that is read by
/// people as `postgres.log.1` and begins anew once it is longer.
pub fn bound_log(site: &Site, limit: u64) -> Result<(), LogError> {
    match site.profile {
        Profile::Laptop => set_aside(site, limit),
        Profile::Server => free(site, limit),
    }
}

/// The log keeps its length, so that nothing is lost which is being written, and its reader keeps
/// its place.
fn free(site: &Site, limit: u64) -> Result<(), LogError> {
    let path = site.log();
    let attempt = || -> io::Result<()> {
        let file = match File::options().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let spare = file.metadata()?.len().saturating_sub(limit);
        if spare == 0 {
            return Ok(());
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&file, hole, 0, spare) {
            // A file system without holes: what its reader has not read by now is lost.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(0),
            done => Ok(done?),
        }
    };
    attempt().map_err(|source| LogError::Rotate { path: path.clone(), source })
}

/// Lines that are written in this very moment may be lost.
fn set_aside(site: &Site, limit: u64) -> Result<(), LogError> {
    let path = site.log();
    let attempt = || -> io::Result<()> {
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if file.metadata()?.len() <= limit {
            return Ok(());
        }
        let older = File::create(path.with_extension("log.1"))?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        loop {
            let length = file.read_at(&mut piece, at)?;
            let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
            older.write_all_at(read, at)?;
            at += length as u64;
        }
        file.set_len(0)
    };
    attempt().map_err(|source| LogError::Rotate { path: path.clone(), source })
}

/// The end of the log, for errors; empty when there is none.
pub fn log_tail(site: &Site) -> String {
    let attempt = || -> io::Result<Vec<u8>> {
        let mut file = File::open(site.log())?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail = attempt().unwrap_or_default();
    let tail = String::from_utf8_lossy(&tail);
    let lines: Vec<_> = tail.trim().lines().map(said::readable).collect();
    lines.join("\n")
}
