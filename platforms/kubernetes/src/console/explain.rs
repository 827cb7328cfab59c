//! Tells why a cluster does not do what one would expect of it, and what to do about it.
//!
//! Never guesses a cause: each line is a fact that some object states.

use super::{Part, View, Warned, reported, summary};
use crate::cluster::manifests::{claims, services};
use crate::cluster::{HEALTHY, INVALID, INVALID_CATALOG, UNABLE, UNRECOVERABLE};
use crate::hindrance;
use crate::space;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use pgherd_api::agent::{Role, Status};
use pgherd_api::console::{self, COMMITS_WAIT, Fact, no_primary};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Phase;
use serde::Serialize;

/// Warnings that are told at most.
const WARNINGS: usize = 5;

/// Everything that stands in the way, most important first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub sentence: String,
    pub facts: Vec<Fact>,
    /// What may not be read, and could tell more.
    pub hidden: Vec<String>,
}

pub fn explain(view: &View) -> Explanation {
    let mut facts = manifest(view);
    facts.extend(office(view));
    facts.extend(commits(view));
    facts.extend(requests(view));
    facts.extend(summary::archive_complaints(view).into_iter().map(|what| archive(view, what)));
    facts.extend(view.instances().iter().filter_map(|name| instance(view, name)));
    facts.extend(view.agents.iter().flat_map(|(name, agent)| said(view, name, agent)));
    let is_told = |fact: &Fact| {
        facts.iter().any(|it| it.about == fact.about || it.what.contains(&fact.about))
    };
    let volumes = view.claims.iter().filter_map(|(name, claim)| volume(name, claim));
    let volumes: Vec<_> = volumes.filter(|fact| !is_told(fact)).collect();
    facts.extend(volumes);
    if facts.is_empty()
        && let Some(what) = reported::trouble(view)
    {
        facts.push(Fact { about: format!("cluster/{}", view.name), what, fix: None });
    }
    let sentence = sentence(view, &facts);
    // Warnings may be about what is over: they are told, and count for nothing. A pod that is
    // ready has got over its own, and a healthy cluster over what was in the way of it.
    let status = view.cluster.status.as_ref();
    let is_healthy = status.and_then(|status| status.phase.as_deref()) == Some(HEALTHY);
    let is_over = |warned: &&Warned| match warned.about.split_once('/') {
        Some(("pod", name)) => InstanceName::parse(name).is_ok_and(|name| view.is_ready(&name)),
        Some(("cluster", name)) => is_healthy && name == view.name.as_str() && is_obstacle(warned),
        Some(_) | None => false,
    };
    let known = status.and_then(|status| status.phase_reason.as_deref()).unwrap_or_default();
    let is_told = |warned: &&Warned| !known.is_empty() && warned.what.contains(known);
    let open = view.warnings.iter().filter(|it| !is_over(it) && !is_told(it) && !is_gone(view, it));
    facts.extend(open.take(WARNINGS).map(warned));
    Explanation { sentence, facts, hidden: view.notes() }
}

/// Whether it is of a kind that the cluster cannot be healthy with.
fn is_obstacle(warned: &Warned) -> bool {
    const OBSTACLES: [&str; 6] = [
        "UnableToCreateObjects",
        "SecretNotFound",
        "InvalidCertificate",
        "InvalidClusterDefinition",
        "DiscoverImage",
        "BootstrapFailed",
    ];
    OBSTACLES.contains(&warned.reason.as_str())
}

/// Whether what it is about does not exist any more, or is another one by now.
fn is_gone(view: &View, warned: &Warned) -> bool {
    let is_other = |present: Option<&ObjectMeta>| match (present, &warned.uid) {
        (None, _) => true,
        (Some(present), Some(uid)) => present.uid.as_ref().is_some_and(|present| present != uid),
        (Some(_), None) => false,
    };
    match warned.about.split_once('/') {
        Some(("pod", name)) if view.sees(Part::Pods) => {
            let pod = InstanceName::parse(name).ok().and_then(|name| view.pods.get(&name));
            is_other(pod.map(|pod| &pod.metadata))
        }
        Some(("persistentvolumeclaim", name)) if view.sees(Part::Claims) => {
            is_other(view.claims.get(name).map(|claim| &claim.metadata))
        }
        Some(("cluster", name)) if name == view.name.as_str() => {
            is_other(Some(&view.cluster.metadata))
        }
        Some(_) | None => false,
    }
}

