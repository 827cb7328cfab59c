//! Sums up a cluster for people and programs: who is primary, who can take over, what is wrong.
//!
//! Never guesses: what no object says is told as not known.

mod instance;

pub use instance::{InstanceSummary, is_ready, of};

use super::{Part, View, reported};
use crate::cluster::ARCHIVING;
use crate::space;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use pgherd_api::agent::{ArchiveStatus, Happening, Status};
use pgherd_api::console;
use pgherd_core::fleet::commits::{self, Commits};
use pgherd_core::names::InstanceName;
use serde::Serialize;
use std::collections::BTreeSet;

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
    pub phase_reason: Option<String>,
    pub primary: Option<String>,
    pub primary_since: Option<String>,
    pub epoch: Option<u64>,
    pub timeline: Option<i64>,
    /// Where the primary's log ends, as its agent says.
    pub position: Option<String>,
    /// The version of the primary's PostgreSQL, as its agent says.
    pub postgres: Option<String>,
    pub system_id: Option<String>,
    pub image: Option<String>,
    /// None: it cannot be seen.
    pub ready: Option<usize>,
    pub wanted: Option<u32>,
    pub paused: bool,
    pub durability: Option<String>,
    /// What a commit survives, in words.
    pub commits: Option<String>,
    /// How archiving goes; none without an archive, or if the primary's agent could not be asked.
    pub archive: Option<ArchiveStatus>,
    pub instances: Vec<InstanceSummary>,
    pub warnings: Vec<String>,
    /// What may not be read.
    pub hidden: Vec<String>,
    pub record: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    Healthy,
    /// Writes work, and a change that was asked for goes on.
    Changing,
    /// Writes work, and something is missing or wrong.
    Degraded,
    /// Nobody serves writes.
    NoPrimary,
    /// As asked: everything is down.
    Stopped,
    /// Too little may be read to say.
    Unknown,
}

pub fn summary(view: &View) -> Summary {
    let record = view.record.as_ref();
    let status = view.cluster.status.as_ref();
    let primary = view.primary();
    let instances: Vec<_> = view.instances().iter().map(|name| of(view, name)).collect();
    let because = problems(view, &instances);
    let serving = primary.as_ref().and_then(|name| view.agents.get(name));
    Summary {
        cluster: view.name.to_string(),
        namespace: view.namespace.clone(),
        health: health(view, primary.as_ref(), &because),
        because,
        phase: status.and_then(|status| status.phase.clone()),
        phase_reason: status.and_then(|status| status.phase_reason.clone()),
        primary_since: primary.as_ref().and_then(|primary| since(view, primary)),
        primary: primary.map(|name| name.to_string()),
        epoch: record.map(|record| record.epoch.0),
        timeline: match record {
            Some(record) => Some(i64::from(record.timeline.0)),
            None => status.and_then(|status| status.timeline_id),
        },
        position: serving.and_then(|it| Some(it.server.position?.lsn.to_string())),
        postgres: serving.and_then(|it| it.server.version.clone()),
        system_id: match record {
            Some(record) => Some(record.system_id.to_string()),
            None => status.and_then(|status| status.system_id.clone()),
        },
        image: status.and_then(|status| status.image.clone()),
        ready: if view.sees(Part::Pods) {
            Some(instances.iter().filter(|instance| instance.ready).count())
        } else {
            reported::ready(view)
        },
        wanted: view.checked.as_ref().map(|checked| checked.instances),
        paused: view.is_paused(),
        durability: view.checked.as_ref().map(|checked| console::durability(checked.durability)),
        commits: survival(view),
        archive: serving.and_then(|it| it.archive.clone()),
        instances,
        warnings: warnings(view),
        hidden: view.notes(),
        record: record.map(console::record),
    }
}

