//! Decides what a request writes into the Cluster, and refuses what would do harm or nothing.
//!
//! Never reuses the number of an earlier request: it would not be taken up.

use super::{Part, View};
use pgherd_api::agent::Role;
use pgherd_api::cluster::annotations::{
    FENCED_INSTANCES, RECONCILIATION_LOOP, RELOAD, RESTART, SWITCHOVER,
};
use pgherd_api::cluster::annotations::{Fenced, Requests};
use pgherd_api::console::no_restore_point;
use pgherd_core::fleet::fence::{Harm, harm};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Phase;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Why nothing was asked for, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It names what does not exist.
    #[error("{what}")]
    Unknown { what: String, fix: String },
    /// It would do harm, or what it needs is not there.
    #[error("{what}")]
    Refused { what: String, fix: String },
}

/// What is to be written, and under which number, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub number: Option<u64>,
    pub patch: Value,
}

/// Whether a person insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insistence {
    Usual,
    Forced,
}

/// Another primary: the named one, or the standby that is furthest.
pub fn switchover(view: &View, target: Option<&InstanceName>) -> Result<Asked, Refusal> {
    let refused = |what: String| Refusal::Refused { what, fix: view.command("explain") };
    stands_still(view, "there is no primary to switch from")?;
    let Some(record) = &view.record else {
        return Err(match view.hidden.get(&Part::Record) {
            Some(why) => unseen(view, Part::Record, why),
            None => refused(format!("cluster {} has no primary to switch from", view.name)),
        });
    };
    if record.phase != Phase::Serving {
        return Err(refused(format!("the office of {} changes hands right now", view.name)));
    }
    let holder = &record.holder.instance;
    let is_fit = |name: &InstanceName| name != holder && unfit(view, name).is_none();
    match target {
        Some(target) if target == holder => {
            let what = format!("{target} is the primary already");
            return Err(Refusal::Refused { what, fix: "name a standby".to_owned() });
        }
        Some(target) => {
            if let Some(why) = unfit(view, target) {
                return Err(refused(format!("{target} cannot take over: {why}")));
            }
        }
        None if view.instances().len() == 1 => {
            return Err(Refusal::Refused {
                what: format!("{} has one instance: nobody else could take over", view.name),
                fix: "raise spec.instances first".to_owned(),
            });
        }
        None if !record.members.iter().any(is_fit) => {
            return Err(refused(format!("no standby of {} is ready to take over", view.name)));
        }
        None => {}
    }
    let written = requests(view).switchover.map_or(0, |last| last.number);
    let kept = view.wishes.as_ref().and_then(|wishes| wishes.switchover.as_ref());
    let number =
        written.max(kept.map_or(0, |last| last.number)).max(record.switchover).saturating_add(1);
    let mut request = json!({ "number": number, "epoch": record.epoch });
    if let (Some(target), Some(fields)) = (target, request.as_object_mut()) {
        fields.insert("target".to_owned(), json!(target));
    }
    Ok(Asked {
        number: Some(number),
        patch: annotate(view, SWITCHOVER, Some(&request.to_string())),
    })
}

/// On whom a restore point is made, for a cluster that could go back to it.
pub fn restore_point(view: &View) -> Result<InstanceName, Refusal> {
    // A manifest that cannot be carried out says nothing of the archive that is there.
    let checked = view.checked.as_ref();
    if checked.is_some_and(|checked| checked.postgres.archive.is_none()) {
        let fix = format!(
            "add spec.backup.barmanObjectStore to its manifest, apply that, and take a backup: {}",
            view.command("backup")
        );
        return Err(Refusal::Refused { what: no_restore_point(&view.name), fix });
    }
    view.primary().ok_or_else(|| Refusal::Refused {
        what: format!("cluster {} has no primary to make it on", view.name),
        fix: view.command("explain"),
    })
}

/// Why a standby cannot become the primary, as far as anything tells.
pub fn unfit(view: &View, instance: &InstanceName) -> Option<String> {
    let plain = |why: &str| Some(why.to_owned());
    if view.is_fenced(instance) {
        return plain("it is fenced");
    }
    if !view.is_member(instance) {
        return plain("it is not a member yet");
    }
    if view.sees(Part::Pods) && !view.is_ready(instance) {
        return plain("it is not ready");
    }
    let agent = view.agents.get(instance)?;
    if agent.role != Role::Standby {
        return plain("it does not run as a standby");
    }
    let stands_still = agent.server.streaming == Some(false);
    stands_still.then(|| format!("it does not stream ({})", agent.verdict.reason))
}

