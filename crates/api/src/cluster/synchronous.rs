//! Decides what a commit waits for: nothing, or a number of standbys.
//!
//! Never accepts a number of standbys that the cluster can never have.

use super::annotations::{self, DEFAULT_MAX_LAG, MAX_LAG};
use super::problem::{Findings, Refusal};
use super::spec::ClusterSpec;
use crate::field::FieldPath;
use crate::warning::Caution;
use pgherd_core::intent::Durability;
use pgherd_core::units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Commits wait until standbys have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synchronous {
    /// How the standbys that are waited for are chosen.
    pub method: Method,
    /// How many standbys have to confirm a commit; at least 1.
    pub number: i64,
    /// What happens when fewer than `number` standbys are there. Default: `required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_durability: Option<DataDurability>,
    /// Promote a standby only when it surely has every confirmed commit. Always the case here,
    /// whatever is written. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover_quorum: Option<bool>,
    /// How many of the cluster's instances may be waited for; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_standby_names_from_cluster: Option<i64>,
    /// Names (`application_name`) of standbys outside the cluster, put before its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby_names_pre: Vec<String>,
    /// Names (`application_name`) of standbys outside the cluster, put after its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby_names_post: Vec<String>,
    /// Labels of pods that make up a failure domain; the standbys waited for lie in other domains
    /// than the primary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_failure_domain_keys: Vec<String>,
    /// Labels of nodes that make up a failure domain; the standbys waited for lie in other domains
    /// than the primary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_failure_domain_keys: Vec<String>,
}

/// How the standbys that are waited for are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// Any `number` of them, whichever confirm first.
    #[serde(rename = "any")]
    Any,
    /// The first `number` of them, in the order of their names.
    #[serde(rename = "first")]
    First,
}

/// What happens when there are too few standbys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataDurability {
    /// Commits wait until there are enough again: nothing confirmed is ever lost.
    #[serde(rename = "required")]
    Required,
    /// Commits go on with the standbys that are left, even with none: a later failure may lose
    /// them.
    #[serde(rename = "preferred")]
    Preferred,
}

/// Which standbys may be synchronous.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncReplicaElectionConstraint {
    /// Choose standbys on nodes that differ from the primary's.
    pub enabled: bool,
    /// The labels of nodes that have to differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_labels_anti_affinity: Vec<String>,
}

/// Why the wish for synchronous commits is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum SynchronousRefusal {
    #[error(
        "is {given}, but a commit waits for one standby at least: write 1 or more, or remove the whole field for asynchronous commits"
    )]
    Nobody { given: i64 },
    #[error(
        "is {given}, but there can be no more than {standbys} standbys, so that no commit would ever succeed: write at most {standbys} or raise spec.instances"
    )]
    TooMany { given: i64, standbys: i64 },
    #[error(
        "is set, but a single instance has no standby, so that no commit would ever succeed: raise spec.instances or remove it"
    )]
    Alone,
    #[error(
        "is preferred, but standbys outside the cluster cannot be left out: write required or remove standbyNamesPre and standbyNamesPost"
    )]
    PreferredOutside,
    #[error("is {given}, but the number of standbys cannot be negative: write 0 or more")]
    Negative { given: i64 },
    #[error("is {min}, more than maxSyncReplicas ({max}): lower it")]
    MinAboveMax { min: i64, max: i64 },
    #[error(
        "is {max}, but there can be no more than {standbys} standbys: write at most {standbys} or raise spec.instances"
    )]
    MaxTooMany { max: i64, standbys: i64 },
}

/// When a commit counts in a cluster that has standbys. `max_lag` is what its author said of
/// asynchronous commits.
pub(super) fn durability(
    spec: &ClusterSpec,
    standbys: i64,
    max_lag: Option<Bytes>,
    findings: &mut Findings,
) -> Durability {
    let durability = match &spec.postgresql.synchronous {
        Some(synchronous) => {
            legacy_unused(spec, findings);
            current(synchronous, standbys, findings)
        }
        None => legacy(spec, standbys, findings),
    };
    if let (Some(_), Some(given)) = (durability, max_lag) {
        findings.warn(&annotations::place(MAX_LAG), Caution::MaxLagUnused { given });
    }
    let max_lag = max_lag.unwrap_or(DEFAULT_MAX_LAG);
    durability.unwrap_or(Durability::Asynchronous { max_lag })
}