/// Since when this primary serves in the present epoch: as its agent says, or else the operator.
fn since(view: &View, primary: &InstanceName) -> Option<String> {
    let epoch = view.record.as_ref().map(|record| record.epoch);
    let serves = |it: &&Happening| it.state == "serving" && epoch.is_some() && it.epoch == epoch;
    let told = view.agents.get(primary).and_then(|agent| agent.happenings.iter().find(serves));
    let status = view.cluster.status.as_ref()?;
    let is_reported = || {
        let timeline = view.record.as_ref().map(|record| i64::from(record.timeline.0));
        status.current_primary.as_deref() == Some(&primary.to_string())
            && (timeline.is_none() || status.timeline_id == timeline)
    };
    let reported = || status.current_primary_timestamp.as_ref()?.parse().ok();
    let at: Timestamp = match told {
        Some(told) => told.at,
        None if is_reported() => reported()?,
        None => return None,
    };
    // More is noise to people, and to programs.
    Timestamp::from_second(at.as_second()).ok().map(|at| at.to_string())
}

fn health(view: &View, primary: Option<&InstanceName>, because: &[String]) -> Health {
    // What cannot be seen was seen by the operator.
    let sees_enough = view.sees_what_serves() || reported::is_healthy(view);
    match primary {
        _ if view.is_asleep() => Health::Stopped,
        None if !view.sees(Part::Record) => Health::Unknown,
        None => Health::NoPrimary,
        Some(_) if because.is_empty() && !sees_enough => Health::Unknown,
        Some(_) if because.is_empty() => Health::Healthy,
        Some(_) if because.len() == 1 && reported::is_changing(view) => Health::Changing,
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
    let is_known = |it: &&InstanceSummary| view.sees(Part::Pods) || it.state != "not shown";
    let unready = instances.iter().filter(is_known).filter(|instance| !instance.ready);
    problems.extend(unready.map(|it| format!("{}: {} ({})", it.name, it.state, it.reason)));
    let full = view.agents.iter().filter_map(|(name, agent)| {
        let full = space::of(&agent.server)?;
        Some(format!("{name}: {}", space::words(name, &full)))
    });
    problems.extend(full);
    if waiting_now(view).is_some() {
        problems.push(console::COMMITS_WAIT.to_owned());
    }
    let there = u32::try_from(instances.len()).unwrap_or(u32::MAX);
    let wanted = view.checked.as_ref().map(|it| it.instances).filter(|it| *it > there);
    if let Some(wanted) = wanted.filter(|_| view.sees(Part::Record) && view.sees(Part::Pods)) {
        problems.push(format!("{there} of {wanted} instances exist"));
    }
    problems.extend(archive_complaints(view));
    // What `kubectl get cluster` tells is no secret to `pgherd status`.
    problems.extend(reported::trouble(view));
    problems
}

/// What is wrong with the archive, if there should be one: as the primary's agent says, or else the
/// operator.
pub fn archive_complaints(view: &View) -> Vec<String> {
    let agent = view.primary().and_then(|name| view.agents.get(&name));
    if let Some(archive) = agent.and_then(|agent| agent.archive.as_ref()) {
        return archive.complaints();
    }
    let conditions = view.cluster.status.iter().flat_map(|status| &status.conditions);
    let failing = |it: &&Condition| it.type_ == ARCHIVING && it.status == "False";
    let failing = conditions.filter(failing).take(1);
    failing.map(|it| format!("the log is not archived: {}", it.message)).collect()
}

/// The commits that wait at this moment.
pub(super) fn waiting_now(view: &View) -> Option<Commits> {
    waiting(view.agents.get(&view.primary()?)?)
}

/// Commits that wait by the rule that the primary obeys, as its agent says.
fn waiting(primary: &Status) -> Option<Commits> {
    let server = &primary.server;
    let obeyed = server.obeys.as_ref()?.pair.as_ref();
    let commits = commits::commits(obeyed, |name| commits::streams(&server.senders, name));
    match commits {
        Commits::Waiting { .. } => Some(commits),
        Commits::Alone | Commits::Unconfirmed | Commits::Confirmed { .. } => None,
    }
}

/// The sentence people ask for: what happens to a commit when a node is lost.
fn survival(view: &View) -> Option<String> {
    let record = match &view.record {
        Some(record) => record,
        None if view.sees(Part::Record) => return Some(console::NO_COMMITS_YET.to_owned()),
        None => return None,
    };
    if view.primary().is_none() {
        return Some(console::NO_COMMITS.to_owned());
    }
    // Under several rules at once, only what all of them promise is sure.
    let Some(weakest) = record.quorum.iter().min_by_key(|pair| pair.acks) else {
        return Some(console::ALONE.to_owned());
    };
    let Some(agent) = view.agents.get(&record.holder.instance) else {
        return Some(console::rule(weakest));
    };
    let by = |rule| commits::commits(Some(rule), |it| commits::streams(&agent.server.senders, it));
    let commits = waiting(agent).unwrap_or_else(|| by(weakest));
    Some(console::commits(commits))
}

/// What the manifest asks for and does not get, as the operator and the agents say.
fn warnings(view: &View) -> Vec<String> {
    let conditions = view.cluster.status.iter().flat_map(|status| &status.conditions);
    let ignored = conditions.filter(|it| it.type_ == "FieldsIgnored" && it.status == "True");
    let (mut refused, mut pending) = (BTreeSet::new(), BTreeSet::new());
    for agent in view.agents.values() {
        refused.extend(&agent.refused_settings);
        pending.extend(agent.pending_restart.iter().map(String::as_str));
    }
    let refused = refused.into_iter().map(|refused| format!("{refused}; it is left out"));
    let restart = (!pending.is_empty()).then(|| {
        let names = pending.into_iter().collect::<Vec<_>>().join(", ");
        format!("{names} waits for a restart, one instance after another")
    });
    ignored.map(|condition| condition.message.clone()).chain(refused).chain(restart).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Sample, instance};
    use super::*;
    use expect_test::expect;
    use pgherd_core::record::Pair;
    use pgherd_core::seen::{Gate, Obeyed};
    use pgherd_core::units::Lsn;

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
        let mut heard = Sample::healthy();
        heard.view.record.clone_from(&synchronous.view.record);
        heard.agents([0; 3]);
        let pair = heard.view.record.as_ref().unwrap().quorum.first().cloned();
        let mut waits = Sample::healthy();
        waits.view.record.clone_from(&heard.view.record);
        waits.agents([0; 3]);
        for (sample, streaming) in [(&mut heard, true), (&mut waits, false)] {
            let primary = sample.view.agents.get_mut(&instance(1)).unwrap();
            primary.server.obeys = Some(Obeyed { pair: pair.clone(), since: Lsn(0) });
            for (serial, sender) in (2..).zip(primary.server.senders.values_mut()) {
                sender.streaming = streaming && serial == 2;
            }
        }
        for serial in [2, 3] {
            let standby = waits.view.agents.get_mut(&instance(serial)).unwrap();
            standby.server.streaming = Some(false);
        }
        let mut closed = Sample::healthy();
        closed.agents([0; 3]);
        closed.view.agents.get_mut(&instance(1)).unwrap().server.gate = Some(Gate::Closed);
        let mut stranger = Sample::healthy();
        stranger.view.record.as_mut().unwrap().members.remove(&instance(3));
        expect![[r#"
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
            Healthy Some(3)/Some(3) Some("contract-1") Some("1 of 2 standbys have to confirm a commit; whether they are there is not known")
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 sync ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 sync ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit survives the loss of any one node (1 of 1 standbys confirm it)")
              contract-1 primary ready (as it shall) -
              contract-2 sync ready (as it shall) yes
              contract-3 sync ready (as it shall) yes
            Degraded Some(3)/Some(3) Some("contract-1") Some("commits wait: 0 of the 1 standbys that have to confirm them are there")
              ! commits wait for standbys to confirm them
              contract-1 primary ready (as it shall) -
              contract-2 sync ready (as it shall) no: it does not stream (as it shall)
              contract-3 sync ready (as it shall) no: it does not stream (as it shall)
            NoPrimary Some(3)/Some(3) None Some("nothing can be committed now: there is no primary")
              contract-1 opening ready (as it shall) -
              contract-2 async ready (as it shall) yes, if at most 16.0 MiB behind
              contract-3 async ready (as it shall) yes, if at most 16.0 MiB behind
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              contract-1 primary ready (its PostgreSQL answers) -
              contract-2 async ready (its PostgreSQL answers) yes, if at most 16.0 MiB behind
              contract-3 joining ready (its PostgreSQL answers) no: it is not a member yet
        "#]].assert_eq(
            &[Sample::healthy(), synchronous, heard, waits, closed, stranger].map(|sample| told(&sample.view)).concat(),
        );
    }

    #[test]
    fn agents_tell_how_far_standbys_are() {
        let mut sample = Sample::healthy();
        sample.agents([0x0500_0000, 0x0500_0000, 0x0300_0000]);
        let third = sample.view.agents.get_mut(&instance(3)).unwrap();
        third.pending_restart = vec!["max_connections".to_owned()];
        let warnings = summary(&sample.view).warnings.join("\n");
        expect![[r#"
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              contract-1 primary ready (as it shall) -
              contract-2 async ready (as it shall) yes
              contract-3 async ready (as it shall) no: 32.0 MiB behind, limit 16.0 MiB
            max_connections waits for a restart, one instance after another
        "#]].assert_eq(&format!("{}{warnings}\n", told(&sample.view)));
    }

    #[test]
    fn a_summary_agrees_with_what_the_operator_says() {
        let told_by = |phase, reason| told(&Sample::healthy().reported(phase, reason).view);
        let head = |text: String| {
            let lines: Vec<&str> = text.lines().filter(|it| !it.starts_with("  c")).collect();
            lines.join("\n") + "\n"
        };
        let mut refused = Sample::annotated("pgherd.dev/switchover", "now")
            .reported("Invalid cluster definition", "metadata.annotations: so it is");
        let samples = [
            told_by("Cluster in healthy state", ""),
            told_by("Cluster in healthy state", "left out: work_mem: it is no number"),
            told_by("Applying configuration", "contract-2 has yet to take it up"),
            told_by("Unable to create required cluster objects", "Secret shop/own is missing"),
            told_by("Waiting for the instances to become active", "not ready: contract-2"),
            told(&refused.view),
        ];
        expect![[r#"
            Healthy Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
            Degraded Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! the operator: left out: work_mem: it is no number
            Changing Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! the operator: Applying configuration: contract-2 has yet to take it up
            Degraded Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! the operator: Unable to create required cluster objects: Secret shop/own is missing
            Degraded Some(3)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! the operator: Waiting for the instances to become active: not ready: contract-2
            Degraded Some(3)/None Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! the manifest cannot be carried out: metadata.annotations["pgherd.dev/switchover"] is "now", which is not a request: write {"number":1,"target":"contract-2"}, with a number that is higher than the last one
        "#]].assert_eq(&samples.map(head).concat());
        refused.stuck(2, "ImagePullBackOff", "no such image");
        assert_eq!(summary(&refused.view).because.len(), 2);
    }

    #[test]
    fn who_may_read_little_is_told_what_the_operator_reported() {
        let healthy = || Sample::healthy().reported("Cluster in healthy state", "");
        let mut pods = healthy();
        pods.hide_but_pods();
        let mut lost = healthy();
        lost.hide_but_pods();
        lost.stuck(1, "CrashLoopBackOff", "back-off");
        let mut nothing = healthy();
        nothing.hide_all();
        let mut failing =
            Sample::healthy().reported("Failing over", "Initiating a failover from contract-1");
        failing.hide_all();
        let status = failing.view.cluster.status.as_mut().unwrap();
        status.current_primary_failing_since_timestamp = Some("2027-01-15T08:00:09Z".to_owned());
        let mut fenced = Sample::annotated("cnpg.io/fencedInstances", r#"["contract-1"]"#)
            .reported("Cluster in healthy state", "");
        fenced.hide_all();
        let since = summary(&pods.view).primary_since;
        assert_eq!(since.as_deref(), Some("2027-01-15T08:00:00Z"));
        let notes = summary(&pods.view).hidden.join("\n") + "\n";
        let samples = [pods, lost, nothing, failing, fenced].map(|sample| told(&sample.view));
        expect![[r#"
            Healthy Some(3)/Some(3) Some("contract-1") None
              contract-1 primary ready (its PostgreSQL answers) not known
              contract-2 standby ready (its PostgreSQL answers) not known
              contract-3 standby ready (its PostgreSQL answers) not known
            Unknown Some(2)/Some(3) None None
              ! contract-1: waiting (CrashLoopBackOff: back-off)
              contract-1 opening waiting (CrashLoopBackOff: back-off) not known
              contract-2 standby ready (its PostgreSQL answers) not known
              contract-3 standby ready (its PostgreSQL answers) not known
            Degraded Some(2)/Some(3) Some("contract-1") None
              ! contract-2: failed (as the operator reported it)
              contract-1 primary ready (as the operator reported it) not known
              contract-2 standby failed (as the operator reported it) not known
              contract-3 standby ready (as the operator reported it) not known
            Unknown Some(2)/Some(3) None None
              ! contract-2: failed (as the operator reported it)
              ! the operator: Failing over: Initiating a failover from contract-1
              contract-1 opening ready (as the operator reported it) not known
              contract-2 standby failed (as the operator reported it) not known
              contract-3 standby ready (as the operator reported it) not known
            Unknown Some(2)/Some(3) None None
              ! contract-1: fenced (pgherd unfence contract contract-1 -n shop)
              ! contract-2: failed (as the operator reported it)
              contract-1 fenced fenced (pgherd unfence contract contract-1 -n shop) not known
              contract-2 standby failed (as the operator reported it) not known
              contract-3 standby ready (as the operator reported it) not known
            not shown: who holds the office, and under which rule commits count; where clients are led; what agents are told; the volumes; what agents say: positions, lag, pending restarts: they may not be read (it takes the rights to get leases.coordination.k8s.io, get endpointslices.discovery.k8s.io, get configmaps, list persistentvolumeclaims, create pods/exec in shop)
        "#]].assert_eq(&(samples.concat() + &notes));
    }

    #[test]
    fn who_is_fenced_has_no_other_role() {
        let all = || Sample::annotated("cnpg.io/fencedInstances", r#"["*"]"#);
        let mut stopped = all();
        stopped.agents([0; 3]);
        for serial in 1..=3 {
            let agent = stopped.view.agents.get_mut(&instance(serial)).unwrap();
            agent.role = pgherd_api::agent::Role::Stopped;
        }
        // It was told just now.
        let mut open = all();
        open.agents([0; 3]);
        expect![[r#"
            NoPrimary Some(0)/Some(3) None Some("nothing can be committed now: there is no primary")
              ! contract-1: fenced (pgherd unfence contract contract-1 -n shop)
              ! contract-2: fenced (pgherd unfence contract contract-2 -n shop)
              ! contract-3: fenced (pgherd unfence contract contract-3 -n shop)
              contract-1 fenced fenced (pgherd unfence contract contract-1 -n shop) -
              contract-2 fenced fenced (pgherd unfence contract contract-2 -n shop) no: it is fenced
              contract-3 fenced fenced (pgherd unfence contract contract-3 -n shop) no: it is fenced
            NoPrimary Some(0)/Some(3) None Some("nothing can be committed now: there is no primary")
              ! contract-1: fenced (pgherd unfence contract contract-1 -n shop)
              ! contract-2: fenced (pgherd unfence contract contract-2 -n shop)
              ! contract-3: fenced (pgherd unfence contract contract-3 -n shop)
              contract-1 fenced fenced (pgherd unfence contract contract-1 -n shop) -
              contract-2 fenced fenced (pgherd unfence contract contract-2 -n shop) no: it is fenced
              contract-3 fenced fenced (pgherd unfence contract contract-3 -n shop) no: it is fenced
            Degraded Some(0)/Some(3) Some("contract-1") Some("a commit is on the primary alone when it is acknowledged (asynchronous)")
              ! contract-1: fenced (pgherd unfence contract contract-1 -n shop)
              ! contract-2: fenced (pgherd unfence contract contract-2 -n shop)
              ! contract-3: fenced (pgherd unfence contract contract-3 -n shop)
              contract-1 primary fenced (pgherd unfence contract contract-1 -n shop) -
              contract-2 fenced fenced (pgherd unfence contract contract-2 -n shop) no: it is fenced
              contract-3 fenced fenced (pgherd unfence contract contract-3 -n shop) no: it is fenced
        "#]].assert_eq(&[all(), stopped, open].map(|it| told(&it.view)).concat());
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
              contract-2 async ready (its PostgreSQL answers) no: failover is paused
              contract-3 async ready (its PostgreSQL answers) no: failover is paused
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
