//! Sums up one instance: what it is, how it is, and whether it could take over.
//!
//! Never takes its agent's word for what an object says otherwise.

use super::super::{Part, View, ask, reported};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use pgherd_api::agent::{Role, Status};
use pgherd_core::intent::Durability;
use pgherd_core::names::InstanceName;
use pgherd_core::record::Pair;
use pgherd_core::units::Bytes;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSummary {
    pub name: String,
    /// `primary`, `opening`, `fenced`, `sync`, `async`, `joining`, or `-` if nobody can tell. Where the
    /// record may not be read, `standby` is all that is known of one.
    pub role: String,
    pub state: String,
    pub reason: String,
    pub node: Option<String>,
    pub address: Option<String>,
    pub restarts: Option<i32>,
    pub volume: Option<String>,
    pub ready: bool,
    pub fenced: bool,
    /// What only its agent can say; none if it could not be asked.
    #[serde(flatten)]
    pub own: Option<Own>,
    /// `yes`, or why not.
    pub can_take_over: String,
}

/// What an agent says of its own PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Own {
    /// What the agent is doing; the reason is that of the instance.
    pub doing: String,
    pub timeline: Option<u32>,
    pub position: Option<String>,
    /// How far a standby is behind the primary.
    pub lag_bytes: Option<u64>,
    pub streaming: Option<bool>,
    /// Settings that its PostgreSQL takes up only when it is restarted.
    pub pending_restart: Vec<String>,
    /// The version of the agent that runs.
    pub agent_version: String,
}

pub fn of(view: &View, name: &InstanceName) -> InstanceSummary {
    let pod = view.pods.get(name);
    let (state, reason) = told(view, name);
    let status = pod.and_then(|pod| pod.status.as_ref());
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    InstanceSummary {
        name: name.to_string(),
        role: role(view, name).to_owned(),
        state: state.to_owned(),
        reason,
        node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
        address: status.and_then(|status| status.pod_ip.clone()),
        restarts: containers.map(|all| all.iter().map(|container| container.restart_count).sum()),
        volume: volume(view, name),
        ready: match pod {
            Some(pod) => is_ready(pod) && !view.is_fenced(name),
            None => !view.sees(Part::Pods) && state == "ready",
        },
        fenced: view.is_fenced(name),
        own: view.agents.get(name).map(|agent| own(view, agent)),
        can_take_over: can_take_over(view, name),
    }
}

/// How it is. An agent that answers knows best what its PostgreSQL is doing.
fn told(view: &View, name: &InstanceName) -> (&'static str, String) {
    let (state, reason) = state(view, name);
    match view.agents.get(name) {
        Some(agent) if matches!(state, "ready" | "starting") => {
            (state, agent.verdict.reason.clone())
        }
        Some(_) | None => (state, reason),
    }
}

fn own(view: &View, agent: &Status) -> Own {
    let server = &agent.server;
    Own {
        doing: agent.verdict.state.clone(),
        timeline: server.timeline.map(|timeline| timeline.0),
        position: server.position.map(|position| position.lsn.to_string()),
        lag_bytes: lag(view, agent).map(|lag| lag.0),
        streaming: server.streaming,
        pending_restart: agent.pending_restart.clone(),
        agent_version: agent.version.clone(),
    }
}

/// How far a standby is behind the primary. Both were asked at about the same time, so that it may
/// seem a little less than it is, or a little more.
fn lag(view: &View, standby: &Status) -> Option<Bytes> {
    if standby.role != Role::Standby {
        return None;
    }
    let own = standby.server.position?;
    let primary = view.agents.get(&view.primary()?)?.server.position?;
    (own.timeline == primary.timeline).then(|| primary.lsn.ahead_of(own.lsn))
}

fn volume(view: &View, name: &InstanceName) -> Option<String> {
    let status = view.claims.get(&name.to_string())?.status.as_ref()?;
    let size = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    size.map(|size| size.0.clone()).or_else(|| status.phase.clone())
}