fn sentence(view: &View, facts: &[Fact]) -> String {
    let name = &view.name;
    match (view.primary(), &view.record) {
        _ if view.is_asleep() => format!("cluster {name} is hibernated: nobody shall serve"),
        (Some(primary), _)
            if facts.is_empty() && !view.sees_what_serves() && !reported::is_healthy(view) =>
        {
            format!("{primary} holds the office; whether it serves cannot be seen")
        }
        (Some(primary), _) if facts.is_empty() => {
            format!("{primary} serves writes, and nothing is waiting")
        }
        (Some(primary), _) if summary::waiting_now(view).is_some() => {
            format!("{primary} is the primary, and {COMMITS_WAIT}")
        }
        (Some(primary), _) => format!("{primary} serves writes, and something is waiting"),
        (None, None) if !view.sees(Part::Record) => {
            format!("who serves writes in cluster {name} cannot be seen")
        }
        (None, None) if view.wishes.as_ref().is_some_and(|wishes| wishes.exists) => {
            format!("the record of cluster {name} is gone: its instances agree on it anew")
        }
        (None, None) => format!("cluster {name} has not been initialised yet"),
        (None, Some(record)) => no_primary(record),
    }
}

fn manifest(view: &View) -> Vec<Fact> {
    let about = || format!("cluster/{}", view.name);
    let told = |what: String, fix: Option<String>| Fact { about: about(), what, fix };
    let mut facts: Vec<Fact> = view
        .problems
        .iter()
        .map(|problem| told(format!("the manifest cannot be carried out: {problem}"), None))
        .collect();
    if view.is_paused() {
        let what = "failover, restart and rejoin are paused".to_owned();
        facts.push(told(what, Some(view.command("resume"))));
    }
    if view.is_asleep() {
        facts.push(told("it is hibernated".to_owned(), Some(view.waking())));
    }
    let status = view.cluster.status.as_ref();
    if let Some(status) = status.filter(|_| is_stuck(view)) {
        let phase = status.phase.as_deref().unwrap_or_default();
        let reason = status.phase_reason.as_deref().unwrap_or_default();
        facts.push(told(format!("{phase}: {reason}"), None));
    }
    facts
}

/// Whether the operator says that it cannot go on, or what not everybody may look at.
fn is_stuck(view: &View) -> bool {
    let status = view.cluster.status.as_ref();
    let reason = status.and_then(|status| status.phase_reason.as_deref());
    if reason.is_some_and(hindrance::is_about_secrets) {
        return true;
    }
    match status.and_then(|status| status.phase.as_deref()) {
        Some(UNABLE | UNRECOVERABLE | INVALID_CATALOG) => true,
        // What cannot be read in a manifest is told already.
        Some(INVALID) => view.problems.is_empty(),
        Some(_) | None => false,
    }
}

/// Whether clients are led to who holds the office.
fn office(view: &View) -> Vec<Fact> {
    let Some(record) = &view.record else { return Vec::new() };
    let holder = &record.holder.instance;
    let lease = format!("lease/{}", view.name);
    let mut facts = Vec::new();
    match &record.phase {
        Phase::Serving => {}
        Phase::HandingOver { target } => {
            let what = format!("{holder} hands the office over to {target}");
            facts.push(Fact { about: lease, what, fix: None });
        }
        Phase::Vacant { .. } => {
            let what = format!("{holder} stopped cleanly and gave its office back");
            facts.push(Fact { about: lease, what, fix: None });
        }
    }
    let led = view.route.as_ref().and_then(|route| route.epoch);
    if let Some(edited) = hindrance::of_route((&view.namespace, &view.name), led, record.epoch) {
        facts.push(edited);
        return facts;
    }
    let slice = || format!("endpointslice/{}", services::of_primary(&view.name));
    let what = match &view.route {
        Some(route) if route.epoch == Some(record.epoch) => return facts,
        None if !view.sees(Part::Route) => return facts,
        None => "it does not exist: clients are led nowhere".to_owned(),
        Some(route) => match route.epoch {
            Some(epoch) => {
                format!(
                    "it leads to epoch {epoch}; {holder} holds {} and has yet to open",
                    record.epoch
                )
            }
            None => format!("it leads nowhere yet: {holder} has yet to open"),
        },
    };
    facts.push(Fact { about: slice(), what, fix: Some(view.command_for("logs", holder)) });
    facts
}