fn current(
    synchronous: &Synchronous,
    standbys: i64,
    findings: &mut Findings,
) -> Option<Durability> {
    let place = FieldPath::of("spec.postgresql.synchronous");
    let number = place.name("number");
    let given = synchronous.number;
    let mut refuse =
        |path: &FieldPath, refusal| findings.refuse(path, Refusal::Synchronous(refusal));
    let acks = usize::try_from(given).ok().filter(|acks| *acks > 0);
    let durability = match (acks, synchronous.data_durability.unwrap_or(DataDurability::Required)) {
        (None, _) => {
            refuse(&number, SynchronousRefusal::Nobody { given });
            None
        }
        (Some(acks), DataDurability::Required) => {
            if standbys == 0 {
                refuse(&place, SynchronousRefusal::Alone);
            } else if given > standbys {
                refuse(&number, SynchronousRefusal::TooMany { given, standbys });
            }
            Some(Durability::Required { acks })
        }
        (Some(acks), DataDurability::Preferred) => {
            let outside = [&synchronous.standby_names_pre, &synchronous.standby_names_post];
            if outside.iter().any(|names| !names.is_empty()) {
                refuse(&place.name("dataDurability"), SynchronousRefusal::PreferredOutside);
            }
            if given > standbys {
                let standbys = u64::try_from(standbys).unwrap_or(0);
                findings.warn(&number, Caution::FewerStandbys { standbys });
            }
            Some(Durability::Preferred { acks })
        }
    };
    let pods = !synchronous.pod_failure_domain_keys.is_empty();
    if pods && !synchronous.node_failure_domain_keys.is_empty() {
        let both = Refusal::Both { other: "nodeFailureDomainKeys" };
        findings.refuse(&place.name("podFailureDomainKeys"), both);
    }
    if synchronous.method == Method::First {
        findings.warn(&place.name("method"), Caution::FirstIsAny);
    }
    durability
}

/// The older fields ask for a number of standbys and go on with fewer when there are fewer.
fn legacy(spec: &ClusterSpec, standbys: i64, findings: &mut Findings) -> Option<Durability> {
    let (min, max) = (spec.min_sync_replicas, spec.max_sync_replicas);
    let (min_place, max_place) =
        (FieldPath::of("spec.minSyncReplicas"), FieldPath::of("spec.maxSyncReplicas"));
    let refused = if max < 0 {
        Some((max_place.clone(), SynchronousRefusal::Negative { given: max }))
    } else if min < 0 {
        Some((min_place, SynchronousRefusal::Negative { given: min }))
    } else if min > max {
        Some((min_place, SynchronousRefusal::MinAboveMax { min, max }))
    } else if max > standbys {
        Some((max_place.clone(), SynchronousRefusal::MaxTooMany { max, standbys }))
    } else {
        None
    };
    if let Some((path, refusal)) = refused {
        findings.refuse(&path, Refusal::Synchronous(refusal));
        return None;
    }
    let acks = usize::try_from(max).ok().filter(|acks| *acks > 0)?;
    findings.warn(&max_place, Caution::LegacySynchronous { number: max });
    Some(Durability::Preferred { acks })
}

