//! Says what the operator and the agents may do at the API server: one table for the watches, for
//! the operator's role and for the agents'.
//!
//! Never a right that nothing here uses.

use crate::cluster::manifests::{Blueprint, services, specification};
use crate::stores;
use crate::unacted;
use k8s_openapi::api::rbac::v1::PolicyRule;
use pgherd_api::kind::{GROUP, OWN_GROUP};
use std::collections::{BTreeMap, BTreeSet};

/// What may be done with one kind of object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    pub group: String,
    pub resource: String,
    pub verbs: &'static [&'static str],
}

/// What a watch takes, and reading one that is not known yet.
pub const READ: &[&str] = &["get", "list", "watch"];

/// In the order in which people write them.
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];

/// What the operator may do beside what it watches of clusters.
const FURTHER: [(&str, &str, &[&str]); 18] = [
    (GROUP, "clusters", READ),
    (GROUP, "backups", READ),
    (GROUP, "backups", &["create"]),
    (GROUP, "backups/status", &["patch"]),
    (GROUP, "scheduledbackups", READ),
    (GROUP, "scheduledbackups/status", &["patch"]),
    (OWN_GROUP, "dumps", READ),
    (OWN_GROUP, "dumps", &["create"]),
    (OWN_GROUP, "dumps/status", &["patch"]),
    (OWN_GROUP, "scheduleddumps", READ),
    (OWN_GROUP, "scheduleddumps/status", &["patch"]),
    (GROUP, "imagecatalogs", READ),
    (GROUP, "clusterimagecatalogs", READ),
    (GROUP, "clusters/status", &["patch"]),
    // Owners that block their own deletion need it.
    (GROUP, "clusters/finalizers", &["update"]),
    // It is elected by one of its own.
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    // Some distributions ask for it where addresses are written.
    ("discovery.k8s.io", "endpointslices/restricted", &["create", "update"]),
    ("", "events", &["create"]),
];

/// What an agent may do.
struct AgentRight {
    group: &'static str,
    resource: &'static str,
    which: Which,
    verbs: &'static [&'static str],
}

/// Which objects of the namespace are meant.
#[derive(Clone, Copy)]
enum Which {
    /// The Lease with the record, and the Cluster.
    Cluster,
    Route,
    Specification,
    All,
}

const AGENTS: [AgentRight; 5] = [
    AgentRight {
        group: "coordination.k8s.io",
        resource: "leases",
        which: Which::Cluster,
        verbs: &["get", "update"],
    },
    AgentRight {
        group: "discovery.k8s.io",
        resource: "endpointslices",
        which: Which::Route,
        verbs: &["get", "update"],
    },
    // Where the other instances are; slices have names that are not known before.
    AgentRight {
        group: "discovery.k8s.io",
        resource: "endpointslices",
        which: Which::All,
        verbs: &["list", "watch"],
    },
    AgentRight { group: "", resource: "configmaps", which: Which::Specification, verbs: READ },
    AgentRight {
        group: GROUP,
        resource: "clusters",
        which: Which::Cluster,
        verbs: &["get", "watch"],
    },
];

/// The rules of the operator's role. Whoever gives rights away has to have them: what agents may
/// do is among them.
pub fn operator() -> Vec<PolicyRule> {
    let of = |(group, resource, verbs): (&str, &str, &'static [&'static str])| Right {
        group: group.to_owned(),
        resource: resource.to_owned(),
        verbs,
    };
    let agents = AGENTS.iter().map(|right| of((right.group, right.resource, right.verbs)));
    merged(
        stores::rights().into_iter().chain(unacted::rights()).chain(FURTHER.map(of)).chain(agents),
    )
}

/// The rules of the role of a cluster's agents.
pub(crate) fn agents(blueprint: &Blueprint<'_>) -> Vec<PolicyRule> {
    let rules = AGENTS.iter().map(|right| {
        let name = match right.which {
            Which::Cluster => Some(blueprint.name().to_owned()),
            Which::Route => Some(services::of_primary(&blueprint.checked.name)),
            Which::Specification => Some(specification::name(&blueprint.checked.name)),
            Which::All => None,
        };
        PolicyRule {
            resource_names: name.map(|name| vec![name]),
            ..rule(right.group, vec![right.resource.to_owned()], right.verbs)
        }
    });
    rules.collect()
}

