//! Reads `global/pg_control`: the state, the checkpoint and the identity of a data folder.
//!
//! Never starts a process while the file can be read by itself, because this is polled; and never
//! returns a file whose checksum does not match.

use crate::durable::crc32c;
use crate::postgres::install::Installation;
use crate::process::tool::{Tool, ToolError};
use pgherd_core::units::{Bytes, Lsn, SystemId, Timeline};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a file that PostgreSQL is writing at this moment is read again.
const TORN_READS: usize = 20;
const TORN_READ_PAUSE: Duration = Duration::from_micros(500);
const TOOL_DEADLINE: Duration = Duration::from_secs(10);

/// Where it is in a data folder.
pub const FILE: &str = "global/pg_control";

/// What `pg_control` says of a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    pub system_id: SystemId,
    pub state: State,
    pub checkpoint: Checkpoint,
    /// How far a standby must replay before its pages are consistent; zero on a primary that
    /// finished recovery.
    pub minimum_recovery: Lsn,
    pub minimum_recovery_timeline: Timeline,
    pub page_checksums: Setting,
    pub wal_log_hints: Setting,
    pub segment_size: Bytes,
    pub floors: Floors,
}

/// What the primary's log was written with: a standby that had less of one could not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floors {
    pub max_connections: u32,
    pub max_locks_per_transaction: u32,
    pub max_prepared_transactions: u32,
    pub max_wal_senders: u32,
    pub max_worker_processes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub location: Lsn,
    pub redo: Lsn,
    pub timeline: Timeline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    On,
    Off,
}

/// The state PostgreSQL last wrote. Only the two shut-down states promise anything about now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    StartingUp,
    ShutDown,
    ShutDownInRecovery,
    ShuttingDown,
    InCrashRecovery,
    InArchiveRecovery,
    InProduction,
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("reading {path:?}")]
    ReadControlFile { path: PathBuf, source: io::Error },
    #[error(
        "{path:?} is damaged, its checksum does not match: restore the folder or let the instance be cloned again"
    )]
    VerifyControlFile { path: PathBuf },
    #[error("asking pg_controldata about {path:?}")]
    RunControlData { path: PathBuf, source: ToolError },
    #[error("understanding the line {label:?} of pg_controldata for {path:?}")]
    ParseControlData { path: PathBuf, label: &'static str },
}

/// Reads the control file of `data`. A version this program does not know is handed to
/// `pg_controldata` of `installation`.
pub async fn read(installation: &Installation, data: &Path) -> Result<Control, ControlError> {
    match read_file(data) {
        Err(ControlError::VerifyControlFile { .. }) => ask_tool(installation, data).await,
        other => other,
    }
}

/// The same without any process; a damaged file or one of an unknown version is an error.
pub fn read_file(data: &Path) -> Result<Control, ControlError> {
    let path = data.join(FILE);
    for _ in 0..TORN_READS {
        let content = std::fs::read(&path)
            .map_err(|source| ControlError::ReadControlFile { path: path.clone(), source })?;
        if let Some(control) = parse(&content) {
            return Ok(control);
        }
        // A read that meets a write may see half of it.
        std::thread::sleep(TORN_READ_PAUSE);
    }
    Err(ControlError::VerifyControlFile { path })
}

/// The offsets hold for PostgreSQL 14 to 18 on 64-bit machines; only the place of the checksum
/// moved, and a matching checksum proves the rest.
fn parse(content: &[u8]) -> Option<Control> {
    let file = Fields(content);
    let checksum_at = match file.u32(8)? {
        1300 | 1700 => 288,
        1800 => 292,
        _ => return None,
    };
    if crc32c(content.get(..checksum_at)?) != file.u32(checksum_at)? {
        return None;
    }
    Some(Control {
        system_id: SystemId(file.u64(0)?),
        state: State::from_number(file.u32(16)?)?,
        checkpoint: Checkpoint {
            location: Lsn(file.u64(32)?),
            redo: Lsn(file.u64(40)?),
            timeline: Timeline(file.u32(48)?),
        },
        minimum_recovery: Lsn(file.u64(136)?),
        minimum_recovery_timeline: Timeline(file.u32(144)?),
        wal_log_hints: setting(*content.get(176)? != 0),
        segment_size: Bytes(u64::from(file.u32(228)?)),
        page_checksums: setting(file.u32(252)? != 0),
        floors: Floors {
            max_connections: file.u32(180)?,
            max_worker_processes: file.u32(184)?,
            max_wal_senders: file.u32(188)?,
            max_prepared_transactions: file.u32(192)?,
            max_locks_per_transaction: file.u32(196)?,
        },
    })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(self.0.get(at..at + 8)?.try_into().ok()?))
    }
}

