//! Works out how a recovery would go, before anything is touched.
//!
//! Never decides by itself: `pgherd_core::backup::choice` chooses, and names the gap in the way.

use super::target;
use crate::chain::chain;
use pgherd_api::agent::RecoverySpec;
use pgherd_backup::backup_info::BackupInfo;
use pgherd_backup::catalogue::{CatalogueError, Repository};
use pgherd_core::backup::choice::{self, Along, Choice, Obstacle, Refusal, Wanted, choose};
use pgherd_core::backup::window::{Gap, Stray};
use pgherd_core::backup::{Backup, BackupId, BackupIdError, Extent};
use pgherd_core::backup::{increment, newest};
use pgherd_core::units::{Bytes, Timeline};
use pgherd_core::wal::{Segment, WalFile};
use std::time::Duration;

/// What replaying one file of the log takes, as it was measured on a busy log (docs/proofs.md).
const REPLAY: Duration = Duration::from_millis(100);

/// How a recovery will go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub choice: Choice,
    pub backup: BackupInfo,
    pub extent: Extent,
    /// Of the files, as far as that is known.
    pub bytes: Option<Bytes>,
    /// What is fetched at most: all that is stored of it and of what it builds on.
    pub stored: Bytes,
    /// What it builds on, the full one last.
    pub builds_on: Vec<BackupId>,
    /// The first and the last segment of the log that may be needed, and how many there are.
    pub log: (Segment, Segment),
    pub segments: u64,
    /// How long it took to take all that is restored. Copying it back takes about as long.
    pub took: Duration,
}

/// Why there is no way to the target.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("looking into the source's archive")]
    Look(#[source] CatalogueError),
    #[error("reading which backup to begin with")]
    Name(#[source] BackupIdError),
    #[error(transparent)]
    Choose(Refusal),
    #[error(
        "log is missing on the way: {} to {}, after {}; choose an earlier target, or a position up \
         to {}", gap.first, gap.last, gap.since, gap.at
    )]
    Gap { gap: Gap },
    #[error(
        "the archive has log of timeline {} from {} on, and its history file, {}, is missing \
         or damaged, so nobody knows where that timeline began: bring the file back (it is in pg_wal of \
         every instance that was on it), or name the timeline to go along, {along}, which ends before",
        stray.timeline, stray.first, WalFile::History(stray.timeline)
    )]
    Stray { stray: Stray, along: Timeline },
    #[error(
        "backup {backup} is of PostgreSQL {found} and the programs here are PostgreSQL {installed}, \
         but a recovery needs the same major version: use PostgreSQL {found}"
    )]
    MatchVersion { backup: BackupId, found: u32, installed: u32 },
    #[error(
        "backup {backup} has {count} tablespaces of its own, which cannot be restored yet: choose a \
         backup without, or move what is in them into pg_default and take another one"
    )]
    Tablespaces { backup: BackupId, count: usize },
    #[error("backup {backup} is a snapshot of volumes, which only its provider can restore")]
    Snapshot { backup: BackupId },
}

/// Whether log may be needed that the source has not archived yet. What cannot be found out here is
/// told by the plan.
pub async fn needs_newest(repository: &Repository, spec: &RecoverySpec) -> bool {
    let Ok(backup) = spec.backup.as_deref().map(BackupId::parse).transpose() else { return false };
    let Ok(catalogue) = repository.list().await else { return false };
    let Ok((archive, window)) = repository.window(&catalogue).await else { return false };
    let wanted = wanted(spec, backup);
    let chosen = choose(&wanted, &catalogue.backups(), &archive, &window);
    newest::is_needed(&wanted.target, chosen.as_ref(), &window)
}

