//! Lists the backups that a repository holds, whoever took them.
//!
//! Never leaves one out because it cannot be used: why it cannot is told.

use super::super::output::{Output, say, say_all, say_json};
use super::super::place::Place;
use super::super::repository::{self, Opened, second, timestamp};
use super::super::status::table;
use jiff::Timestamp;
use pgherd_backup::catalogue::{Catalogue, Entry};
use pgherd_core::backup::window::Window;
use pgherd_core::backup::{Backup, BackupId, Hold, Status};
use pgherd_core::units::Bytes;
use pgherd_core::wal::Segment;
use pgherd_local::failure::Failure;
use serde::Serialize;
use std::collections::BTreeMap;

/// List the backups that there are
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local backup list")]
pub(super) struct List {}

/// One backup, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    status: String,
    /// Whether it can be restored.
    usable: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    began_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    timeline: Option<u32>,
    begin_lsn: Option<String>,
    end_lsn: Option<String>,
    begin_wal: Option<String>,
    end_wal: Option<String>,
    size_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    version: Option<u32>,
    system_id: Option<String>,
    taken_by: &'static str,
}

impl List {
    pub(super) fn run(place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            let catalogue = opened.repository.list().await;
            let catalogue = catalogue.map_err(|error| opened.failed(&error))?;
            let all = all(&opened, &catalogue).await?;
            match output {
                Output::Json => say_json(&all),
                Output::Text => {
                    if all.is_empty() {
                        say(&format!("no backups in {}", opened.place()));
                    } else {
                        say_all(&lines(&all));
                    }
                    Ok(())
                }
            }
        })
    }
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
        id: entry.id.to_string(),
        name: info.name.clone(),
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
        taken_by: if is_ours { "pgherd" } else { "barman" },
    }
}

fn lines(all: &[Listed]) -> Vec<String> {
    let header = ["BACKUP", "NAME", "BEGAN", "TOOK", "SIZE", "STORED", "LOG", "STATUS"];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(&header, &rows)
}

fn row(one: &Listed) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let took = one.began_at.zip(one.ended_at).map(|(began, ended)| ended.duration_since(began));
    let bytes = |bytes: Option<u64>| known(bytes.map(|bytes| Bytes(bytes).to_string()));
    let log = one.begin_wal.as_ref().zip(one.end_wal.as_ref());
    vec![
        one.id.clone(),
        known(one.name.clone()),
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
        self.id == id.as_str()
    }

    /// Everything, one line each.
    pub(super) fn page(&self) -> Vec<String> {
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let bytes = |bytes: Option<u64>| known(bytes.map(|bytes| Bytes(bytes).to_string()));
        [
            format!("backup {}", self.id),
            format!("  name       {}", known(self.name.clone())),
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
        ]
        .into()
    }
}
