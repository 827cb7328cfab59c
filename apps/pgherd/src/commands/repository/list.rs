//! Lists the backups that a repository holds, whoever took them.
//!
//! Never leaves one out because it cannot be used: why it cannot is told.

use super::super::local::status::table;
use super::{Answer, Opened, second, timestamp};
use jiff::Timestamp;
use pgherd_backup::catalogue::{Catalogue, Entry};
use pgherd_core::backup::window::Window;
use pgherd_core::backup::{Backup, BackupId, Hold, Status};
use pgherd_core::units::Bytes;
use pgherd_core::wal::Segment;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// List the backups that there are
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct List {}

/// All backups, the oldest first, and where they lie.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) place: String,
    pub(crate) all: Vec<Listed>,
}

/// One backup, as it is told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Listed {
    /// Its id in the repository; none as long as it is not there.
    pub(crate) id: Option<String>,
    /// The Backup object that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Full, or incremental to another one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<BackupKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) builds_on: Option<String>,
    pub(crate) status: String,
    /// Whether it can be restored.
    pub(crate) usable: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    pub(crate) began_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) timeline: Option<u32>,
    pub(crate) begin_lsn: Option<String>,
    pub(crate) end_lsn: Option<String>,
    pub(crate) begin_wal: Option<String>,
    pub(crate) end_wal: Option<String>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) stored_bytes: Option<u64>,
    pub(crate) version: Option<u32>,
    pub(crate) system_id: Option<String>,
    pub(crate) taken_by: String,
}

/// What it takes to restore one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum BackupKind {
    /// Nothing else.
    Full,
    /// What it builds on.
    Incremental,
}

pub(super) async fn answer(opened: &Opened) -> Result<Listing, Failure> {
    let catalogue = opened.repository.list().await.map_err(|error| opened.failed(&error))?;
    Ok(Listing { place: opened.place(), all: all(opened, &catalogue).await? })
}

/// All backups, the oldest first.
pub(super) async fn all(opened: &Opened, catalogue: &Catalogue) -> Result<Vec<Listed>, Failure> {
    let failed = |error| opened.failed(&error);
    let (_, window) = opened.repository.window(catalogue).await.map_err(failed)?;
    let stored = opened.repository.stored().await.map_err(failed)?;
    Ok(catalogue.entries.iter().map(|entry| told(entry, &window, &stored)).collect())
}

fn told(entry: &Entry, window: &Window, stored: &BTreeMap<BackupId, Bytes>) -> Listed {
    let info = &entry.info;
    let missing = window.unusable.iter().find(|one| one.backup == entry.id);
    let problem = match (&entry.backup, missing) {
        (Err(incomplete), _) => Some(incomplete.to_string()),
        (Ok(_), Some(one)) => Some(format!("{} is missing", one.missing)),
        (Ok(_), None) => info.error.clone(),
    };
    let is_done = |backup: &Backup| backup.done().is_some();
    let segment = |segment: Option<Segment>| segment.map(|segment| segment.to_string());
    let is_ours = info.comments.iter().any(|comment| comment.contains("pgherd"));
    Listed {
        id: Some(entry.id.to_string()),
        object: None,
        name: info.name.clone(),
        kind: Some(match entry.base {
            Some(_) => BackupKind::Incremental,
            None => BackupKind::Full,
        }),
        builds_on: entry.base.as_ref().map(ToString::to_string),
        status: match info.status {
            Some(Status::Done) | None => "done",
            Some(Status::Unfinished) => "unfinished",
            Some(Status::Failed) => "failed",
            Some(Status::WaitingForWal) => "waiting for log",
        }
        .to_owned(),
        usable: entry.backup.as_ref().is_ok_and(is_done) && missing.is_none(),
        problem,
        hold: entry.hold,
        began_at: info.begin.time.map(timestamp),
        ended_at: info.end.time.map(timestamp),
        timeline: info.timeline.map(|timeline| timeline.0),
        begin_lsn: info.begin.lsn.map(|lsn| lsn.to_string()),
        end_lsn: info.end.lsn.map(|lsn| lsn.to_string()),
        begin_wal: segment(info.begin.segment),
        end_wal: segment(info.end.segment),
        size_bytes: info.size.map(|size| size.0),
        stored_bytes: stored.get(&entry.id).map(|size| size.0),
        version: info.version,
        system_id: info.system.map(|system| system.to_string()),
        taken_by: if is_ours { "pgherd" } else { "barman" }.to_owned(),
    }
}

