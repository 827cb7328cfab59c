//! Sums up a cluster for people and programs: who is primary, who can take over, what is wrong.
//!
//! Never guesses: what no object says is told as not known.

use super::{Part, View, ask};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::jiff::Timestamp;
use pgherd_core::intent::Durability;
use pgherd_core::names::InstanceName;
use pgherd_core::record::{Pair, Record};
use serde::Serialize;

/// The document of `pgherd status -o json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub cluster: String,
    pub namespace: String,
    pub health: Health,
    /// What is wrong, or why the health is what it is; empty when all is well.
    pub because: Vec<String>,
    /// What the operator says.
    pub phase: Option<String>,
    pub primary: Option<String>,
    pub primary_since: Option<String>,
    pub epoch: Option<u64>,
    pub timeline: Option<i64>,
    pub system_id: Option<String>,
    pub image: Option<String>,
    /// None: it cannot be seen.
    pub ready: Option<usize>,
    pub wanted: Option<u32>,
    pub paused: bool,
    pub durability: Option<String>,
    /// What a commit survives, in words.
    pub commits: Option<String>,
    pub instances: Vec<InstanceSummary>,
    pub warnings: Vec<String>,
    /// What may not be read.
    pub hidden: Vec<String>,
    pub record: Option<Record>,
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
    /// Too little may be read to say.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSummary {
    pub name: String,
    /// `primary`, `opening`, `sync`, `async`, `joining`, or `-` if nobody can tell.
    pub role: String,
    pub state: String,
    pub reason: String,
    pub node: Option<String>,
    pub address: Option<String>,
    pub restarts: Option<i32>,
    pub volume: Option<String>,
    pub ready: bool,
    pub fenced: bool,
    /// `yes`, or why not.
    pub can_take_over: String,
}

pub fn summary(view: &View) -> Summary {
    let record = view.record.as_ref();
    let status = view.cluster.status.as_ref();
    let primary = view.primary();
    let instances: Vec<_> = view.instances().iter().map(|name| of(view, name)).collect();
    let because = problems(view, &instances);
    let since = status.and_then(|status| status.current_primary_timestamp.clone());
    let since = since.map(|since| whole_seconds(&since));
    let is_reported = |name: &InstanceName| {
        status.and_then(|it| it.current_primary.as_deref()) == Some(&name.to_string())
    };
    Summary {
        cluster: view.name.to_string(),
        namespace: view.namespace.clone(),
        health: health(view, primary.as_ref(), &because),
        because,
        phase: status.and_then(|status| status.phase.clone()),
        primary_since: since.filter(|_| primary.as_ref().is_some_and(is_reported)),
        primary: primary.map(|name| name.to_string()),
        epoch: record.map(|record| record.epoch.0),
        timeline: match record {
            Some(record) => Some(i64::from(record.timeline.0)),
            None => status.and_then(|status| status.timeline_id),
        },
        system_id: match record {
            Some(record) => Some(record.system_id.to_string()),
            None => status.and_then(|status| status.system_id.clone()),
        },
        image: status.and_then(|status| status.image.clone()),
        ready: view
            .sees(Part::Pods)
            .then(|| instances.iter().filter(|instance| instance.ready).count()),
        wanted: view.checked.as_ref().map(|checked| checked.instances),
        paused: view.is_paused(),
        durability: view.checked.as_ref().map(|checked| durability(checked.durability)),
        commits: commits(view),
        instances,
        warnings: warnings(view),
        hidden: view.notes(),
        record: view.record.clone(),
    }
}

/// More is noise to people, and to programs.
fn whole_seconds(time: &str) -> String {
    let known: Option<Timestamp> = time.parse().ok();
    let rounded = known.and_then(|at| Timestamp::from_second(at.as_second()).ok());
    rounded.map_or_else(|| time.to_owned(), |at| at.to_string())
}

