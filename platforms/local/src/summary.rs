//! Sums up a cluster for people and programs: who is primary, who can take over, and what is wrong.
//!
//! Never guesses: what an agent did not say is told as not known.

use crate::control::{AgentView, InstanceView, View};
use crate::folder::ClusterFolder;
use crate::hint;
use crate::registration::Registration;
use crate::schedule::{self, ScheduleView};
use pgherd_api::agent::{ArchiveStatus, Happening, Role, Status};
use pgherd_api::console;
use pgherd_core::fleet::commits::{self, Commits};
use pgherd_core::intent::Durability;
use pgherd_core::record::{Phase, Record};
use pgherd_core::seen::Gate;
use pgherd_core::units::{Bytes, WalPosition};
use pgherd_core::wishes::{Shall, Wish};
use serde::Serialize;
use std::collections::BTreeSet;

/// The document of `pgherd local status -o json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub cluster: String,
    pub folder: String,
    pub health: Health,
    /// What is wrong, or why the health is what it is; empty when all is well.
    pub because: Vec<String>,
    /// Who serves writes now.
    pub primary: Option<String>,
    pub epoch: Option<u64>,
    pub timeline: Option<u32>,
    pub position: Option<String>,
    pub phase: Option<String>,
    pub system_id: Option<String>,
    pub postgres: String,
    pub ready: usize,
    pub wanted: usize,
    pub paused: bool,
    pub durability: Option<String>,
    /// What a commit survives, in words.
    pub commits: Option<String>,
    /// How archiving goes; none without an archive, or while nobody serves writes.
    pub archive: Option<ArchiveStatus>,
    /// When backups and dumps are taken, and how the last ones went.
    pub schedules: Vec<ScheduleView>,
    pub instances: Vec<InstanceSummary>,
    pub partitions: Vec<String>,
    pub warnings: Vec<String>,
    pub record: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    Healthy,
    /// Writes work, and something is missing.
    Degraded,
    /// Nobody serves writes.
    NoPrimary,
    /// As asked: everything is down.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSummary {
    pub name: String,
    /// `primary`, `sync`, `async`, `standby`, or what it is instead.
    pub role: String,
    /// What its agent is doing, and why.
    pub state: String,
    pub reason: String,
    pub port: u16,
    /// Where its metrics are asked for.
    pub metrics: Option<String>,
    pub timeline: Option<u32>,
    pub position: Option<String>,
    pub lag_bytes: Option<u64>,
    pub streaming: Option<bool>,
    pub ready: bool,
    pub fenced: bool,
    pub pid: Option<u32>,
    /// `yes`, or why not.
    pub can_take_over: String,
    pub events: Vec<Happening>,
}

pub fn summary(view: &View) -> Summary {
    let record = view.record.as_ref();
    let primary = view.primary();
    let status = primary.and_then(|primary| primary.status.as_ref());
    let position = status.and_then(|status| status.server.position);
    let belonging = view.instances.iter().filter(|instance| instance.wish != Wish::Leaving);
    let mut instances: Vec<_> = view.instances.iter().map(|instance| of(view, instance)).collect();
    let ready = instances.iter().filter(|instance| instance.ready).count();
    let wanted = belonging.count();
    let mut because = problems(view, &instances);
    let addressed = |text: &mut String| *text = hint::addressed(text, &view.folder);
    because.iter_mut().for_each(addressed);
    instances.iter_mut().map(|instance| &mut instance.reason).for_each(addressed);
    let version = status.and_then(|status| status.server.version.clone());
    Summary {
        cluster: view.cluster.to_string(),
        folder: view.folder.display().to_string(),
        health: health(view, &because),
        because,
        primary: primary.map(|primary| primary.name.to_string()),
        epoch: record.map(|record| record.epoch.0),
        timeline: record.map(|record| record.timeline.0),
        position: position.map(|position| position.lsn.to_string()),
        phase: record.map(|record| phase(&record.phase)),
        system_id: record.map(|record| record.system_id.to_string()),
        postgres: version.unwrap_or_else(|| view.major.to_string()),
        ready,
        wanted,
        paused: view.paused,
        durability: Some(console::durability(view.durability)),
        commits: Some(commits(view)),
        archive: status.and_then(|status| status.archive.clone()),
        schedules: view.schedules.clone(),
        instances,
        partitions: view.cuts.iter().map(cut).collect(),
        warnings: warnings(view),
        record: record.map(console::record),
    }
}