impl Answer for Listing {
    type Document = Vec<Listed>;

    fn document(&self) -> &Vec<Listed> {
        &self.all
    }

    fn names(&self) -> Vec<String> {
        let ids = self.all.iter().filter_map(|one| one.id.as_ref());
        ids.map(|id| format!("backup/{id}")).collect()
    }

    fn lines(&self) -> Vec<String> {
        if self.all.is_empty() {
            return vec![format!("no backups in {}", self.place)];
        }
        lines(&self.all)
    }
}

impl Answer for Listed {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        self.id.iter().map(|id| format!("backup/{id}")).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.page()
    }
}

fn lines(all: &[Listed]) -> Vec<String> {
    let header = ["BACKUP", "TYPE", "NAME", "BEGAN", "TOOK", "SIZE", "STORED", "LOG", "STATUS"];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(&header, &rows)
}

fn row(one: &Listed) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let took = one.began_at.zip(one.ended_at).map(|(began, ended)| ended.duration_since(began));
    // A clock may have been set back meanwhile.
    let took = took.filter(|took| !took.is_negative());
    let bytes = |bytes: Option<u64>| known(bytes.map(|bytes| Bytes(bytes).to_string()));
    let log = one.begin_wal.as_ref().zip(one.end_wal.as_ref());
    vec![
        known(one.id.clone()),
        known(one.kind.map(|kind| kind.word().to_owned())),
        known(one.object.clone().or_else(|| one.name.clone())),
        known(one.began_at.map(second)),
        known(took.map(|took| format!("{}s", took.as_secs()))),
        bytes(one.size_bytes),
        bytes(one.stored_bytes),
        known(log.map(|(first, last)| span(first, last))),
        one.state(),
    ]
}

fn span(first: &String, last: &String) -> String {
    if first == last { first.clone() } else { format!("{first}..{}", short(last)) }
}

/// What tells a segment from its neighbours.
fn short(segment: &str) -> &str {
    segment.get(segment.len().saturating_sub(8)..).unwrap_or(segment)
}

impl BackupKind {
    fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incr",
        }
    }
}

impl Listed {
    /// Whether it can be restored, and what holds it.
    fn state(&self) -> String {
        let mut state = match (&self.problem, self.usable) {
            (Some(problem), _) => format!("{}: {problem}", self.status),
            (None, true) => "can be restored".to_owned(),
            (None, false) => self.status.clone(),
        };
        match self.hold {
            Some(Hold::Full) => state.push_str(", on hold with all log after it"),
            Some(Hold::Standalone) => state.push_str(", on hold by itself"),
            None => {}
        }
        state
    }

    pub(super) fn is(&self, id: &BackupId) -> bool {
        self.id.as_deref() == Some(id.as_str())
    }

    /// Everything, one line each.
    fn page(&self) -> Vec<String> {
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let bytes = |bytes: Option<u64>| known(bytes.map(|bytes| Bytes(bytes).to_string()));
        let kind = match (self.kind, &self.builds_on) {
            (Some(BackupKind::Incremental), Some(base)) => format!("incremental to {base}"),
            (Some(BackupKind::Incremental), None) => "incremental".to_owned(),
            (Some(BackupKind::Full), _) => "full".to_owned(),
            (None, _) => "-".to_owned(),
        };
        let object = self.object.iter().map(|object| format!("  object     {object}"));
        let lines = [
            format!("backup {}", known(self.id.clone())),
            format!("  name       {}", known(self.name.clone())),
            format!("  type       {kind}"),
            format!("  status     {}", self.state()),
            format!("  began      {}", known(self.began_at.map(second))),
            format!("  ended      {}", known(self.ended_at.map(second))),
            format!("  size       {}", bytes(self.size_bytes)),
            format!("  stored     {}", bytes(self.stored_bytes)),
            format!("  timeline   {}", known(self.timeline.map(|timeline| timeline.to_string()))),
            format!(
                "  from       {} in {}",
                known(self.begin_lsn.clone()),
                known(self.begin_wal.clone())
            ),
            format!(
                "  to         {} in {}",
                known(self.end_lsn.clone()),
                known(self.end_wal.clone())
            ),
            format!("  PostgreSQL {}", known(self.version.map(|version| version.to_string()))),
            format!("  system id  {}", known(self.system_id.clone())),
            format!("  taken by   {}", self.taken_by),
        ];
        lines.into_iter().chain(object).collect()
    }
}
