//! Makes the diverged folder of an old primary a copy of the new one's past, with pg_rewind.
//!
//! Never leaves a half-rewound folder without a marker, and never writes to the log that diverged.

use crate::durable::{self, DurableError};
use crate::postgres::config::{
    self, Archive, ConfigError, Opens, Receive, Settings, Upstream, connection_to,
};
use crate::postgres::control::{self, ControlError};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::lost_and_found::{self, KeepError, Kept};
use crate::postgres::running::{Deadline, Running, RunningError, until};
use crate::postgres::server::{self, Mode, Postmaster, ServerError, Stop};
use crate::postgres::session::SUPERUSER;
use crate::postgres::site::Site;
use crate::process::tool::{Tool, ToolError};
use pgherd_core::seen::Gate;
use pgherd_core::units::WalPosition;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    #[error("there is nobody to rewind to in the settings")]
    FindSource,
    #[error("reading the control file")]
    ReadControl { source: ControlError },
    #[error("writing the configuration")]
    Configure { source: ConfigError },
    #[error("starting the server to replay its own log")]
    StartReplay { source: ServerError },
    #[error("replaying the server's own log to its end")]
    Replay { source: RunningError },
    #[error("stopping the server after it replayed its own log")]
    StopReplay { source: ServerError },
    #[error("keeping the part of the log that is cut off")]
    KeepTail { source: KeepError },
    #[error("reading how far an earlier rewind had come")]
    ReadMarker { source: DurableError },
    #[error("marking the folder as half-rewound")]
    SetMarker { source: DurableError },
    #[error("running pg_rewind; the folder must now be cloned or rewound again")]
    Rewind { source: ToolError },
    #[error("removing replication slots of the source from the folder")]
    RemoveSlots { source: FolderError },
    #[error("making the rewound folder start as a standby")]
    SetMode { source: DurableError },
    #[error("starting the rewound server")]
    StartCopy { source: ServerError },
    #[error("fetching what the source wrote while it was copied")]
    CompleteCopy { source: ServerError },
    #[error("removing the mark of a half-rewound folder")]
    ClearMarker { source: DurableError },
}

/// For fetching and replaying what the source wrote while it was copied. A source that dies
/// meanwhile must not hold the instance up for long.
const CONSISTENT_WITHIN: Duration = Duration::from_mins(2);

/// How to rewind.
#[derive(Debug, Clone, Copy)]
pub struct Rewind {
    /// Where the new primary's log left ours: what lies behind it is lost, and kept aside.
    pub fork: WalPosition,
    /// For replaying the own log, and for pg_rewind.
    pub replay_within: Duration,
    pub rewind_within: Duration,
}

/// Rewinds to the server that `settings` name as the one to receive from; nothing may run in the
/// folder. That server must have completed a checkpoint on its own timeline.
pub async fn rewind(site: &Site, settings: &Settings, order: Rewind) -> Result<Kept, RewindError> {
    let Receive::From(upstream) = &settings.receive else { return Err(RewindError::FindSource) };
    let begun = progress(site)?;
    let kept = match begun {
        // Half of its own log may be the source's by now: it can neither be replayed nor kept.
        Some(Progress::Begun | Progress::Copied) => Kept::Nothing,
        None => {
            replay_own_log(site, settings, order.replay_within).await?;
            lost_and_found::keep_tail(site, order.fork)
                .map_err(|source| RewindError::KeepTail { source })?
        }
    };
    config::write_key(site, settings).map_err(|source| RewindError::Configure { source })?;
    if begun != Some(Progress::Copied) {
        mark(site, Progress::Begun)?;
        copy(site, settings, upstream, order.rewind_within).await?;
        mark(site, Progress::Copied)?;
    }
    finish(site, settings, upstream).await?;
    Ok(kept)
}

/// How far a rewind had come that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// pg_rewind may have changed the folder. Run again, it refuses what it cannot make whole.
    Begun,
    /// All is copied and on disk; what the source wrote meanwhile is still missing.
    Copied,
}

const COPIED: &[u8] = b"copied\n";

fn progress(site: &Site) -> Result<Option<Progress>, RewindError> {
    let marker = durable::read(&site.rewind_marker())
        .map_err(|source| RewindError::ReadMarker { source })?;
    Ok(marker.map(|marker| if marker == COPIED { Progress::Copied } else { Progress::Begun }))
}

fn mark(site: &Site, progress: Progress) -> Result<(), RewindError> {
    let content = match progress {
        Progress::Begun => b"",
        Progress::Copied => COPIED,
    };
    durable::write(&site.rewind_marker(), content, site.private())
        .map_err(|source| RewindError::SetMarker { source })
}