fn health(view: &View, primary: Option<&InstanceName>, because: &[String]) -> Health {
    match primary {
        _ if view.is_asleep() => Health::Stopped,
        None if !view.sees(Part::Record) => Health::Unknown,
        None => Health::NoPrimary,
        Some(_) if because.is_empty() && !view.sees_what_serves() => Health::Unknown,
        Some(_) if because.is_empty() => Health::Healthy,
        Some(_) => Health::Degraded,
    }
}

fn problems(view: &View, instances: &[InstanceSummary]) -> Vec<String> {
    let mut problems = Vec::new();
    for problem in &view.problems {
        problems.push(format!("the manifest cannot be carried out: {problem}"));
    }
    if view.is_asleep() {
        problems.push("it is hibernated (annotation cnpg.io/hibernation)".to_owned());
        return problems;
    }
    if view.is_paused() {
        problems.push(format!("failover and repair are paused ({})", view.command("resume")));
    }
    if view.sees(Part::Pods) {
        let waiting = instances.iter().filter(|instance| !instance.ready);
        problems.extend(waiting.map(|it| format!("{}: {} ({})", it.name, it.state, it.reason)));
    }
    let there = u32::try_from(instances.len()).unwrap_or(u32::MAX);
    let wanted = view.checked.as_ref().map(|it| it.instances).filter(|it| *it > there);
    if let Some(wanted) = wanted.filter(|_| view.sees(Part::Record) && view.sees(Part::Pods)) {
        problems.push(format!("{there} of {wanted} instances exist"));
    }
    problems
}

pub fn of(view: &View, name: &InstanceName) -> InstanceSummary {
    let pod = view.pods.get(name);
    let (state, reason) = state(view, name);
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
        ready: pod.is_some_and(is_ready) && !view.is_fenced(name),
        fenced: view.is_fenced(name),
        can_take_over: can_take_over(view, name),
    }
}

fn volume(view: &View, name: &InstanceName) -> Option<String> {
    let status = view.claims.get(&name.to_string())?.status.as_ref()?;
    let size = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    size.map(|size| size.0.clone()).or_else(|| status.phase.clone())
}

fn role(view: &View, name: &InstanceName) -> &'static str {
    let Some(record) = &view.record else { return "-" };
    if record.holder.instance == *name {
        return if view.primary().as_ref() == Some(name) { "primary" } else { "opening" };
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
            Some(why) => ("not shown", why.clone()),
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
    let fit = record.members.contains(name) && !view.is_fenced(name) && view.is_ready(name);
    if !view.sees(Part::Pods) {
        return "not known".to_owned();
    }
    if !fit {
        return format!("no: {}", ask::unfit(view, name));
    }
    if view.is_paused() {
        return "on request only: failover is paused".to_owned();
    }
    match view.checked.as_ref().map(|checked| checked.durability) {
        Some(Durability::Asynchronous { max_lag }) => format!("yes, if at most {max_lag} behind"),
        Some(Durability::Required { .. } | Durability::Preferred { .. }) | None => "yes".to_owned(),
    }
}

pub fn durability(durability: Durability) -> String {
    match durability {
        Durability::Asynchronous { max_lag } => format!("asynchronous (at most {max_lag} behind)"),
        Durability::Required { acks } => format!("required ({acks} standbys)"),
        Durability::Preferred { acks } => format!("preferred ({acks} standbys)"),
    }
}

/// The sentence people ask for: what happens to a commit when a node is lost.
fn commits(view: &View) -> Option<String> {
    let record = match &view.record {
        Some(record) => record,
        None if view.sees(Part::Record) => return Some("nothing was committed yet".to_owned()),
        None => return None,
    };
    if view.primary().is_none() {
        return Some("nothing can be committed now: there is no primary".to_owned());
    }
    // Under several rules at once, only what all of them promise is sure.
    let weakest = record.quorum.iter().min_by_key(|pair| pair.acks);
    Some(match weakest {
        Some(Pair { voters, acks }) if *acks > 0 => {
            let nodes = if *acks == 1 { "any one node" } else { "as many nodes" };
            let of = voters.len();
            format!("a commit survives the loss of {nodes} ({acks} of {of} standbys confirm it)")
        }
        Some(_) => "no standby confirms commits now: one is lost if the primary is".to_owned(),
        None => {
            "a commit is on the primary alone when it is acknowledged (asynchronous)".to_owned()
        }
    })
}