/// A cluster that is down, of which only the folder tells.
pub fn stopped(folder: &ClusterFolder, registration: &Registration) -> Summary {
    Summary {
        cluster: folder.name().to_string(),
        folder: folder.root().display().to_string(),
        health: Health::Stopped,
        because: vec![hint::addressed("it was stopped (pgherd local up)", folder.root())],
        primary: None,
        epoch: None,
        timeline: None,
        position: None,
        phase: None,
        system_id: None,
        postgres: registration.major.to_string(),
        ready: 0,
        wanted: 0,
        paused: false,
        durability: None,
        commits: None,
        archive: None,
        schedules: Vec::new(),
        instances: Vec::new(),
        partitions: Vec::new(),
        warnings: Vec::new(),
        record: None,
    }
}

fn health(view: &View, because: &[String]) -> Health {
    match (view.shall, view.primary()) {
        (Shall::Rest, _) => Health::Stopped,
        (Shall::Run, None) => Health::NoPrimary,
        (Shall::Run, Some(_)) if because.is_empty() => Health::Healthy,
        (Shall::Run, Some(_)) => Health::Degraded,
    }
}

fn problems(view: &View, instances: &[InstanceSummary]) -> Vec<String> {
    let mut problems = Vec::new();
    if view.paused {
        problems.push("failover is paused (pgherd local resume)".to_owned());
    }
    for instance in instances.iter().filter(|instance| !instance.ready) {
        problems.push(format!("{} is {}: {}", instance.name, instance.state, instance.reason));
    }
    if instances.iter().any(|instance| !instance.ready) {
        problems.extend(full_disks(view));
    }
    if waiting(view).is_some() {
        problems.push(console::COMMITS_WAIT.to_owned());
    }
    problems.extend(archive_complaints(view));
    problems.extend(view.schedules.iter().filter_map(schedule::complaint));
    if !view.cuts.is_empty() {
        problems.push(format!("{} ways are cut (pgherd local heal)", view.cuts.len()));
    }
    problems
}

/// What is wrong with the archive, if there should be one.
pub fn archive_complaints(view: &View) -> Vec<String> {
    let status = view.primary().and_then(|primary| primary.status.as_ref());
    let archive = status.and_then(|status| status.archive.as_ref());
    archive.map(ArchiveStatus::complaints).unwrap_or_default()
}

/// Whose disk has hardly any room left for the log, in words.
pub fn full_disks(view: &View) -> Option<String> {
    let full = view
        .instances
        .iter()
        .filter(|instance| instance.status.as_ref().is_some_and(|status| status.server.disk_full));
    let names: Vec<String> = full.map(|instance| instance.name.to_string()).collect();
    let folder = view.folder.display();
    (!names.is_empty()).then(|| {
        format!("the disk of {} is full or nearly so: make room in {folder}", names.join(" and "))
    })
}

/// One instance, summed up.
pub fn of(view: &View, instance: &InstanceView) -> InstanceSummary {
    let status = instance.status.as_ref();
    let server = status.map(|status| &status.server);
    let (state, reason) = state(instance);
    let ready = is_ready(view, instance);
    InstanceSummary {
        name: instance.name.to_string(),
        role: role(view, instance),
        state,
        reason,
        port: instance.port,
        metrics: instance.metrics.clone(),
        timeline: server.and_then(|server| server.timeline).map(|timeline| timeline.0),
        position: server.and_then(|server| server.position).map(lsn),
        lag_bytes: lag(view, instance).map(|lag| lag.0),
        streaming: server.and_then(|server| server.streaming),
        ready,
        fenced: instance.fenced,
        pid: status.map(|status| status.pid),
        can_take_over: can_take_over(view, instance),
        events: status.map(|status| status.happenings.clone()).unwrap_or_default(),
    }
}

fn lsn(position: WalPosition) -> String {
    position.lsn.to_string()
}

/// How far a standby is behind: as it says itself, or else by the primary's position.
fn lag(view: &View, instance: &InstanceView) -> Option<Bytes> {
    let status = instance.status.as_ref()?;
    if status.role != Role::Standby {
        return None;
    }
    let own = status.server.position?;
    let primary = view.primary()?.status.as_ref()?.server.position?;
    (own.timeline == primary.timeline).then(|| primary.lsn.ahead_of(own.lsn))
}

