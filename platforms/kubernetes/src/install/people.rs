//! Makes what people may do with our kinds, as part of the roles that every Kubernetes has.
//!
//! Never more than the role they become part of lets people do with other kinds: `view` reads,
//! `edit` and `admin` write, and nobody writes a status.

use super::labels;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::collections::BTreeMap;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

/// The roles, for the kinds that these definitions are of.
pub(super) fn roles(definitions: &[Value]) -> [ClusterRole; 2] {
    let mut resources = Resources::new();
    for definition in definitions {
        let text = |at: &str| definition.pointer(at).and_then(Value::as_str).map(str::to_owned);
        if let (Some(group), Some(plural)) = (text("/spec/group"), text("/spec/names/plural")) {
            resources.entry(group).or_default().push(plural);
        }
    }
    [
        role("pgherd-view", &["view", "edit", "admin"], (&resources, READ)),
        role("pgherd-edit", &["edit", "admin"], (&resources, WRITE)),
    ]
}

/// The plurals of the kinds of each API group.
type Resources = BTreeMap<String, Vec<String>>;

fn role(name: &str, part_of: &[&str], (resources, verbs): (&Resources, &[&str])) -> ClusterRole {
    let part =
        |role: &&str| (format!("rbac.authorization.k8s.io/aggregate-to-{role}"), "true".to_owned());
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels().into_iter().chain(part_of.iter().map(part)).collect()),
        ..ObjectMeta::default()
    };
    let rules = resources.iter().map(|(group, plurals)| PolicyRule {
        api_groups: Some(vec![group.clone()]),
        resources: Some(plurals.clone()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    });
    ClusterRole { metadata, rules: Some(rules.collect()), aggregation_rule: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn who_may_look_may_not_write() {
        let definition = |group: &str, plural: &str| json!({"spec": {"group": group, "names": {"plural": plural}}});
        let definitions = [definition("b", "clusters"), definition("a", "dumps")];
        let shown = roles(&definitions).map(|role| {
            let labels = role.metadata.labels.unwrap().into_keys();
            let parts =
                labels.filter_map(|label| Some(label.split_once("aggregate-to-")?.1.to_owned()));
            let parts = parts.collect::<Vec<_>>().join(" ");
            let rules = role.rules.unwrap().into_iter().map(|rule| {
                let of = |list: Option<Vec<String>>| list.unwrap().join(" ");
                let (groups, resources) = (of(rule.api_groups), of(rule.resources));
                format!("{parts}: {groups} {resources} {}\n", rule.verbs.join(" "))
            });
            rules.collect::<String>()
        });
        expect![[r#"
            admin edit view: a dumps get list watch
            admin edit view: b clusters get list watch
            admin edit: a dumps create update patch delete deletecollection
            admin edit: b clusters create update patch delete deletecollection
        "#]]
        .assert_eq(&shown.concat());
    }
}