fn role(view: &View, name: &InstanceName) -> &'static str {
    let Some(record) = &view.record else { return reported::role(view, name).unwrap_or("-") };
    let holds = record.holder.instance == *name;
    if holds && view.primary().as_ref() == Some(name) {
        return "primary";
    }
    if view.is_fenced(name) {
        return "fenced";
    }
    if holds {
        return "opening";
    }
    let confirms = |pair: &Pair| pair.acks > 0 && pair.voters.contains(name);
    if !record.members.contains(name) {
        "joining"
    } else if record.quorum.iter().any(confirms) {
        "sync"
    } else {
        "async"
    }
}

/// What an instance does, and why, as its pod tells.
fn state(view: &View, name: &InstanceName) -> (&'static str, String) {
    let Some(pod) = view.pods.get(name) else {
        return match view.hidden.get(&Part::Pods) {
            Some(_) if view.is_fenced(name) => ("fenced", view.command_for("unfence", name)),
            Some(why) => reported::state(view, name).unwrap_or(("not shown", why.clone())),
            None => ("absent", without_pod(view, name)),
        };
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return ("ending", "its pod is being deleted".to_owned());
    }
    if view.is_fenced(name) {
        return ("fenced", view.command_for("unfence", name));
    }
    if is_ready(pod) {
        return ("ready", "its PostgreSQL answers".to_owned());
    }
    unready(pod)
}

fn without_pod(view: &View, name: &InstanceName) -> String {
    match view.claims.get(&name.to_string()) {
        Some(_) => "it has volumes and no pod".to_owned(),
        None if view.sees(Part::Claims) => "it has neither volumes nor a pod yet".to_owned(),
        None => "it has no pod".to_owned(),
    }
}

fn unready(pod: &Pod) -> (&'static str, String) {
    let status = pod.status.as_ref();
    let conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut refused = conditions.filter(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = refused.next() {
        let why = condition.message.clone().or_else(|| condition.reason.clone());
        return ("unscheduled", why.unwrap_or_else(|| "no node takes it".to_owned()));
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
        return ("unscheduled", "no node has been chosen yet".to_owned());
    }
    let first = status.and_then(|status| status.init_container_statuses.as_ref());
    let own = status.and_then(|status| status.container_statuses.as_ref());
    let all = first.into_iter().chain(own).flatten();
    let mut waiting = all.filter_map(|container| waits(container.state.as_ref()?));
    match waiting.next() {
        Some(why) => ("waiting", why),
        None => ("starting", "its PostgreSQL does not answer yet".to_owned()),
    }
}

fn waits(state: &ContainerState) -> Option<String> {
    let said = |reason: &Option<String>, message: &Option<String>| {
        let parts = [reason.clone(), message.clone()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    if let Some(waiting) = &state.waiting {
        // That is what happens anyway.
        let is_usual = matches!(
            waiting.reason.as_deref(),
            Some("PodInitializing" | "ContainerCreating") | None
        );
        return (!is_usual || waiting.message.is_some())
            .then(|| said(&waiting.reason, &waiting.message));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    Some(format!("ended with {}: {}", ended.exit_code, said(&ended.reason, &ended.message)))
}

/// Whether the kubelet says that it is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    ready.any(|condition| condition.status == "True") && pod.metadata.deletion_timestamp.is_none()
}

fn can_take_over(view: &View, name: &InstanceName) -> String {
    let Some(record) = &view.record else { return "not known".to_owned() };
    if record.holder.instance == *name {
        return "-".to_owned();
    }
    if !view.sees(Part::Pods) {
        return "not known".to_owned();
    }
    if let Some(why) = ask::unfit(view, name) {
        return format!("no: {why}");
    }
    if view.is_paused() {
        return "no: failover is paused".to_owned();
    }
    let durability = view.checked.as_ref().map(|checked| checked.durability);
    let lag = view.agents.get(name).and_then(|agent| lag(view, agent));
    match (durability, lag) {
        (Some(Durability::Asynchronous { max_lag }), Some(lag)) if lag > max_lag => {
            format!("no: {lag} behind, limit {max_lag}")
        }
        (_, Some(lag)) if lag > Bytes(0) => format!("yes ({lag} behind)"),
        (Some(Durability::Asynchronous { max_lag }), None) => {
            format!("yes, if at most {max_lag} behind")
        }
        (Some(_) | None, _) => "yes".to_owned(),
    }
}