/// Whether it does what its kind of instance is for.
pub fn is_ready(view: &View, instance: &InstanceView) -> bool {
    if !matches!(instance.agent, AgentView::Running { .. }) || instance.frozen > 0 {
        return false;
    }
    match &instance.status {
        Some(status) => match status.role {
            Role::Primary => {
                view.primary().is_some_and(|primary| primary.name == instance.name)
                    && status.server.gate != Some(Gate::Closed)
            }
            Role::Standby => status.server.streaming == Some(true),
            Role::Starting | Role::Stopped | Role::Absent | Role::Unknown => false,
        },
        None => false,
    }
}

/// What the cluster still waits for before it is all that was asked for; none when it is.
pub fn unsettled(view: &View) -> Option<String> {
    let Some(record) = &view.record else { return Some("the first record".to_owned()) };
    let wanted = || view.instances.iter().filter(|it| it.wish == Wish::Running && !it.fenced);
    if let Some(stranger) = wanted().find(|it| !record.members.contains(&it.name)) {
        return Some(format!("{} to become a member", stranger.name));
    }
    if let Some(leaving) = view.instances.iter().find(|it| it.wish == Wish::Leaving) {
        return Some(format!("{} to leave", leaving.name));
    }
    let behind = wanted().find(|it| {
        it.status.as_ref().is_some_and(|status| status.configuration_done < view.configuration)
    });
    if let Some(behind) = behind {
        return Some(format!("{} to read its settings", behind.name));
    }
    let primary = view.primary().and_then(|primary| primary.status.as_ref());
    if primary.is_some_and(|status| status.kept_up == Some(false)) {
        return Some("the primary to set passwords".to_owned());
    }
    let acks = match view.durability {
        Durability::Asynchronous { .. } => return None,
        Durability::Required { acks } | Durability::Preferred { acks } => acks,
    };
    let possible = acks.min(wanted().count().saturating_sub(1));
    let obeyed = primary.and_then(obeyed_pair);
    let confirmed = obeyed.is_some_and(|pair| pair.acks >= possible) || possible == 0;
    (!confirmed).then(|| "standbys to confirm commits".to_owned())
}

fn role(view: &View, instance: &InstanceView) -> String {
    let Some(status) = &instance.status else { return "-".to_owned() };
    match status.role {
        Role::Primary if is_ready(view, instance) => "primary".to_owned(),
        Role::Primary | Role::Starting | Role::Stopped if instance.fenced => "fenced".to_owned(),
        Role::Primary => "opening".to_owned(),
        Role::Standby => standby_role(view, instance).to_owned(),
        Role::Starting => "starting".to_owned(),
        Role::Stopped => "stopped".to_owned(),
        Role::Absent => "empty".to_owned(),
        Role::Unknown => "unknown".to_owned(),
    }
}

fn standby_role(view: &View, instance: &InstanceView) -> &'static str {
    let acknowledges = |record: &Record| {
        record.quorum.iter().any(|pair| pair.acks > 0 && pair.voters.contains(&instance.name))
    };
    match view.durability {
        Durability::Asynchronous { .. } => "async",
        Durability::Required { .. } | Durability::Preferred { .. } => {
            if view.record.as_ref().is_some_and(acknowledges) { "sync" } else { "async" }
        }
    }
}

fn state(instance: &InstanceView) -> (String, String) {
    let say = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
    let name = instance.name.serial();
    match (&instance.agent, instance.wish, &instance.status) {
        (_, Wish::Lost, _) => {
            say("lost", &format!("killed on request (pgherd local start {name})"))
        }
        (AgentView::Absent, Wish::Stopped, _) => {
            say("stopped", &format!("on request (pgherd local start {name})"))
        }
        (AgentView::Absent, Wish::Leaving, _) => say("leaving", "it is being removed"),
        (AgentView::Absent, Wish::Running, _) => say("down", "its agent has not been started"),
        (AgentView::Frozen { .. }, ..) => {
            say("frozen", &format!("its processes are stopped (pgherd local thaw {name})"))
        }
        (AgentView::Restarting { failures, last, .. }, ..) => {
            say("restarting", &format!("its agent failed {failures} times in a row: {last}"))
        }
        (AgentView::Running { .. } | AgentView::Ending { .. }, _, None) => {
            say("silent", "its agent does not answer")
        }
        (AgentView::Running { .. } | AgentView::Ending { .. }, _, Some(_))
            if instance.frozen > 0 =>
        {
            say("frozen", &format!("its PostgreSQL is stopped (pgherd local thaw {name})"))
        }
        (AgentView::Running { .. } | AgentView::Ending { .. }, _, Some(status)) => {
            (status.verdict.state.clone(), status.verdict.reason.clone())
        }
    }
}