/// Commits that nobody confirms. Why is told by what is said of the standbys.
fn commits(view: &View) -> Option<Fact> {
    let what = console::commits(summary::waiting_now(view)?);
    Some(Fact { about: format!("cluster/{}", view.name), what, fix: None })
}

/// Where to look when nothing is taken up.
const OPERATOR: &str = "see whether it runs, and what it says: kubectl get deployments -A -l app.kubernetes.io/name=pgherd-operator";

/// Requests that nobody has taken up, or the cluster itself.
fn requests(view: &View) -> Vec<Fact> {
    let has_begun = view.specification.is_some() || is_stuck(view);
    if !has_begun && view.sees(Part::Specification) && view.checked.is_some() {
        let about = format!("cluster/{}", view.name);
        let what = "the operator has not begun with it".to_owned();
        return vec![Fact { about, what, fix: Some(OPERATOR.to_owned()) }];
    }
    let (Some(checked), Some(wishes)) = (&view.checked, &view.wishes) else { return Vec::new() };
    let asked = &checked.annotations.requests;
    let newer = |asked: Option<u64>, taken: Option<u64>| asked > Some(taken.unwrap_or_default());
    let switchover = newer(
        asked.switchover.as_ref().map(|it| it.number),
        wishes.switchover.as_ref().map(|it| it.number),
    );
    let restart = newer(
        asked.restart.as_ref().map(|it| it.number),
        wishes.restart.as_ref().map(|it| it.number),
    );
    let reload = newer(asked.reload, Some(wishes.configuration));
    let pending = [("switchover", switchover), ("restart", restart), ("reload", reload)];
    let pending = pending.into_iter().filter(|(_, is_pending)| *is_pending);
    pending
        .map(|(verb, _)| Fact {
            about: format!("cluster/{}", view.name),
            what: format!("the operator has not taken up the {verb} that was asked for"),
            fix: Some(OPERATOR.to_owned()),
        })
        .collect()
}

fn archive(view: &View, what: String) -> Fact {
    Fact { about: format!("cluster/{}", view.name), what, fix: None }
}

/// What keeps an instance from doing what it is for; nothing when it does.
fn instance(view: &View, name: &InstanceName) -> Option<Fact> {
    let has_begun = view.specification.is_some() || !view.sees(Part::Specification);
    if !view.sees(Part::Pods) || view.is_asleep() || !has_begun {
        return None;
    }
    let told = summary::of(view, name);
    let about = format!("pod/{name}");
    if view.is_fenced(name) {
        let what = "its PostgreSQL is kept down: it is fenced".to_owned();
        return Some(Fact { about, what, fix: Some(view.command_for("unfence", name)) });
    }
    if told.ready {
        let is_stranger = view.record.is_some() && !view.is_member(name);
        let what = || "it runs, and is not a member of the cluster yet".to_owned();
        let fix = || Some(view.command_for("logs", name));
        return is_stranger.then(|| Fact { about, what: what(), fix: fix() });
    }
    let claims = [claims::data_name(name), claims::wal_name(name)];
    let claims = claims.iter().filter_map(|claim| view.claims.get(claim));
    let hindered = hindrance::of_instance(view.pods.get(name), claims, Timestamp::now());
    if hindered.is_some() {
        return hindered;
    }
    let fix = match told.state.as_str() {
        "starting" => Some(view.command_for("logs", name)),
        "waiting" | "unscheduled" => {
            Some(format!("kubectl describe pod {name} -n {}", view.namespace))
        }
        _ => None,
    };
    Some(Fact { about, what: format!("{}: {}", told.state, told.reason), fix })
}

