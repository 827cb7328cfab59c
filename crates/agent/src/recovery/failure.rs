//! Why no cluster came out of a backup.
//!
//! Never without what to do about it, where that is known.

use super::plan::PlanError;
use crate::archive::OpenError;
use crate::durable::DurableError;
use crate::postgres::config::ConfigError;
use crate::postgres::control::ControlError;
use crate::postgres::folder::FolderError;
use crate::postgres::roles::RolesError;
use crate::postgres::server::ServerError;
use crate::postgres::session::SessionError;
use pgherd_backup::encryption::FormError;
use pgherd_backup::restore::RestoreError;
use pgherd_backup::store::StoreError;
use pgherd_backup::wal::Occupied;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("preparing the folder")]
    PrepareFolder { source: FolderError },
    #[error("ending what an interrupted attempt left running")]
    EndEarlier { source: ServerError },
    #[error("opening the source's archive")]
    OpenSource { source: OpenError },
    #[error("opening the cluster's own archive")]
    OpenOwn { source: OpenError },
    #[error("using the place for the cluster's own log")]
    OwnForm { source: FormError },
    #[error("looking whether the cluster's own archive is free")]
    LookAtOwn { source: StoreError },
    #[error("the place for the cluster's own log is not free")]
    OwnOccupied { source: Occupied },
    #[error(transparent)]
    Plan(PlanError),
    #[error("restoring backup {backup}")]
    Restore { backup: String, source: Box<RestoreError> },
    #[error("giving {path:?} to PostgreSQL's user")]
    GiveAway { path: PathBuf, source: io::Error },
    #[error("making {path:?}, where log is put for a moment")]
    Spool { path: PathBuf, source: io::Error },
    #[error("listening for PostgreSQL's command at {path:?}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("writing the configuration")]
    Configure { source: ConfigError },
    #[error("setting how it comes up")]
    SetMode { source: DurableError },
    #[error(
        "the log ends before the target, {target}: {last}; choose an earlier target, or the end of \
         the log itself (--latest, or no target), or wait until more log is archived"
    )]
    NotReached { target: String, last: String },
    #[error(
        "the log holds no {target} that can be reached from the backup: {last}; correct it, begin \
         with an earlier backup, or wait until more log is archived"
    )]
    NotFound { target: String, last: String },
    #[error(
        "{target} lies before the end of backup {backup}: begin with an earlier backup (--backup), or \
         choose a later target"
    )]
    BeforeEnd { target: String, backup: String },
    #[error("replaying the log")]
    Replay { source: ServerError },
    #[error("the log was not replayed within {within:?}")]
    Late { within: Duration },
    #[error("connecting to the recovered server, whose superuser has to be called postgres")]
    Connect { source: SessionError },
    #[error("asking how far it was recovered")]
    Ask { source: SessionError },
    #[error(
        "the recovered server is at {reached}, short of the target {target}: this is an error in \
         the program"
    )]
    Short { target: String, reached: String },
    #[error("making roles and the application's database")]
    MakeRoles { source: RolesError },
    #[error("stopping the recovered server")]
    Stop { source: ServerError },
    #[error("reading the control file")]
    ReadControl { source: ControlError },
    #[error("giving the folder its name")]
    Publish { source: FolderError },
}