/// Nobody starts the PostgreSQL of a cluster that is hibernated or paused, so nobody may end it.
fn stands_still(view: &View, asleep: &str) -> Result<(), Refusal> {
    let name = &view.name;
    if view.is_asleep() {
        let what = format!("{name} is hibernated: {asleep}");
        return Err(Refusal::Refused { what, fix: view.waking() });
    }
    if view.is_paused() {
        let what = format!("{name} is paused: what is stopped would stay down");
        return Err(Refusal::Refused { what, fix: view.command("resume") });
    }
    Ok(())
}

/// A restart of PostgreSQL of those named, or of all.
pub fn restart(view: &View, instances: &BTreeSet<InstanceName>) -> Result<Asked, Refusal> {
    stands_still(view, "there is no PostgreSQL to restart")?;
    let wishes = kept(view)?;
    let written = requests(view).restart.map_or(0, |last| last.number);
    let number =
        written.max(wishes.restart.as_ref().map_or(0, |last| last.number)).saturating_add(1);
    let all: BTreeSet<InstanceName> = wishes.belonging();
    let meant = if instances.is_empty() { &all } else { instances };
    let request = json!({ "number": number, "instances": meant });
    Ok(Asked { number: Some(number), patch: annotate(view, RESTART, Some(&request.to_string())) })
}

/// All read their settings again.
pub fn reload(view: &View) -> Result<Asked, Refusal> {
    let written = requests(view).reload.unwrap_or_default();
    let number = written.max(kept(view)?.configuration).saturating_add(1);
    Ok(Asked { number: Some(number), patch: annotate(view, RELOAD, Some(&number.to_string())) })
}

/// Keeps the PostgreSQL of these down; of all, present and to come, if none is named.
pub fn fence(
    view: &View,
    instances: &BTreeSet<InstanceName>,
    insistence: Insistence,
) -> Result<Option<Asked>, Refusal> {
    let before = fenced(view)?;
    let after = if instances.is_empty() {
        Fenced::All
    } else {
        match &before {
            Fenced::All => Fenced::All,
            Fenced::Instances(names) => Fenced::Instances(names | instances),
        }
    };
    if after == before {
        return Ok(None);
    }
    let stays = |name: &InstanceName| match &after {
        Fenced::All => false,
        Fenced::Instances(names) => !names.contains(name),
    };
    let serves = |name: &InstanceName| view.is_ready(name) && !view.is_fenced(name);
    let serving: BTreeSet<_> = view.instances().into_iter().filter(serves).collect();
    let primary = view.record.as_ref().map(|record| &record.holder.instance);
    let durability = view.checked.as_ref().map(|checked| checked.durability);
    let harm =
        harm(&serving, (primary, durability), stays).filter(|_| insistence == Insistence::Usual);
    if harm == Some(Harm::Service) {
        let what =
            format!("no healthy instance of {} would be left: this ends all service", view.name);
        return Err(Refusal::Refused {
            what,
            fix: format!(
                "bring another one back first ({}), or add --force",
                view.command("status")
            ),
        });
    }
    let stops_writes = primary.is_some_and(|it| !view.is_fenced(it) && !stays(it));
    if let (Insistence::Usual, Some(primary), true) = (insistence, primary, stops_writes) {
        let what = format!(
            "{primary} is the primary: while it is fenced nobody takes over, and nobody can write"
        );
        let fix = format!("hand over first ({}), or add --force", view.command("switchover"));
        return Err(Refusal::Refused { what, fix });
    }
    if let Some(Harm::Commits { needed, left }) = harm {
        let what = format!(
            "a commit in {} needs {needed} confirming {}, and {left} would be left: commits would wait",
            view.name,
            if needed == 1 { "standby" } else { "standbys" },
        );
        let fix =
            format!("bring another one back first ({}), or add --force", view.command("status"));
        return Err(Refusal::Refused { what, fix });
    }
    Ok(Some(Asked { number: None, patch: fences(view, &after) }))
}