fn legacy_unused(spec: &ClusterSpec, findings: &mut Findings) {
    let both = || Refusal::Both { other: "spec.postgresql.synchronous" };
    for (name, given) in
        [("minSyncReplicas", spec.min_sync_replicas), ("maxSyncReplicas", spec.max_sync_replicas)]
    {
        if given != 0 {
            findings.refuse(&FieldPath::of("spec").name(name), both());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use expect_test::expect;

    /// What a specification (flow style) means, with a lag that its author allows.
    fn outcome(spec: &str, max_lag: Option<Bytes>) -> String {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{{spec}}}}}"
        );
        let (cluster, _) = Cluster::from_yaml(&text).unwrap();
        let mut findings = Findings::default();
        let durability =
            durability(&cluster.spec, cluster.spec.instances - 1, max_lag, &mut findings);
        let problems = findings.problems.iter().map(|problem| format!("refused: {problem}\n"));
        let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let found: String = problems.chain(warnings).collect();
        if found.starts_with("refused") { found } else { format!("{found}{durability:?}\n") }
    }

    fn synchronous(instances: u8, synchronous: &str) -> String {
        let spec =
            format!("instances: {instances}, postgresql: {{synchronous: {{{synchronous}}}}}");
        outcome(&spec, None)
    }

    #[test]
    fn without_a_wish_commits_are_asynchronous() {
        expect![[r#"
            Asynchronous { max_lag: Bytes(16777216) }
            Asynchronous { max_lag: Bytes(1073741824) }
            Asynchronous { max_lag: Bytes(16777216) }
        "#]]
        .assert_eq(
            &[
                outcome("instances: 3", None),
                outcome("instances: 3", Some(Bytes(1 << 30))),
                outcome("instances: 1, minSyncReplicas: 0, maxSyncReplicas: 0", None),
            ]
            .concat(),
        );
    }

    #[test]
    fn a_number_of_standbys_makes_them_synchronous() {
        let lag = Some(Bytes(1 << 20));
        let any = "postgresql: {synchronous: {method: any, number: 1}}";
        expect![[r#"
            Required { acks: 1 }
            Required { acks: 2 }
            warning: spec.postgresql.synchronous.method is first, which is treated like any: commits wait for as many standbys, but for whichever confirm first
            Preferred { acks: 2 }
            warning: spec.postgresql.synchronous.number is more than there can be standbys (1): commits wait for those only
            Preferred { acks: 3 }
            Required { acks: 1 }
            warning: metadata.annotations["pgherd.dev/maxLag"] is 1.0 MiB, but is not used: with synchronous commits no standby that lags is promoted
            Required { acks: 1 }
        "#]].assert_eq(
            &[
                synchronous(3, "method: any, number: 1"),
                synchronous(3, "method: any, number: 2, dataDurability: required"),
                synchronous(5, "method: first, number: 2, dataDurability: preferred"),
                synchronous(2, "method: any, number: 3, dataDurability: preferred"),
                synchronous(3, "method: any, number: 1, failoverQuorum: false"),
                outcome(&format!("instances: 3, {any}"), lag),
            ]
            .concat(),
        );
    }

    #[test]
    fn numbers_that_no_commit_could_reach_are_refused() {
        expect![[r#"
            refused: spec.postgresql.synchronous.number is 0, but a commit waits for one standby at least: write 1 or more, or remove the whole field for asynchronous commits
            refused: spec.postgresql.synchronous.number is -1, but a commit waits for one standby at least: write 1 or more, or remove the whole field for asynchronous commits
            refused: spec.postgresql.synchronous.number is 3, but there can be no more than 2 standbys, so that no commit would ever succeed: write at most 2 or raise spec.instances
            refused: spec.postgresql.synchronous is set, but a single instance has no standby, so that no commit would ever succeed: raise spec.instances or remove it
            refused: spec.postgresql.synchronous.dataDurability is preferred, but standbys outside the cluster cannot be left out: write required or remove standbyNamesPre and standbyNamesPost
            refused: spec.postgresql.synchronous.podFailureDomainKeys and nodeFailureDomainKeys are both set, but only one of them can be meant: remove one
        "#]].assert_eq(
            &[
                synchronous(3, "method: any, number: 0"),
                synchronous(3, "method: any, number: -1, dataDurability: preferred"),
                synchronous(3, "method: any, number: 3"),
                synchronous(1, "method: any, number: 1"),
                synchronous(
                    3,
                    "method: any, number: 1, dataDurability: preferred, standbyNamesPre: [x]",
                ),
                synchronous(
                    3,
                    "method: any, number: 1, podFailureDomainKeys: [a], nodeFailureDomainKeys: [b]",
                ),
            ]
            .concat(),
        );
    }

    #[test]
    fn the_older_fields_mean_preferred() {
        let both =
            "instances: 3, maxSyncReplicas: 1, postgresql: {synchronous: {method: any, number: 1}}";
        expect![[r#"
            warning: spec.maxSyncReplicas is the older way to ask for synchronous commits: write spec.postgresql.synchronous with method: any, number: 2 and dataDurability: preferred
            Preferred { acks: 2 }
            warning: spec.maxSyncReplicas is the older way to ask for synchronous commits: write spec.postgresql.synchronous with method: any, number: 1 and dataDurability: preferred
            Preferred { acks: 1 }
            refused: spec.minSyncReplicas is 2, more than maxSyncReplicas (1): lower it
            refused: spec.minSyncReplicas is 1, more than maxSyncReplicas (0): lower it
            refused: spec.maxSyncReplicas is 3, but there can be no more than 2 standbys: write at most 2 or raise spec.instances
            refused: spec.maxSyncReplicas is -1, but the number of standbys cannot be negative: write 0 or more
            refused: spec.minSyncReplicas is -1, but the number of standbys cannot be negative: write 0 or more
            refused: spec.maxSyncReplicas and spec.postgresql.synchronous are both set, but only one of them can be meant: remove one
        "#]].assert_eq(
            &[
                outcome("instances: 3, minSyncReplicas: 1, maxSyncReplicas: 2", None),
                outcome("instances: 3, maxSyncReplicas: 1", None),
                outcome("instances: 3, minSyncReplicas: 2, maxSyncReplicas: 1", None),
                outcome("instances: 3, minSyncReplicas: 1", None),
                outcome("instances: 3, maxSyncReplicas: 3", None),
                outcome("instances: 3, maxSyncReplicas: -1", None),
                outcome("instances: 3, minSyncReplicas: -1", None),
                outcome(both, None),
            ]
            .concat(),
        );
    }
}