fn can_take_over(view: &View, instance: &InstanceView) -> String {
    let holder = view.record.as_ref().map(|record| &record.holder.instance);
    let why_not = match &instance.status {
        _ if holder == Some(&instance.name) => return "-".to_owned(),
        None => "no: not reachable",
        Some(_) if instance.fenced => "no: fenced",
        Some(_) if view.paused => "no: failover is paused",
        Some(status) if status.role != Role::Standby => "no: not running as a standby",
        Some(_) if !is_member(view, instance) => "no: not a member yet",
        Some(status) => match (lag(view, instance), view.durability) {
            (Some(lag), Durability::Asynchronous { max_lag }) if lag > max_lag => {
                return format!("no: {lag} behind, limit {max_lag}");
            }
            (Some(lag), _) if lag > Bytes(0) => return format!("yes ({lag} behind)"),
            (None, _) if status.server.streaming != Some(true) => "no: not streaming",
            (Some(_) | None, _) => "yes",
        },
    };
    why_not.to_owned()
}

fn is_member(view: &View, instance: &InstanceView) -> bool {
    view.record.as_ref().is_some_and(|record| record.members.contains(&instance.name))
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Serving => "serving".to_owned(),
        Phase::HandingOver { target } => format!("handing over to {target}"),
        Phase::Vacant { .. } => "vacant".to_owned(),
    }
}

/// What the manifest asks for and does not get.
pub fn warnings(view: &View) -> Vec<String> {
    let (mut refused, mut pending) = (BTreeSet::new(), BTreeSet::new());
    for status in view.instances.iter().filter_map(|instance| instance.status.as_ref()) {
        refused.extend(&status.refused_settings);
        pending.extend(status.pending_restart.iter().map(String::as_str));
    }
    let refused = refused.into_iter().map(|refused| format!("{refused}; it is left out"));
    let restart = (!pending.is_empty()).then(|| {
        let names = pending.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!("{names} waits for a restart (pgherd local restart)");
        hint::addressed(&what, &view.folder)
    });
    view.warnings.iter().cloned().chain(refused).chain(restart).collect()
}

/// What becomes of a commit by the rule that the primary obeys, if its agent says which.
/// The commits that wait at this moment.
pub(crate) fn waiting(view: &View) -> Option<Commits> {
    present_commits(view).filter(|commits| matches!(commits, Commits::Waiting { .. }))
}

fn present_commits(view: &View) -> Option<Commits> {
    let pair = view.primary()?.status.as_ref().and_then(obeyed_pair)?;
    Some(commits::commits(Some(&pair), |name| {
        let instance = view.instances.iter().find(|instance| instance.name == *name);
        instance.is_some_and(|instance| is_ready(view, instance))
    }))
}

/// The sentence people ask for: what happens to a commit when a node is lost.
fn commits(view: &View) -> String {
    let Some(record) = &view.record else { return console::NO_COMMITS_YET.to_owned() };
    if view.primary().is_none() {
        return console::NO_COMMITS.to_owned();
    }
    if let Some(present) = present_commits(view) {
        return console::commits(present);
    }
    match (record.quorum.iter().max_by_key(|pair| pair.acks), view.durability) {
        (Some(newest), _) => console::rule(newest),
        (None, Durability::Asynchronous { .. }) => console::ALONE.to_owned(),
        (None, Durability::Required { .. } | Durability::Preferred { .. }) => {
            console::UNCONFIRMED.to_owned()
        }
    }
}

fn obeyed_pair(status: &Status) -> Option<pgherd_core::record::Pair> {
    status.server.obeys.as_ref()?.pair.clone()
}

fn cut(cut: &crate::control::Cut) -> String {
    match &cut.to {
        Some(to) => format!("{} -> {to}", cut.from),
        None => format!("{} -> record", cut.from),
    }
}