/// What an agent itself complains of.
fn said(view: &View, name: &InstanceName, agent: &Status) -> Vec<Fact> {
    let fact = |what: String, fix: Option<String>| Fact { about: format!("pod/{name}"), what, fix };
    let full = space::of(&agent.server).map(|full| {
        let fix = space::fix(&view.cluster.spec, &full);
        fact(space::words(name, &full), Some(fix))
    });
    let refused = agent.refused_settings.iter();
    let refused = refused.map(|refused| fact(format!("{refused}; it is left out"), None));
    let pending = agent.pending_restart.join(", ");
    let restart =
        || fact(format!("{pending}: waits for a restart, one instance after another"), None);
    let stands_still = agent.role == Role::Standby && agent.server.streaming == Some(false);
    let still = || {
        let what = format!("it does not stream: {}", agent.verdict.reason);
        fact(what, Some(view.command_for("logs", name)))
    };
    let own = [full, stands_still.then(still), (!pending.is_empty()).then(restart)];
    own.into_iter().flatten().chain(refused).collect()
}

fn volume(name: &str, claim: &PersistentVolumeClaim) -> Option<Fact> {
    let status = claim.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).filter(|it| *it != "Bound")?;
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let class = class.map_or_else(|| "no class".to_owned(), |class| format!("class {class}"));
    let what = format!("the volume is {} ({class})", phase.to_ascii_lowercase());
    Some(Fact { about: format!("persistentvolumeclaim/{name}"), what, fix: None })
}

