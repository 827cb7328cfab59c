//! Reads what is asked of a cluster once: a switchover, a restart, a reload.
//!
//! Never decides whether a request is new: whoever keeps the last number does.

use super::{AnnotationRefusal, RELOAD, RESTART, RESTARTED_AT, SWITCHOVER, place};
use crate::cluster::problem::{Findings, Refusal};
use pgherd_core::intent::{Restart, Switchover};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::units::Epoch;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is asked for, as it is written; it may have been done long ago.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    /// Another primary.
    pub switchover: Option<Switchover>,
    /// A restart; of all instances, if none is named.
    pub restart: Option<Restart>,
    /// The number of the last reload that was asked for.
    pub reload: Option<u64>,
    /// The mark of the last restart of all that was asked for without a number.
    pub restarted_at: Option<String>,
}

/// The greatest number: JSON readers agree on integers up to here, and one more can be counted.
const MOST: u64 = 1 << 53;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchoverWritten {
    number: u64,
    target: Option<String>,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartWritten {
    number: u64,
    #[serde(default)]
    instances: Vec<String>,
}

pub(super) fn checked(
    annotations: &BTreeMap<String, String>,
    cluster: &ClusterName,
    findings: &mut Findings,
) -> Requests {
    let given = |name: &str| annotations.get(name).map(String::as_str);
    Requests {
        switchover: given(SWITCHOVER).and_then(|text| switchover(text, cluster, findings)),
        restart: given(RESTART).and_then(|text| restart(text, cluster, findings)),
        reload: given(RELOAD).and_then(|text| reload(text, findings)),
        restarted_at: given(RESTARTED_AT).filter(|mark| !mark.is_empty()).map(str::to_owned),
    }
}

fn switchover(given: &str, cluster: &ClusterName, findings: &mut Findings) -> Option<Switchover> {
    let written = serde_json::from_str(given).ok();
    let Some(SwitchoverWritten { number: number @ ..=MOST, target, epoch }) = written else {
        let (given, cluster) = (given.to_owned(), cluster.clone());
        refuse(SWITCHOVER, AnnotationRefusal::Switchover { given, cluster }, findings);
        return None;
    };
    let target = match target {
        Some(target) => Some(instance(SWITCHOVER, &target, cluster, findings)?),
        None => None,
    };
    Some(Switchover { number, target, epoch: epoch.map(Epoch) })
}

fn restart(given: &str, cluster: &ClusterName, findings: &mut Findings) -> Option<Restart> {
    let written = serde_json::from_str(given).ok();
    let Some(RestartWritten { number: number @ ..=MOST, instances }) = written else {
        let (given, cluster) = (given.to_owned(), cluster.clone());
        refuse(RESTART, AnnotationRefusal::Restart { given, cluster }, findings);
        return None;
    };
    let named = instances.iter().map(|given| instance(RESTART, given, cluster, findings));
    // One that is misspelt must not turn "this one" into "all".
    Some(Restart { number, instances: named.collect::<Option<_>>()? })
}

fn reload(given: &str, findings: &mut Findings) -> Option<u64> {
    let number = given.trim().parse().ok().filter(|number| *number <= MOST);
    if number.is_none() {
        refuse(RELOAD, AnnotationRefusal::Reload { given: given.to_owned() }, findings);
    }
    number
}

fn instance(
    annotation: &str,
    given: &str,
    cluster: &ClusterName,
    findings: &mut Findings,
) -> Option<InstanceName> {
    let known = InstanceName::parse(given).ok().filter(|known| known.cluster() == cluster);
    if known.is_none() {
        let (given, cluster) = (given.to_owned(), cluster.clone());
        refuse(annotation, AnnotationRefusal::Requested { given, cluster }, findings);
    }
    known
}

fn refuse(annotation: &str, refusal: AnnotationRefusal, findings: &mut Findings) {
    findings.refuse(&place(annotation), Refusal::Annotation(refusal));
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(annotation: &str, text: &str) -> String {
        let mut findings = Findings::default();
        let cluster = ClusterName::parse("db").unwrap();
        let written = BTreeMap::from([(annotation.to_owned(), text.to_owned())]);
        let said = checked(&written, &cluster, &mut findings);
        let named = |names: &mut dyn Iterator<Item = &InstanceName>| {
            names.map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let switchover = said.switchover.map(|it| {
            let epoch = it.epoch.map(|epoch| format!(" in {epoch}")).unwrap_or_default();
            format!("switchover {} [{}]{epoch}\n", it.number, named(&mut it.target.iter()))
        });
        let restart = said
            .restart
            .map(|it| format!("restart {} [{}]\n", it.number, named(&mut it.instances.iter())));
        let reload = said.reload.map(|number| format!("reload {number}\n"));
        let mark = said.restarted_at.map(|mark| format!("restarted at {mark}\n"));
        let problems = findings.problems.iter().map(|problem| format!("refused: {problem}\n"));
        problems.chain(switchover).chain(restart).chain(reload).chain(mark).collect()
    }

    #[test]
    fn requests_are_read() {
        expect![[r#"
            switchover 3 []
            switchover 3 [db-2] in 7
            restart 1 []
            restart 2 [db-1,db-3]
            reload 7
            restarted at 2026-11-28T05:00:00Z
        "#]]
        .assert_eq(
            &[
                outcome(SWITCHOVER, r#"{"number":3}"#),
                outcome(SWITCHOVER, r#"{"number":3,"target":"db-2","epoch":7}"#),
                outcome(RESTART, r#"{"number":1}"#),
                outcome(RESTART, r#"{"number":2,"instances":["db-3","db-1"]}"#),
                outcome(RELOAD, "7"),
                outcome(RESTARTED_AT, "2026-11-28T05:00:00Z"),
            ]
            .concat(),
        );
    }

    #[test]
    fn what_is_not_a_request_is_refused_as_a_whole() {
        expect![[r#"
            refused: metadata.annotations["pgherd.dev/switchover"] is "db-2", which is not a request: write {"number":1,"target":"db-2"}, with a number that is higher than the last one
            refused: metadata.annotations["pgherd.dev/switchover"] names "shop-2", which is not an instance of this cluster: write a name such as "db-1", or remove the request
            refused: metadata.annotations["pgherd.dev/switchover"] is "{\"number\":3,\"to\":\"db-2\"}", which is not a request: write {"number":1,"target":"db-2"}, with a number that is higher than the last one
            refused: metadata.annotations["pgherd.dev/restart"] is "all", which is not a request: write {"number":1,"instances":["db-2"]}, with a number that is higher than the last one
            refused: metadata.annotations["pgherd.dev/restart"] names "2", which is not an instance of this cluster: write a name such as "db-1", or remove the request
            refused: metadata.annotations["pgherd.dev/reload"] is "now": write a number that is higher than the last one, such as 1
            refused: metadata.annotations["pgherd.dev/reload"] is "18446744073709551615": write a number that is higher than the last one, such as 1
        "#]].assert_eq(
            &[
                outcome(SWITCHOVER, "db-2"),
                outcome(SWITCHOVER, r#"{"number":3,"target":"shop-2"}"#),
                outcome(SWITCHOVER, r#"{"number":3,"to":"db-2"}"#),
                outcome(RESTART, "all"),
                outcome(RESTART, r#"{"number":2,"instances":["db-3","2"]}"#),
                outcome(RELOAD, "now"),
                outcome(RELOAD, "18446744073709551615"),
            ]
            .concat(),
        );
    }
}
