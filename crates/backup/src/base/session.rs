//! What a backup needs to hear from PostgreSQL.
//!
//! Never connects: the agent has the connection, and ends it when a backup fails, which ends the
//! backup in PostgreSQL, too.

use pgherd_core::units::{Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::path::PathBuf;

/// Why PostgreSQL or the connection refused.
pub type Refused = Box<dyn std::error::Error + Send + Sync>;

/// One connection, which has to stay open from start to stop.
pub trait Session: Send {
    /// `pg_backup_start` with this label, and what else there is to know.
    fn start(&mut self, label: &str) -> impl Future<Output = Result<Started, Refused>> + Send;

    /// `pg_backup_stop`, without waiting for the archive.
    fn stop(&mut self) -> impl Future<Output = Result<Stopped, Refused>> + Send;
}

/// A backup has begun in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub begin: Lsn,
    pub at: Moment,
    pub timeline: Timeline,
    pub system: SystemId,
    pub segment_size: SegmentSize,
    /// As `server_version_num` says it.
    pub version: u32,
    pub pages: Pages,
    pub pgdata: PathBuf,
    pub config_file: PathBuf,
    pub hba_file: PathBuf,
    pub ident_file: PathBuf,
    pub tablespaces: Vec<crate::backup_info::Tablespace>,
}

/// Whether pages can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// `data_checksums` is off, or pages have another size than 8 KiB.
    Unverifiable,
    /// Relations have this many pages in a file: `segment_size`, 131072 unless built otherwise.
    Checksums { of_a_file: u32 },
}

/// A backup has ended in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    pub end: Lsn,
    pub at: Moment,
    /// The content of `backup_label`.
    pub label: String,
}
