//! Shows how a restore would go, or why it cannot.
//!
//! Never touches anything.

use super::{Answer, Opened, counted};
use pgherd_agent::postgres::clone::free_space;
use pgherd_agent::recovery::{self, PlanError};
use pgherd_api::agent::{ArchiveSpec, RecoverySpec};
use pgherd_backup::compression::Compression;
use pgherd_backup::encryption::refuse_other_form;
use pgherd_backup::wal::{Archive, Settings};
use pgherd_core::names::ClusterName;
use pgherd_core::units::Bytes;
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};

/// What is planned, and for whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) new: ClusterName,
    pub(crate) instances: u32,
    pub(crate) spec: RecoverySpec,
    /// Where its own log is to go, if what opens the source's place opens that, too.
    pub(crate) own: Option<ArchiveSpec>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    cluster: String,
    /// How many it will have; zero in the answer of an older program.
    #[serde(default)]
    instances: u32,
    repository: String,
    target: String,
    backup: String,
    because: String,
    /// What the backup builds on, the full one last.
    #[serde(default)]
    builds_on: Vec<String>,
    timeline: u32,
    size_bytes: Option<u64>,
    stored_bytes: u64,
    first_wal: String,
    last_wal: String,
    /// At most; a target is usually reached before.
    wal_files: u64,
    wal_bytes: u64,
    /// Copying and replay; absent in the answer of an older program.
    #[serde(default)]
    estimated_seconds: Option<f64>,
    free_bytes: Option<u64>,
}

impl Plan {
    pub(super) async fn answer(&self, opened: &Opened) -> Result<Shown, Failure> {
        let major = opened.around.major;
        let planned = recovery::plan::plan(&opened.repository, &self.spec, major).await;
        let plan = planned.map_err(|error| refused(&self.new, &error))?;
        let segment = plan.extent.segment_size.bytes().0;
        let free = opened.around.disk.as_deref().and_then(free_space);
        self.refuse_lack(opened, (free, plan.bytes), segment)?;
        let (first, last) = plan.log;
        Ok(Shown {
            cluster: self.new.to_string(),
            instances: self.instances,
            repository: opened.place(),
            target: recovery::words(&self.spec),
            backup: plan.choice.backup.to_string(),
            because: plan.because(),
            builds_on: plan.builds_on.iter().map(ToString::to_string).collect(),
            timeline: plan.choice.timeline.0,
            size_bytes: plan.bytes.map(|bytes| bytes.0),
            stored_bytes: plan.stored.0,
            first_wal: first.to_string(),
            last_wal: last.to_string(),
            wal_files: plan.segments,
            wal_bytes: plan.segments.saturating_mul(segment),
            estimated_seconds: Some(plan.estimate().as_secs_f64()),
            free_bytes: free.map(|free| free.0),
        })
    }

    fn refuse_lack(
        &self,
        opened: &Opened,
        (free, bytes): (Option<Bytes>, Option<Bytes>),
        segment: u64,
    ) -> Result<(), Failure> {
        let (Some(free), Some(bytes)) = (free, bytes) else { return Ok(()) };
        let each = bytes.0.saturating_add(segment);
        let needed = Bytes(each.saturating_mul(self.instances.into()));
        if needed <= free {
            return Ok(());
        }
        let disk = opened.around.disk.as_deref().map(|disk| disk.display().to_string());
        let what = format!("there is not enough space for cluster {}", self.new);
        Err(Failure::new(Kind::Refused, what)
            .because(format!(
                "{} take {needed}, and {} has {free} free",
                counted(self.instances.into(), "instance"),
                disk.unwrap_or_default()
            ))
            .fix("make room, or restore fewer instances with --instances"))
    }
}

fn refused(new: &ClusterName, error: &PlanError) -> Failure {
    let what = format!("cluster {new} cannot be restored, and nothing was made");
    let kind = match error {
        PlanError::Look(_) => Kind::Failed,
        PlanError::Name(_)
        | PlanError::Choose(_)
        | PlanError::Gap { .. }
        | PlanError::Stray { .. }
        | PlanError::MatchVersion { .. }
        | PlanError::Tablespaces { .. }
        | PlanError::Snapshot { .. } => Kind::Refused,
    };
    Failure::new(kind, what)
        .because(error.sentence())
        .fix("pgherd local window and pgherd local backup list show what there is")
}

/// The new cluster's own log must not mix with another's.
pub(crate) async fn refuse_occupied(own: &Opened) -> Result<(), Failure> {
    let settings =
        Settings { compression: Compression::None, system: None, memory: Bytes(1), processors: 1 };
    let looked = refuse_other_form(&own.store, &own.layout).await;
    looked.map_err(|error| Failure::from_error(Kind::Refused, &error))?;
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

impl Answer for Shown {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("backup/{}", self.backup)]
    }

    fn lines(&self) -> Vec<String> {
        let size =
            self.size_bytes.map_or_else(|| "size unknown".to_owned(), |it| Bytes(it).to_string());
        let mut lines = vec![format!("Plan   {}", self.because)];
        if !self.builds_on.is_empty() {
            let chain = self.builds_on.join(" on ");
            lines.push(format!("       incremental on {chain}, which is full"));
        }
        lines.extend([
            format!(
                "       {size} of files, {} to fetch, from {}",
                Bytes(self.stored_bytes),
                self.repository
            ),
            format!(
                "       log {} to {}: {}, {}, at most",
                self.first_wal,
                self.last_wal,
                counted(self.wal_files, "file"),
                Bytes(self.wal_bytes)
            ),
        ]);
        if let Some(seconds) = self.estimated_seconds {
            lines.push(format!(
                "       about {:.0}s: as long as the backup took, and a tenth of a second for each file of log",
                seconds.ceil()
            ));
        }
        let new = match self.instances {
            0 => self.cluster.clone(),
            count => format!("{} with {}", self.cluster, counted(count.into(), "instance")),
        };
        let target = &self.target;
        lines.push(format!("       stops at {target}; new cluster {new}, source untouched"));
        lines
    }
}
