//! Says which labels and annotations of a pod or a volume came with the cluster, and how they change
//! on one that exists.
//!
//! Never takes away what somebody else has put there.

use super::labels::Texts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The annotation with the names of those that came with the cluster, as JSON.
const INHERITED: &str = "pgherd.dev/inherited";

/// The names of labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Names {
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

/// Notes on an object that is to be made what it inherits.
pub(super) fn note(metadata: &mut ObjectMeta, (labels, annotations): (&Texts, &Texts)) {
    let names = |texts: &Texts| texts.keys().cloned().collect();
    let names = Names { labels: names(labels), annotations: names(annotations) };
    if names == Names::default() {
        return;
    }
    if let Ok(text) = serde_json::to_string(&names) {
        metadata.annotations.get_or_insert_default().insert(INHERITED.to_owned(), text);
    }
}

/// What is to be written over an object that exists, so that it has what it would be made with now.
pub(in crate::cluster) fn change(present: &ObjectMeta, wanted: &ObjectMeta) -> Option<Value> {
    let (before, after) = (noted(present), noted(wanted));
    let of = |texts: &Option<Texts>| texts.clone().unwrap_or_default();
    let labels =
        differing((&before.labels, &after.labels), (&of(&present.labels), &of(&wanted.labels)));
    let mut annotations = differing(
        (&before.annotations, &after.annotations),
        (&of(&present.annotations), &of(&wanted.annotations)),
    );
    if before != after {
        let note = wanted.annotations.as_ref().and_then(|all| all.get(INHERITED));
        annotations.insert(INHERITED.to_owned(), json!(note));
    }
    let changes_nothing = labels.is_empty() && annotations.is_empty();
    let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
    (!changes_nothing).then_some(patch)
}

fn noted(metadata: &ObjectMeta) -> Names {
    let note = metadata.annotations.as_ref().and_then(|all| all.get(INHERITED));
    note.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What came and is not to be there any more goes; what is to be there comes.
fn differing(
    (before, after): (&BTreeSet<String>, &BTreeSet<String>),
    (present, wanted): (&Texts, &Texts),
) -> Map<String, Value> {
    let touched = before.union(after).filter(|name| present.get(*name) != wanted.get(*name));
    touched.map(|name| (name.clone(), json!(wanted.get(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifests::fixtures::Sample;
    use crate::cluster::manifests::{claims, pod};
    use expect_test::expect;

    fn sample(inherited: &str) -> Sample {
        Sample::spec(&format!(
            "instances: 3\nstorage: {{size: 1Gi}}\ninheritedMetadata: {inherited}"
        ))
    }

    /// Of the pod of the first instance.
    fn metadata(inherited: &str) -> ObjectMeta {
        let sample = sample(inherited);
        let first = sample.instance(1);
        sample.made(|it| pod::pod(it, &first).metadata)
    }

    #[test]
    fn only_what_came_with_the_cluster_changes_with_it() {
        let mut present = metadata("{labels: {team: green, cost: low}, annotations: {note: all}}");
        present.labels.get_or_insert_default().insert("hand".to_owned(), "made".to_owned());
        let told = |wanted: &str| match change(&present, &metadata(wanted)) {
            Some(patch) => format!("{}\n", patch["metadata"]),
            None => "nothing\n".to_owned(),
        };
        let told = [
            told("{labels: {team: green, cost: low}, annotations: {note: all}}"),
            told("{labels: {team: blue, hand: over}, annotations: {note: all}}"),
            told("{}"),
        ];
        expect![[r#"
            nothing
            {"annotations":{"pgherd.dev/inherited":"{\"labels\":[\"hand\",\"team\"],\"annotations\":[\"note\"]}"},"labels":{"cost":null,"hand":"over","team":"blue"}}
            {"annotations":{"note":null,"pgherd.dev/inherited":null},"labels":{"cost":null,"team":null}}
        "#]].assert_eq(&told.concat());
    }

    #[test]
    fn an_object_from_before_is_given_what_is_wanted_now() {
        let mut old = metadata("{}");
        old.labels.get_or_insert_default().insert("team".to_owned(), "green".to_owned());
        let patch = change(&old, &metadata("{labels: {team: blue}}")).unwrap();
        assert_eq!(patch["metadata"]["labels"]["team"], "blue");
        let same = sample("{labels: {team: blue}}");
        let first = same.instance(1);
        let claims = same.made(|it| claims::claims(it, &first, claims::ClaimStatus::Ready));
        assert_eq!(change(&claims[0].metadata, &claims[0].metadata), None);
        assert!(claims[0].metadata.annotations.as_ref().unwrap().contains_key(INHERITED));
    }
}