fn warned(warned: &Warned) -> Fact {
    let seconds = warned.at.as_second();
    let at = Timestamp::from_second(seconds).unwrap_or(warned.at);
    let what = format!("warning at {at}: {}", warned.what);
    Fact { about: warned.about.clone(), what, fix: None }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Sample, instance};
    use super::*;
    use expect_test::expect;
    use k8s_openapi::api::core::v1::PersistentVolumeClaimStatus;
    use pgherd_core::units::Epoch;

    fn told(view: &View) -> String {
        let explanation = explain(view);
        let facts = explanation.facts.iter().map(|fact| {
            let fix = fact.fix.as_ref().map(|fix| format!(" (fix: {fix})")).unwrap_or_default();
            format!("\n  {}: {}{fix}", fact.about, fact.what)
        });
        let hidden = explanation.hidden.iter().map(|note| format!("\n  note: {note}"));
        [explanation.sentence.clone()].into_iter().chain(facts).chain(hidden).collect::<String>()
            + "\n"
    }

    #[test]
    fn what_is_well_is_not_repeated() {
        expect![[r#"
            contract-1 serves writes, and nothing is waiting
        "#]]
        .assert_eq(&told(&Sample::healthy().view));
    }

    #[test]
    fn each_obstacle_is_told_with_what_to_do() {
        let paused = Sample::annotated("cnpg.io/reconciliationLoop", "disabled");
        let fenced = Sample::annotated("cnpg.io/fencedInstances", r#"["contract-2"]"#);
        let asked = Sample::annotated("pgherd.dev/switchover", r#"{"number":4}"#);
        let refused = Sample::annotated("pgherd.dev/switchover", "now");
        let mut behind = Sample::healthy();
        behind.view.route.as_mut().unwrap().epoch = Some(Epoch(0));
        let mut new = Sample::healthy();
        new.view.record = None;
        new.view.route = None;
        new.view.specification = None;
        new.view.pods.clear();
        let mut waiting = Sample::healthy();
        waiting.pending(2, "0/3 nodes are available: 3 Insufficient cpu.");
        waiting.stuck(3, "ImagePullBackOff", "no such image");
        let mut lost = Sample::healthy();
        lost.view.pods.remove(&instance(1));
        let samples = [paused, fenced, asked, refused, behind, new, waiting, lost];
        expect![[r#"
            contract-1 serves writes, and something is waiting
              cluster/contract: failover, restart and rejoin are paused (fix: pgherd resume contract -n shop)
            contract-1 serves writes, and something is waiting
              pod/contract-2: its PostgreSQL is kept down: it is fenced (fix: pgherd unfence contract contract-2 -n shop)
            contract-1 serves writes, and something is waiting
              cluster/contract: the operator has not taken up the switchover that was asked for (fix: see whether it runs, and what it says: kubectl get deployments -A -l app.kubernetes.io/name=pgherd-operator)
            contract-1 serves writes, and something is waiting
              cluster/contract: the manifest cannot be carried out: metadata.annotations["pgherd.dev/switchover"] is "now", which is not a request: write {"number":1,"target":"contract-2"}, with a number that is higher than the last one
            nobody serves writes: epoch 1 belongs to contract-1
              endpointslice/contract-rw: it leads to epoch 0; contract-1 holds 1 and has yet to open (fix: pgherd logs contract contract-1 -n shop)
            cluster contract has not been initialised yet
              cluster/contract: the operator has not begun with it (fix: see whether it runs, and what it says: kubectl get deployments -A -l app.kubernetes.io/name=pgherd-operator)
            contract-1 serves writes, and something is waiting
              pod/contract-2: no node takes it: 0/3 nodes are available: 3 Insufficient cpu (fix: give the nodes room, or change resources or affinity of the Cluster)
              pod/contract-3: image  cannot be pulled: no such image (fix: correct imageName or imagePullSecrets of the Cluster, or make the image available)
            nobody serves writes: epoch 1 belongs to contract-1
              pod/contract-1: absent: it has neither volumes nor a pod yet
        "#]].assert_eq(&samples.map(|sample| told(&sample.view)).concat());
    }

    #[test]
    fn agents_tell_what_they_complain_of() {
        let mut sample = Sample::healthy();
        sample.agents([0x0500_0000; 3]);
        let second = sample.view.agents.get_mut(&instance(2)).unwrap();
        second.server.streaming = Some(false);
        second.server.disk_full = true;
        let third = sample.view.agents.get_mut(&instance(3)).unwrap();
        third.pending_restart = vec!["max_connections".to_owned()];
        third.refused_settings = vec!["work_mem: it is no number".to_owned()];
        expect![[r#"
            contract-1 serves writes, and something is waiting
              pod/contract-2: its disk is full or nearly so (fix: a larger size under storage or walStorage of the Cluster)
              pod/contract-2: it does not stream: as it shall (fix: pgherd logs contract contract-2 -n shop)
              pod/contract-3: max_connections: waits for a restart, one instance after another
              pod/contract-3: work_mem: it is no number; it is left out
        "#]].assert_eq(&told(&sample.view));
    }

    fn bound() -> PersistentVolumeClaimStatus {
        let phase = Some("Bound".to_owned());
        PersistentVolumeClaimStatus { phase, ..PersistentVolumeClaimStatus::default() }
    }

    #[test]
    fn warnings_of_pods_that_are_well_are_over() {
        let mut sample = Sample::healthy();
        sample.stuck(3, "CrashLoopBackOff", "back-off");
        let warned = |about: &str| Warned {
            at: Timestamp::from_second(1_800_000_000).unwrap(),
            about: about.to_owned(),
            uid: Some("5f2c".to_owned()),
            reason: "BackOff".to_owned(),
            what: "so it is".to_owned(),
        };
        let claim = |uid: &str| PersistentVolumeClaim {
            metadata: ObjectMeta { uid: Some(uid.to_owned()), ..ObjectMeta::default() },
            status: Some(bound()),
            ..PersistentVolumeClaim::default()
        };
        let claims = [("contract-2", "5f2c"), ("contract-3", "made since")];
        sample.view.claims = claims.map(|(name, uid)| (name.to_owned(), claim(uid))).into();
        // The fourth is gone, and the claim of the third was made anew.
        let objects = [
            "pod/contract-2",
            "pod/contract-3",
            "pod/contract-4",
            "persistentvolumeclaim/contract-2",
            "persistentvolumeclaim/contract-3",
        ];
        sample.view.warnings = objects.map(warned).into();
        expect![[r#"
            contract-1 serves writes, and something is waiting
              pod/contract-3: waiting: CrashLoopBackOff: back-off (fix: kubectl describe pod contract-3 -n shop)
              pod/contract-3: warning at 2027-01-15T08:00:00Z: so it is
              persistentvolumeclaim/contract-2: warning at 2027-01-15T08:00:00Z: so it is
        "#]].assert_eq(&told(&sample.view));
    }

    #[test]
    fn what_may_not_be_read_is_said_and_not_taken_for_absent() {
        let mut sample = Sample::healthy();
        sample.hide_all();
        expect![[r#"
            who serves writes in cluster contract cannot be seen
              note: not shown: who holds the office, and under which rule commits count; whether instances run; where clients are led; what agents are told; the volumes; what agents say: positions, lag, pending restarts: they may not be read (it takes the rights to get leases.coordination.k8s.io, list pods, get endpointslices.discovery.k8s.io, get configmaps, list persistentvolumeclaims, create pods/exec in shop)
        "#]].assert_eq(&told(&sample.view));
    }
}