/// What the manifest asks for and does not get, in the operator's words.
fn warnings(view: &View) -> Vec<String> {
    let conditions = view.cluster.status.iter().flat_map(|status| &status.conditions);
    let ignored = conditions.filter(|it| it.type_ == "FieldsIgnored" && it.status == "True");
    ignored.map(|condition| condition.message.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Sample, instance};
    use super::*;
    use expect_test::expect;
    use pgherd_core::record::Pair;

    fn told(view: &View) -> String {
        let summary = summary(view);
        let Summary { health, ready, wanted, primary, commits, .. } = &summary;
        let head = format!("{health:?} {ready:?}/{wanted:?} {primary:?} {commits:?}\n");
        let because = summary.because.iter().map(|it| format!("  ! {it}\n"));
        let rows = summary.instances.iter().map(|it| {
            let InstanceSummary { name, role, state, reason, can_take_over, .. } = it;
            format!("  {name} {role} {state} ({reason}) {can_take_over}\n")
        });
        [head].into_iter().chain(because).chain(rows).collect()
    }

    #[test]
    fn a_summary_tells_who_serves_and_who_could() {
        let mut synchronous = Sample::healthy();
        let voters = [instance(2), instance(3)].into();
        synchronous.view.record.as_mut().unwrap().quorum = [Pair { voters, acks: 1 }].into();
        let mut stranger = Sample::healthy();
        stranger.view.record.as_mut().unwrap().members.remove(&instance(3));
        expect![[r#"
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit survives the loss of any one node (1 of 2 standbys confirm it)")
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 sync ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 sync ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 joining ready (its PostgreSQL answers) no: it is not a member yet
        "#]].assert_eq(
            &[Sample::healthy(), synchronous, stranger].map(|sample| told(&sample.view)).concat(),
        );
    }

    #[test]
    fn a_summary_tells_what_is_wrong() {
        let mut waiting = Sample::healthy();
        waiting.pending(2, "no node");
        waiting.stuck(3, "CrashLoopBackOff", "back-off");
        let mut lost = Sample::healthy();
        lost.view.pods.remove(&instance(1));
        let paused = Sample::annotated("cnpg.io/reconciliationLoop", "disabled");
        let asleep = Sample::annotated("cnpg.io/hibernation", "on");
        let mut hidden = Sample::healthy();
        hidden.hide_all();
        let mut half = Sample::healthy();
        half.view.pods.clear();
        half.view.hidden = [(Part::Pods, "it may not be read".to_owned())].into();
        expect![[r#"
            Degraded Some(1)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! contract-2: unscheduled (no node)
              ! contract-3: waiting (CrashLoopBackOff: back-off)
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async unscheduled (no node) no: it is not ready
              contract-3 async waiting (CrashLoopBackOff: back-off) no: it is not ready
            NoPrimary Some(2)/Some(3) None Some("nothing can be committed now: there is no primary")
              ! contract-1: absent (it has neither volumes nor a pod yet)
              contract-1 opening absent (it has neither volumes nor a pod yet) -
              contract-2 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
            Degraded Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! failover and repair are paused (pgherd resume contract -n shop)
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async ready (its PostgreSQL answers) on request only: failover is paused
              contract-3 async ready (its PostgreSQL answers) on request only: failover is paused
            Stopped Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! it is hibernated (annotation cnpg.io/hibernation)
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
            Unknown None/Some(3) None None
            Unknown None/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              contract-1 primary not shown (it may not be read) -
              contract-2 async not shown (it may not be read) not known
              contract-3 async not shown (it may not be read) not known
        "#]].assert_eq(
            &[waiting, lost, paused, asleep, hidden, half].map(|sample| told(&sample.view)).concat(),
        );
    }
}
