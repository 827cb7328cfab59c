//! Shows how a restore would go, or why it cannot.
//!
//! Never touches anything.

use super::super::repository::Opened;
use super::Spec;
use pgherd_agent::postgres::clone::free_space;
use pgherd_agent::recovery::{self, PlanError};
use pgherd_backup::compression::Compression;
use pgherd_backup::wal::{Archive, Settings};
use pgherd_core::names::ClusterName;
use pgherd_core::units::Bytes;
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;
use std::path::Path;

/// What is planned, for whom, and where.
pub(super) struct Sight<'a> {
    pub(super) new: &'a ClusterName,
    pub(super) spec: &'a Spec,
    /// Of the programs.
    pub(super) major: u32,
    pub(super) instances: u32,
    /// A folder on the disk that it will be on.
    pub(super) folder: &'a Path,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    cluster: String,
    repository: String,
    target: String,
    backup: String,
    because: String,
    timeline: u32,
    size_bytes: Option<u64>,
    stored_bytes: u64,
    first_wal: String,
    last_wal: String,
    /// At most; a target is usually reached before.
    wal_files: u64,
    wal_bytes: u64,
    free_bytes: Option<u64>,
}

pub(super) async fn shown(opened: &Opened, sight: &Sight<'_>) -> Result<Shown, Failure> {
    let planned = recovery::plan::plan(&opened.repository, sight.spec, sight.major).await;
    let plan = planned.map_err(|error| refused(sight.new, &error))?;
    let segment = plan.extent.segment_size.bytes().0;
    let free = free_space(sight.folder);
    if let (Some(free), Some(bytes)) = (free, plan.bytes) {
        let needed =
            Bytes((bytes.0.saturating_add(segment)).saturating_mul(sight.instances.into()));
        if needed > free {
            let what = format!("there is not enough space for cluster {}", sight.new);
            return Err(Failure::new(Kind::Refused, what)
                .because(format!(
                    "{} instances take {needed}, and {} has {free} free",
                    sight.instances,
                    sight.folder.display()
                ))
                .fix("make room, or restore fewer instances with --instances"));
        }
    }
    let (first, last) = plan.log;
    Ok(Shown {
        cluster: sight.new.to_string(),
        repository: opened.place(),
        target: recovery::words(sight.spec),
        backup: plan.choice.backup.to_string(),
        because: plan.because(),
        timeline: plan.choice.timeline.0,
        size_bytes: plan.bytes.map(|bytes| bytes.0),
        stored_bytes: plan.stored.0,
        first_wal: first.to_string(),
        last_wal: last.to_string(),
        wal_files: plan.segments,
        wal_bytes: plan.segments.saturating_mul(segment),
        free_bytes: free.map(|free| free.0),
    })
}

fn refused(new: &ClusterName, error: &PlanError) -> Failure {
    let what = format!("cluster {new} cannot be restored, and nothing was made");
    let kind = match error {
        PlanError::Look(_) => Kind::Failed,
        PlanError::Name(_)
        | PlanError::Choose(_)
        | PlanError::Gap { .. }
        | PlanError::MatchVersion { .. }
        | PlanError::Tablespaces { .. }
        | PlanError::Snapshot { .. } => Kind::Refused,
    };
    Failure::new(kind, what)
        .because(error.sentence())
        .fix("pgherd local window and pgherd local backup list show what there is")
}

/// The new cluster's own log must not mix with another's.
pub(super) async fn refuse_occupied(own: &Opened) -> Result<(), Failure> {
    let settings =
        Settings { compression: Compression::None, system: None, memory: Bytes(1), processors: 1 };
    let archive = Archive::new(own.store.clone(), own.layout.clone(), settings);
    let occupied = archive.occupied(None).await;
    match occupied.map_err(|error| Failure::from_error(Kind::Failed, &error))? {
        None => Ok(()),
        Some(occupied) => {
            let what =
                format!("the place for the new cluster's own log, {}, is not free", own.place());
            Err(Failure::new(Kind::Refused, what).because(occupied.to_string()))
        }
    }
}

impl Shown {
    pub(super) fn lines(&self) -> Vec<String> {
        let size =
            self.size_bytes.map_or_else(|| "size unknown".to_owned(), |it| Bytes(it).to_string());
        vec![
            format!("Plan   {}", self.because),
            format!(
                "       {size} of files, {} to fetch, from {}",
                Bytes(self.stored_bytes),
                self.repository
            ),
            format!(
                "       log {} to {}: {} files, {}, at most",
                self.first_wal,
                self.last_wal,
                self.wal_files,
                Bytes(self.wal_bytes)
            ),
            format!(
                "       stops at {}; new cluster {}, source untouched",
                self.target, self.cluster
            ),
        ]
    }
}