/// Lets the PostgreSQL of these run again; of all, if none is named.
pub fn unfence(view: &View, instances: &BTreeSet<InstanceName>) -> Result<Option<Asked>, Refusal> {
    let before = fenced(view)?;
    let nobody = Fenced::Instances(BTreeSet::new());
    let after = match &before {
        _ if instances.is_empty() => nobody,
        // All, that is also those to come: only those that are there can be named.
        Fenced::All => Fenced::Instances(&view.instances() - instances),
        Fenced::Instances(names) => Fenced::Instances(names - instances),
    };
    Ok((after != before).then(|| Asked { number: None, patch: fences(view, &after) }))
}

/// Suspends automatic failover and repair.
pub fn pause(view: &View) -> Option<Asked> {
    let patch = || annotate(view, RECONCILIATION_LOOP, Some("disabled"));
    (!view.is_paused()).then(|| Asked { number: None, patch: patch() })
}

/// Ends a pause.
pub fn resume(view: &View) -> Option<Asked> {
    let patch = || annotate(view, RECONCILIATION_LOOP, None);
    view.is_paused().then(|| Asked { number: None, patch: patch() })
}

/// What counts as fenced now. A manifest that is refused may say anything.
fn fenced(view: &View) -> Result<Fenced, Refusal> {
    let fenced = view.checked.as_ref().map(|checked| checked.annotations.fenced.clone());
    fenced.ok_or_else(|| {
        let (name, problems) = (&view.name, view.problems.join("; "));
        Refusal::Refused {
            what: format!("the manifest of {name} cannot be carried out: {problems}"),
            fix: "correct the manifest first".to_owned(),
        }
    })
}

fn fences(view: &View, fenced: &Fenced) -> Value {
    let list = match fenced {
        Fenced::All => Some(json!(["*"]).to_string()),
        Fenced::Instances(names) => (!names.is_empty()).then(|| json!(names).to_string()),
    };
    annotate(view, FENCED_INSTANCES, list.as_deref())
}

fn kept(view: &View) -> Result<&pgherd_core::wishes::Wishes, Refusal> {
    view.wishes.as_ref().ok_or_else(|| match view.hidden.get(&Part::Specification) {
        Some(why) => unseen(view, Part::Specification, why),
        None => Refusal::Refused {
            what: format!("the operator has not begun with cluster {} yet", view.name),
            fix: view.command("explain"),
        },
    })
}

fn unseen(view: &View, part: Part, why: &str) -> Refusal {
    let what = format!("what was asked of {} before cannot be seen: {why}", view.name);
    let fix = format!("get the right to {} in {}", part.right(), view.namespace);
    Refusal::Refused { what, fix }
}

fn requests(view: &View) -> Requests {
    view.checked.as_ref().map(|it| it.annotations.requests.clone()).unwrap_or_default()
}