/// pg_rewind syncs what it wrote before it ends.
async fn copy(
    site: &Site,
    settings: &Settings,
    upstream: &Upstream,
    within: Duration,
) -> Result<(), RewindError> {
    let source = format!("{} dbname='{SUPERUSER}'", connection_to(site, settings, upstream));
    let tool = Tool::new(site.installation.tool("pg_rewind"))
        .argument("--target-pgdata")
        .argument(&site.data)
        .argument("--source-server")
        .argument(source)
        .argument("--no-ensure-shutdown")
        .working_in(&site.data)
        .run_as(site.owner);
    tool.run(within).await.map(drop).map_err(|source| RewindError::Rewind { source })
}

/// What pg_rewind copied is the source's: its configuration, and slots that hold log for others.
async fn finish(site: &Site, settings: &Settings, upstream: &Upstream) -> Result<(), RewindError> {
    let slots = site.data.join("pg_replslot");
    folder::empty(&slots).map_err(|source| RewindError::RemoveSlots { source })?;
    config::apply(site, &site.data, (settings, Opens::AsStandby))
        .map_err(|source| RewindError::Configure { source })?;
    durable::write(&site.data.join("standby.signal"), b"", site.private())
        .map_err(|source| RewindError::SetMode { source })?;
    become_consistent(site, settings, upstream).await?;
    durable::remove(&site.rewind_marker()).map_err(|source| RewindError::ClearMarker { source })
}

/// While pg_rewind copied, the source went on: what it wrote until the end is still missing, and
/// without it the copy is not consistent. It is fetched now, because later the server is started
/// receiving from nobody, and would wait for it for ever.
async fn become_consistent(
    site: &Site,
    settings: &Settings,
    upstream: &Upstream,
) -> Result<(), RewindError> {
    // Nobody may count on what is received here: until the marker is gone, it may be thrown away.
    let receive = Receive::Uncounted(Upstream { slot: None, ..upstream.clone() });
    let settings = Settings { receive, ..alone(settings) };
    config::apply(site, &site.data, (&settings, Opens::AsStandby))
        .map_err(|source| RewindError::Configure { source })?;
    let started = server::start(site, Mode::Standby).await;
    let postmaster = started.map_err(|source| RewindError::StartCopy { source })?;
    let copied = match postmaster.ready(site, CONSISTENT_WITHIN).await {
        Ok(()) => postmaster.stop(site, Stop::Fast, CONSISTENT_WITHIN).await.map(drop),
        Err(error) => Err(error),
    };
    if copied.is_err() {
        let _first_error_counts = server::sweep(site, CONSISTENT_WITHIN).await;
    }
    copied.map_err(|source| RewindError::CompleteCopy { source })
}

/// pg_rewind needs a folder that was shut down. Left to itself it would recover one in single-user
/// mode, which writes a checkpoint onto the log that diverged and does not sync. A standby that
/// receives from nobody replays the same log, writes nothing to it, and archives nothing.
async fn replay_own_log(
    site: &Site,
    settings: &Settings,
    within: Duration,
) -> Result<(), RewindError> {
    let control = control::read(&site.installation, &site.data)
        .await
        .map_err(|source| RewindError::ReadControl { source })?;
    if control.state.is_clean() {
        return Ok(());
    }
    config::apply(site, &site.data, (&alone(settings), Opens::AsStandby))
        .map_err(|source| RewindError::Configure { source })?;
    let postmaster = server::start(site, Mode::Standby)
        .await
        .map_err(|source| RewindError::StartReplay { source })?;
    let replayed = replay_and_stop(site, &postmaster, Deadline::after(within)).await;
    if replayed.is_err() {
        let _first_error_counts = server::sweep(site, within).await;
    }
    replayed
}

/// The start is complete once everything in the folder is replayed: what a primary wrote must be,
/// before it is consistent, and a standby reads on until nothing is left.
const IS_IDLE: &str = "select coalesce(bool_or(wait_event in \
    ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')), false) \
    from pg_stat_activity where backend_type = 'startup'";

async fn replay_and_stop(
    site: &Site,
    postmaster: &Postmaster,
    deadline: Deadline,
) -> Result<(), RewindError> {
    postmaster
        .ready(site, deadline.left())
        .await
        .map_err(|source| RewindError::StartReplay { source })?;
    let replay = |source| RewindError::Replay { source };
    let running = Running { site, postmaster };
    let mut session = running.connect(deadline).await.map_err(replay)?;
    until(&mut session, deadline, "the end of its log", IS_IDLE).await.map_err(replay)?;
    drop(session);
    postmaster
        .stop(site, Stop::Fast, deadline.left())
        .await
        .map(drop)
        .map_err(|source| RewindError::StopReplay { source })
}

fn alone(settings: &Settings) -> Settings {
    Settings {
        listen: BTreeSet::new(),
        gate: Gate::Closed,
        receive: Receive::FromNobody,
        // Not even from the archive: that log may be the new primary's.
        archive: Archive { restore_command: None, ..settings.archive.clone() },
        ..settings.clone()
    }
}