#[expect(clippy::fn_params_excessive_bools, reason = "turns a flag of the file into a word")]
fn setting(on: bool) -> Setting {
    if on { Setting::On } else { Setting::Off }
}

impl State {
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::StartingUp,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            _ => return None,
        })
    }

    fn from_words(words: &str) -> Option<Self> {
        Some(match words {
            "starting up" => Self::StartingUp,
            "shut down" => Self::ShutDown,
            "shut down in recovery" => Self::ShutDownInRecovery,
            "shutting down" => Self::ShuttingDown,
            "in crash recovery" => Self::InCrashRecovery,
            "in archive recovery" => Self::InArchiveRecovery,
            "in production" => Self::InProduction,
            _ => return None,
        })
    }

    /// Whether the server stopped by itself with everything on disk.
    pub fn is_clean(self) -> bool {
        match self {
            Self::ShutDown | Self::ShutDownInRecovery => true,
            Self::StartingUp
            | Self::ShuttingDown
            | Self::InCrashRecovery
            | Self::InArchiveRecovery
            | Self::InProduction => false,
        }
    }
}

async fn ask_tool(installation: &Installation, data: &Path) -> Result<Control, ControlError> {
    let said = Tool::new(installation.tool("pg_controldata"))
        .argument("-D")
        .argument(data)
        .run(TOOL_DEADLINE)
        .await
        .map_err(|source| ControlError::RunControlData { path: data.to_owned(), source })?;
    parse_report(&said.stdout)
        .map_err(|label| ControlError::ParseControlData { path: data.to_owned(), label })
}

/// Reads what `pg_controldata` prints; an error names the line that was not understood.
pub fn parse_report(text: &str) -> Result<Control, &'static str> {
    let lines: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(label, value)| (label, value.trim()))
        .collect();
    let find = |label: &'static str| lines.get(label).copied().ok_or(label);
    let lsn = |label| Lsn::parse(find(label)?).map_err(|_| label);
    let number = |label| find(label)?.parse::<u64>().map_err(|_| label);
    let small = |label| find(label)?.parse::<u32>().map_err(|_| label);
    let timeline = |label| small(label).map(Timeline);
    let state = "Database cluster state";
    Ok(Control {
        system_id: SystemId(number("Database system identifier")?),
        state: State::from_words(find(state)?).ok_or(state)?,
        checkpoint: Checkpoint {
            location: lsn("Latest checkpoint location")?,
            redo: lsn("Latest checkpoint's REDO location")?,
            timeline: timeline("Latest checkpoint's TimeLineID")?,
        },
        minimum_recovery: lsn("Minimum recovery ending location")?,
        minimum_recovery_timeline: timeline("Min recovery ending loc's timeline")?,
        page_checksums: setting(number("Data page checksum version")? != 0),
        wal_log_hints: setting(find("wal_log_hints setting")? == "on"),
        segment_size: Bytes(number("Bytes per WAL segment")?),
        floors: Floors {
            max_connections: small("max_connections setting")?,
            max_worker_processes: small("max_worker_processes setting")?,
            max_wal_senders: small("max_wal_senders setting")?,
            max_prepared_transactions: small("max_prepared_xacts setting")?,
            max_locks_per_transaction: small("max_locks_per_xact setting")?,
        },
    })
}