/// Sets an annotation, or removes it, in exactly the version that was seen.
fn annotate(view: &View, name: &str, value: Option<&str>) -> Value {
    json!({"metadata": {
        "resourceVersion": view.cluster.metadata.resource_version,
        "annotations": { name: value },
    }})
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Sample, instance};
    use super::*;
    use expect_test::expect;
    use pgherd_core::intent::Durability;

    fn told(asked: Result<Option<Asked>, Refusal>) -> String {
        match asked {
            Ok(Some(Asked { number, patch })) => {
                format!("{number:?} {}\n", patch["metadata"]["annotations"])
            }
            Ok(None) => "nothing to do\n".to_owned(),
            Err(Refusal::Unknown { what, fix } | Refusal::Refused { what, fix }) => {
                format!("{what} (fix: {fix})\n")
            }
        }
    }

    #[test]
    fn a_restore_point_is_only_made_where_it_can_be_gone_back_to() {
        let ask = |sample: &Sample| match restore_point(&sample.view) {
            Ok(primary) => format!("on {primary}\n"),
            Err(refusal) => told(Err(refusal)),
        };
        let mut lost = Sample::archived();
        lost.view.pods.remove(&instance(1));
        let mut unreadable = Sample::healthy();
        unreadable.view.checked = None;
        let samples = [Sample::healthy(), Sample::archived(), lost, unreadable];
        expect![[r#"
            no restore point was made: cluster contract has no archive, and only with one can a restore go back to a name (fix: add spec.backup.barmanObjectStore to its manifest, apply that, and take a backup: pgherd backup contract -n shop)
            on contract-1
            cluster contract has no primary to make it on (fix: pgherd explain contract -n shop)
            on contract-1
        "#]].assert_eq(&samples.map(|sample| ask(&sample)).concat());
    }

    #[test]
    fn a_switchover_has_a_number_above_all_that_were() {
        let ask = |sample: &Sample, target: Option<u32>| {
            told(switchover(&sample.view, target.map(instance).as_ref()).map(Some))
        };
        let healthy = Sample::healthy();
        let mut recorded = Sample::healthy();
        recorded.view.record.as_mut().unwrap().switchover = 8;
        let written = Sample::annotated("pgherd.dev/switchover", r#"{"number":4}"#);
        let fenced = Sample::annotated("cnpg.io/fencedInstances", r#"["contract-2"]"#);
        let mut alone = Sample::healthy();
        alone.pending(2, "no node");
        alone.pending(3, "no node");
        let mut hidden = Sample::healthy();
        hidden.hide_all();
        let mut single = Sample::healthy();
        single.only_the_first();
        let asleep = Sample::annotated("cnpg.io/hibernation", "on");
        let paused = Sample::annotated("cnpg.io/reconciliationLoop", "disabled");
        let mut still = Sample::healthy();
        still.agents([1, 1, 1]);
        still.view.agents.get_mut(&instance(2)).unwrap().server.streaming = Some(false);
        expect![[r#"
            Some(1) {"pgherd.dev/switchover":"{\"epoch\":1,\"number\":1}"}
            Some(1) {"pgherd.dev/switchover":"{\"epoch\":1,\"number\":1,\"target\":\"contract-2\"}"}
            Some(9) {"pgherd.dev/switchover":"{\"epoch\":1,\"number\":9,\"target\":\"contract-3\"}"}
            Some(5) {"pgherd.dev/switchover":"{\"epoch\":1,\"number\":5}"}
            contract-1 is the primary already (fix: name a standby)
            contract-2 cannot take over: it is fenced (fix: pgherd explain contract -n shop)
            no standby of contract is ready to take over (fix: pgherd explain contract -n shop)
            what was asked of contract before cannot be seen: it may not be read (fix: get the right to get leases.coordination.k8s.io in shop)
            contract has one instance: nobody else could take over (fix: raise spec.instances first)
            contract is hibernated: there is no primary to switch from (fix: kubectl annotate clusters.postgresql.cnpg.io contract -n shop --overwrite cnpg.io/hibernation=off)
            contract is paused: what is stopped would stay down (fix: pgherd resume contract -n shop)
            contract-2 cannot take over: it does not stream (as it shall) (fix: pgherd explain contract -n shop)
            Some(1) {"pgherd.dev/switchover":"{\"epoch\":1,\"number\":1}"}
        "#]].assert_eq(
            &[
                ask(&healthy, None),
                ask(&healthy, Some(2)),
                ask(&recorded, Some(3)),
                ask(&written, None),
                ask(&healthy, Some(1)),
                ask(&fenced, Some(2)),
                ask(&alone, None),
                ask(&hidden, None),
                ask(&single, None),
                ask(&asleep, None),
                ask(&paused, None),
                ask(&still, Some(2)),
                ask(&still, None),
            ]
            .concat(),
        );
    }

    #[test]
    fn restarts_and_reloads_are_numbered() {
        let healthy = Sample::healthy();
        let mut hidden = Sample::healthy();
        hidden.hide_all();
        let written = Sample::annotated("pgherd.dev/reload", "6");
        expect![[r#"
            Some(1) {"pgherd.dev/restart":"{\"instances\":[\"contract-1\",\"contract-2\",\"contract-3\"],\"number\":1}"}
            Some(1) {"pgherd.dev/restart":"{\"instances\":[\"contract-2\"],\"number\":1}"}
            Some(1) {"pgherd.dev/reload":"1"}
            Some(7) {"pgherd.dev/reload":"7"}
            what was asked of contract before cannot be seen: it may not be read (fix: get the right to get configmaps in shop)
        "#]].assert_eq(
            &[
                told(restart(&healthy.view, &BTreeSet::new()).map(Some)),
                told(restart(&healthy.view, &[instance(2)].into()).map(Some)),
                told(reload(&healthy.view).map(Some)),
                told(reload(&written.view).map(Some)),
                told(reload(&hidden.view).map(Some)),
            ]
            .concat(),
        );
    }

    #[test]
    fn fences_are_added_and_taken_away_one_by_one() {
        let healthy = Sample::healthy();
        let one = Sample::annotated("cnpg.io/fencedInstances", r#"["contract-2"]"#);
        let all = Sample::annotated("cnpg.io/fencedInstances", r#"["*"]"#);
        let broken = Sample::annotated("cnpg.io/fencedInstances", "contract-2");
        let usual = |sample: &Sample, serials: &[u32]| {
            let names = serials.iter().map(|serial| instance(*serial)).collect();
            told(fence(&sample.view, &names, Insistence::Usual))
        };
        let open = |sample: &Sample, serials: &[u32]| {
            let names = serials.iter().map(|serial| instance(*serial)).collect();
            told(unfence(&sample.view, &names))
        };
        expect![[r#"
            None {"cnpg.io/fencedInstances":"[\"contract-2\"]"}
            nothing to do
            None {"cnpg.io/fencedInstances":"[\"contract-2\",\"contract-3\"]"}
            no healthy instance of contract would be left: this ends all service (fix: bring another one back first (pgherd status contract -n shop), or add --force)
            contract-1 is the primary: while it is fenced nobody takes over, and nobody can write (fix: hand over first (pgherd switchover contract -n shop), or add --force)
            nothing to do
            None {"cnpg.io/fencedInstances":"[\"contract-1\"]"}
            None {"cnpg.io/fencedInstances":"[\"*\"]"}
            the manifest of contract cannot be carried out: metadata.annotations["cnpg.io/fencedInstances"] is "contract-2", which is not a list: write ["contract-1"], or ["*"] for all instances (fix: correct the manifest first)
            None {"cnpg.io/fencedInstances":null}
            nothing to do
            None {"cnpg.io/fencedInstances":"[\"contract-2\",\"contract-3\"]"}
            None {"cnpg.io/fencedInstances":null}
        "#]].assert_eq(
            &[
                usual(&healthy, &[2]),
                usual(&one, &[2]),
                usual(&one, &[3]),
                usual(&one, &[1, 3]),
                usual(&healthy, &[1]),
                usual(&all, &[1]),
                told(fence(&healthy.view, &[instance(1)].into(), Insistence::Forced)),
                told(fence(&healthy.view, &BTreeSet::new(), Insistence::Forced)),
                usual(&broken, &[2]),
                open(&one, &[2]),
                open(&one, &[3]),
                open(&all, &[1]),
                open(&all, &[]),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_fence_that_lets_commits_wait_is_said_twice() {
        let with = |acks| {
            let mut sample = Sample::healthy();
            let checked = sample.view.checked.as_mut().unwrap();
            checked.durability = Durability::Required { acks };
            sample
        };
        let fenced = |sample: &Sample, serial, insistence| {
            told(fence(&sample.view, &[instance(serial)].into(), insistence))
        };
        let mut down = with(2);
        down.pending(2, "no node");
        expect![[r#"
            None {"cnpg.io/fencedInstances":"[\"contract-3\"]"}
            a commit in contract needs 2 confirming standbys, and 1 would be left: commits would wait (fix: bring another one back first (pgherd status contract -n shop), or add --force)
            None {"cnpg.io/fencedInstances":"[\"contract-3\"]"}
            None {"cnpg.io/fencedInstances":"[\"contract-3\"]"}
        "#]]
        .assert_eq(
            &[
                fenced(&with(1), 3, Insistence::Usual),
                fenced(&with(2), 3, Insistence::Usual),
                fenced(&with(2), 3, Insistence::Forced),
                // They wait already.
                fenced(&down, 3, Insistence::Usual),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_pause_is_begun_and_ended_once() {
        let paused = Sample::annotated("cnpg.io/reconciliationLoop", "disabled");
        let healthy = Sample::healthy();
        expect![[r#"
            None {"cnpg.io/reconciliationLoop":"disabled"}
            nothing to do
            None {"cnpg.io/reconciliationLoop":null}
            nothing to do
        "#]]
        .assert_eq(
            &[
                told(Ok(pause(&healthy.view))),
                told(Ok(pause(&paused.view))),
                told(Ok(resume(&paused.view))),
                told(Ok(resume(&healthy.view))),
            ]
            .concat(),
        );
    }
}
