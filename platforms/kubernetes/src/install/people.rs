//! Makes what people may do with our kinds, as part of the roles that every Kubernetes has.
//!
//! Never more than the role they become part of lets people do with other kinds: `view` reads,
//! `edit` and `admin` write, and nobody writes a status.

use super::labels;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pgherd_api::kind::GROUP;
use serde_json::Value;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

/// The roles, for the kinds that these definitions are of.
pub(super) fn roles(definitions: &[Value]) -> [ClusterRole; 2] {
    let plural = |it: &Value| Some(it.pointer("/spec/names/plural")?.as_str()?.to_owned());
    let resources: Vec<String> = definitions.iter().filter_map(plural).collect();
    [
        role("pgherd-view", &["view", "edit", "admin"], (&resources, READ)),
        role("pgherd-edit", &["edit", "admin"], (&resources, WRITE)),
    ]
}

fn role(name: &str, part_of: &[&str], (resources, verbs): (&[String], &[&str])) -> ClusterRole {
    let part =
        |role: &&str| (format!("rbac.authorization.k8s.io/aggregate-to-{role}"), "true".to_owned());
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels().into_iter().chain(part_of.iter().map(part)).collect()),
        ..ObjectMeta::default()
    };
    let rule = PolicyRule {
        api_groups: Some(vec![GROUP.to_owned()]),
        resources: Some(resources.to_vec()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    ClusterRole { metadata, rules: Some(vec![rule]), aggregation_rule: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn who_may_look_may_not_write() {
        let definitions = [json!({"spec": {"names": {"plural": "clusters"}}})];
        let shown = roles(&definitions).map(|role| {
            let labels = role.metadata.labels.unwrap().into_keys();
            let parts =
                labels.filter_map(|label| Some(label.split_once("aggregate-to-")?.1.to_owned()));
            let parts = parts.collect::<Vec<_>>().join(" ");
            let rule = role.rules.unwrap().remove(0);
            format!("{parts}: {} {}\n", rule.resources.unwrap().join(" "), rule.verbs.join(" "))
        });
        expect![[r#"
            admin edit view: clusters get list watch
            admin edit: clusters create update patch delete deletecollection
        "#]]
        .assert_eq(&shown.concat());
    }
}
