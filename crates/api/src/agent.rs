//! What an agent is told, and what it tells: the bodies of its HTTP interface.
//!
//! Never an order: a specification says what is wanted, a status what is.
//!
//! Every body is JSON with camel-case keys. Unknown keys are ignored, so that an older agent can
//! read a newer supervisor; a key that was added later has a default.

use pgherd_core::record::Record;
use serde::{Deserialize, Serialize};

mod archive;
mod asked_by;
mod backup;
mod dump;
mod import;
mod metrics;
mod recovery;
mod restore_point;
mod specification;
mod status;
mod wanted;

pub use archive::{
    ArchiveFailure, ArchiveFile, ArchiveIdentity, ArchiveSpec, ArchiveStatus, Archived, DataSpec,
    StreamSpec, StreamStatus,
};
pub use asked_by::AskedBy;
pub use backup::{
    BackupBegun, BackupNamed, BackupOrder, BackupPhase, BackupReport, BackupTaken, Incremental,
    ReadRate,
};
pub use dump::{
    DumpFormat, DumpNamed, DumpOrder, DumpOwners, DumpPasswords, DumpPhase, DumpReport,
    DumpRestoreOrder, DumpRoles, DumpTaken, DumpTarget, DumpWork,
};
pub use import::{ImportChoice, ImportSpec, ImportWhat};
pub use metrics::{MetricsSpec, MetricsWay};
pub use recovery::{RecoveryPhase, RecoveryReport, RecoverySpec, RecoveryTarget};
pub use restore_point::{RestorePoint, RestorePointOrder};
pub use specification::{
    ExternalFile, ExternalServer, InitDb, InitialDatabase, PostgresSpec, Specification,
    SpecificationAfter, StatementFile, Superuser,
};
pub use status::{
    Failure, FullVolume, Happening, Role, RunningTask, ServerStatus, Status, StoppedAt,
    VerdictSeen, VolumeHolds,
};

/// The names of the requests: each goes to `/v1/NAME`.
pub mod names {
    /// To an agent: one request of the protocol between instances, answered by one reply.
    pub const MESSAGE: &str = "message";
    /// To an agent: answered by a [`Status`](super::Status).
    pub const STATUS: &str = "status";
    /// To an agent, with `GET` and followed by the name of a file of `pg_wal`: answered by its
    /// bytes.
    pub const WAL: &str = "wal";
    /// To an agent in a pod, from its operator, with `PUT` and followed by a SHA-256 in hexadecimal:
    /// the program that it shall become. It keeps its PostgreSQL.
    pub const PROGRAM: &str = "program";
    /// To an agent: a [`BackupOrder`](super::BackupOrder), answered by a
    /// [`BackupReport`](super::BackupReport). Refused while another one is taken here.
    pub const BACKUP_BEGIN: &str = "backup/begin";
    /// To an agent: a [`BackupNamed`](super::BackupNamed), answered by a
    /// [`BackupReport`](super::BackupReport), or `null` if this agent took no such backup.
    pub const BACKUP_READ: &str = "backup/read";
    /// To an agent: a [`BackupNamed`](super::BackupNamed), answered like the last one; the report
    /// says `cancelled` once all that was stored is removed.
    pub const BACKUP_CANCEL: &str = "backup/cancel";
    /// To the primary's agent, from another one, its platform or a command beside it: `null`, answered by `null` once the segment of the
    /// log that is written to is finished, so that a backup's end is archived soon.
    pub const BACKUP_LOG: &str = "backup/log";
    /// To an agent: a [`DumpOrder`](super::DumpOrder), answered by a
    /// [`DumpReport`](super::DumpReport). Refused while it dumps or restores already.
    pub const DUMP_BEGIN: &str = "dump/begin";
    /// To the primary's agent: a [`DumpRestoreOrder`](super::DumpRestoreOrder), answered like the
    /// last one.
    pub const DUMP_RESTORE: &str = "dump/restore";
    /// To an agent: a [`DumpNamed`](super::DumpNamed), answered by a
    /// [`DumpReport`](super::DumpReport), or `null` if this agent has done no such thing.
    pub const DUMP_READ: &str = "dump/read";
    /// To an agent: a [`DumpNamed`](super::DumpNamed), answered like the last one; the report says
    /// `cancelled` once all that was stored is removed.
    pub const DUMP_CANCEL: &str = "dump/cancel";
    /// To the primary's agent, from its platform or a command beside it: a
    /// [`RestorePointOrder`](super::RestorePointOrder), answered by a
    /// [`RestorePoint`](super::RestorePoint) once it is in the log.
    pub const RESTORE_POINT: &str = "restore-point";
    /// To the keeper of the record: `null`, answered by a [`RecordAnswer`](super::RecordAnswer).
    pub const RECORD_READ: &str = "record/read";
    /// To the keeper of the record: a `pgherd_core::record::Write`, answered by a
    /// [`WriteAnswer`](super::WriteAnswer).
    pub const RECORD_WRITE: &str = "record/write";
    /// To the keeper of the record: a [`SpecificationAfter`](super::SpecificationAfter), answered
    /// by a [`Specification`](super::Specification), or `null` if there is no newer one in time.
    pub const SPECIFICATION_READ: &str = "specification/read";
}

/// The record as its keeper has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordAnswer {
    /// None when no record exists.
    pub record: Option<Record>,
}

/// What became of a conditional write of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "lives as long as one answer")]
pub enum WriteAnswer {
    /// The record is now the one that was sent, also after a loss of power.
    Applied,
    /// Not applied, and it never will be unless it is sent again.
    Conflict {
        /// What the record is instead; none when there is none.
        current: Option<Record>,
    },
}