/// The way to the target, for programs of this major version, if it is known.
pub async fn plan(
    repository: &Repository,
    spec: &RecoverySpec,
    installed: Option<u32>,
) -> Result<Plan, PlanError> {
    let catalogue = repository.list().await.map_err(PlanError::Look)?;
    let (archive, window) = repository.window(&catalogue).await.map_err(PlanError::Look)?;
    let backup = spec.backup.as_deref().map(BackupId::parse).transpose();
    let wanted = wanted(spec, backup.map_err(PlanError::Name)?);
    let chosen = choose(&wanted, &catalogue.backups(), &archive, &window);
    let choice = chosen.map_err(PlanError::Choose)?;
    match choice::obstacle(&wanted, &choice, &window) {
        None => {}
        Some(Obstacle::Gap(gap)) => return Err(PlanError::Gap { gap }),
        Some(Obstacle::Stray(stray)) => {
            return Err(PlanError::Stray { stray, along: choice.timeline });
        }
    }
    let unknown = || PlanError::Choose(Refusal::UnknownBackup(choice.backup.clone()));
    let entry = catalogue.entries.iter().find(|entry| entry.id == choice.backup);
    let entry = entry.ok_or_else(unknown)?;
    let extent = entry.backup.as_ref().ok().and_then(Backup::done).ok_or_else(unknown)?;
    suits(&choice.backup, &entry.info, installed)?;
    let stored = repository.stored().await.map_err(PlanError::Look)?;
    let backups = catalogue.backups();
    let chain = increment::chain(&choice.backup, &backups).unwrap_or_default();
    let took = chain.iter().filter_map(|one| one.done()).map(duration).sum();
    let chain: Vec<BackupId> = chain.into_iter().map(|one| one.id.clone()).collect();
    let of = |id: &BackupId| stored.get(id).map_or(0, |stored| stored.0);
    let (first, last) = log(&wanted.target, &choice, extent);
    let size = extent.segment_size;
    let length = last.end(size).0.saturating_sub(first.start(size).0);
    Ok(Plan {
        backup: entry.info.clone(),
        extent,
        bytes: entry.info.size,
        stored: Bytes(chain.iter().map(of).sum()),
        builds_on: chain.into_iter().skip(1).collect(),
        log: (first, last),
        segments: length / size.bytes().0.max(1),
        took,
        choice,
    })
}

/// None by a clock that was set back meanwhile.
fn duration(extent: Extent) -> Duration {
    let micros = extent.ended.0.saturating_sub(extent.began.0);
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

fn wanted(spec: &RecoverySpec, backup: Option<BackupId>) -> Wanted {
    let along = spec.timeline.map_or(Along::Latest, Along::Only);
    Wanted { target: target::sought(spec), along, backup }
}

fn suits(id: &BackupId, info: &BackupInfo, installed: Option<u32>) -> Result<(), PlanError> {
    let backup = || id.clone();
    if info.snapshots.is_some() {
        return Err(PlanError::Snapshot { backup: backup() });
    }
    match (info.version.map(|version| version / 10_000), installed) {
        (Some(found), Some(installed)) if found != installed => {
            return Err(PlanError::MatchVersion { backup: backup(), found, installed });
        }
        // Where it is not said, PostgreSQL itself refuses.
        (Some(_) | None, _) => {}
    }
    match info.tablespaces.len() {
        0 => Ok(()),
        count => Err(PlanError::Tablespaces { backup: backup(), count }),
    }
}

/// What may be read of the log at most.
fn log(target: &choice::Target, choice: &Choice, extent: Extent) -> (Segment, Segment) {
    let first = extent.first_segment();
    let to = match target {
        choice::Target::Immediate => extent.end,
        choice::Target::Lsn(lsn) => *lsn,
        choice::Target::Latest | choice::Target::Time(_) | choice::Target::Sought(_) => choice.to,
    };
    let last = to.0.saturating_sub(1).max(extent.begin.0);
    let last = pgherd_core::units::Lsn(last);
    (first, Segment::holding(choice.timeline, last, extent.segment_size))
}

impl Plan {
    /// On which timeline PostgreSQL has to go, in its own terms: it knows of its backup's without
    /// being told how that came about.
    pub(super) fn along(&self) -> Along {
        if self.choice.timeline == self.extent.timeline {
            Along::Current
        } else {
            Along::Only(self.choice.timeline)
        }
    }

    /// How long it will take, as far as that can be known before.
    pub fn estimate(&self) -> Duration {
        let files = u32::try_from(self.segments).unwrap_or(u32::MAX);
        self.took.saturating_add(REPLAY.saturating_mul(files))
    }

    /// Why it is this backup, for people.
    pub fn because(&self) -> String {
        self.choice.to_string()
    }
}

impl PlanError {
    /// The whole of it in one sentence.
    pub fn sentence(&self) -> String {
        chain(self).to_string()
    }
}