/// One rule for all kinds of a group that the same may be done with.
fn merged(rights: impl Iterator<Item = Right>) -> Vec<PolicyRule> {
    let mut verbs: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for right in rights {
        verbs.entry((right.group, right.resource)).or_default().extend(right.verbs);
    }
    let mut resources: BTreeMap<(String, Vec<&str>), Vec<String>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        let verbs = VERBS.into_iter().filter(|verb| verbs.contains(verb)).collect();
        resources.entry((group, verbs)).or_default().push(resource);
    }
    let rules = resources.into_iter();
    rules.map(|((group, verbs), resources)| rule(&group, resources, &verbs)).collect()
}

fn rule(group: &str, resources: Vec<String>, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifests::fixtures::Sample;
    use expect_test::expect;

    /// Every single thing that is allowed.
    fn single(rules: &[PolicyRule]) -> BTreeSet<[String; 3]> {
        let each = rules.iter().flat_map(|rule| {
            let groups = rule.api_groups.iter().flatten();
            groups.flat_map(move |group| {
                let resources = rule.resources.iter().flatten();
                resources.flat_map(move |resource| {
                    let verbs = rule.verbs.iter();
                    verbs.map(move |verb| [group.clone(), resource.clone(), verb.clone()])
                })
            })
        });
        each.collect()
    }

    #[test]
    fn the_operator_may_what_it_watches_and_what_it_allows_others() {
        let operator = single(&operator());
        let agents = single(&Sample::minimal().made(agents));
        assert_eq!(agents.difference(&operator).collect::<Vec<_>>(), Vec::<&[String; 3]>::new());
        for right in stores::rights() {
            for verb in READ.iter().chain(right.verbs) {
                let one = [right.group.clone(), right.resource.clone(), (*verb).to_owned()];
                assert!(operator.contains(&one), "{one:?}");
            }
        }
    }

    #[test]
    fn every_verb_is_one_that_is_written_out() {
        let known = VERBS.map(str::to_owned);
        let agents = Sample::minimal().made(agents);
        let further = FURTHER.iter().flat_map(|(_, _, verbs)| *verbs).copied();
        let stores = stores::rights().into_iter().flat_map(|right| right.verbs).copied();
        let agents = agents.iter().flat_map(|rule| rule.verbs.iter().map(String::as_str));
        let unknown =
            further.chain(stores).chain(agents).filter(|verb| !known.contains(&(*verb).to_owned()));
        assert_eq!(unknown.count(), 0);
    }

    #[test]
    fn the_operator_may_this() {
        let line = |rule: &PolicyRule| {
            let all = |list: &[String]| list.join(" ");
            let groups = rule.api_groups.as_deref().unwrap_or_default();
            let resources = rule.resources.as_deref().unwrap_or_default();
            format!("{:?} {}: {}\n", all(groups), all(resources), all(&rule.verbs))
        };
        expect![[r#"
            "" events: create
            "" configmaps serviceaccounts: get list watch create patch
            "" persistentvolumeclaims pods secrets services: get list watch create patch delete
            "coordination.k8s.io" leases: get list watch create update
            "discovery.k8s.io" endpointslices/restricted: create update
            "discovery.k8s.io" endpointslices: get list watch create update
            "pgherd.dev" scheduleddumps: get list watch
            "pgherd.dev" dumps: get list watch create
            "pgherd.dev" dumps/status scheduleddumps/status: patch
            "policy" poddisruptionbudgets: get list watch create patch delete
            "postgresql.cnpg.io" clusterimagecatalogs clusters imagecatalogs scheduledbackups: get list watch
            "postgresql.cnpg.io" backups: get list watch create
            "postgresql.cnpg.io" databaseroles databases poolers publications subscriptions: list watch
            "postgresql.cnpg.io" backups/status clusters/status databaseroles/status databases/status publications/status scheduledbackups/status subscriptions/status: patch
            "postgresql.cnpg.io" clusters/finalizers: update
            "rbac.authorization.k8s.io" rolebindings roles: get list watch create patch
        "#]]
        .assert_eq(&operator().iter().map(line).collect::<String>());
    }
}
