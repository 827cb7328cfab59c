//! Decides how fields of an object that was made here come to be owned as those of one that is applied.
//!
//! Never touches what others own.

use super::ensure::FIELD_MANAGER;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};

const APPLIED: &str = "Apply";
const MADE: &str = "Update";

/// What is to be written over an object before it is applied as `wanted`. Fields of one that was made by
/// a plain creation are owned by that: applying would leave whatever is not wanted any more where it
/// is.
pub(super) fn handed_over(present: &ObjectMeta, wanted: &impl Serialize) -> Option<Value> {
    let entries = present.managed_fields.as_deref()?;
    let made = entries.iter().find(|entry| is_ours(entry, MADE))?;
    let wanted = serde_json::to_value(wanted).unwrap_or_default();
    if !made.fields_v1.as_ref().is_some_and(|fields| has_more(&fields.0, &wanted)) {
        return None;
    }
    let applied = entries.iter().find(|entry| is_ours(entry, APPLIED));
    let fields = |entry: &ManagedFieldsEntry| {
        entry.fields_v1.as_ref().map(|fields| fields.0.clone()).unwrap_or_default()
    };
    let whole = match applied {
        Some(applied) => union(fields(made), fields(applied)),
        None => fields(made),
    };
    let base = applied.unwrap_or(made);
    let ours = ManagedFieldsEntry {
        operation: Some(APPLIED.to_owned()),
        fields_v1: Some(FieldsV1(whole)),
        ..base.clone()
    };
    let others = entries.iter().filter(|entry| !is_ours(entry, MADE) && !is_ours(entry, APPLIED));
    let all: Vec<&ManagedFieldsEntry> = others.chain([&ours]).collect();
    // Only over the version that was seen.
    let version = &present.resource_version;
    Some(json!({"metadata": {"resourceVersion": version, "managedFields": all}}))
}

fn is_ours(entry: &ManagedFieldsEntry, operation: &str) -> bool {
    let is = |text: &Option<String>, wanted: &str| text.as_deref() == Some(wanted);
    let of_whole = entry.subresource.as_ref().is_none_or(String::is_empty);
    of_whole && is(&entry.manager, FIELD_MANAGER) && is(&entry.operation, operation)
}

/// Whether a field is owned that is not `wanted`: in a list, whether there are more of its items.
fn has_more(fields: &Value, wanted: &Value) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    let items = fields.keys().filter(|key| key.starts_with("k:") || key.starts_with("v:")).count();
    let surplus = items > 0 && wanted.as_array().is_none_or(|all| items > all.len());
    surplus
        || fields.iter().any(|(key, below)| {
            let Some(name) = key.strip_prefix("f:") else { return false };
            wanted.get(name).is_none_or(|wanted| has_more(below, wanted))
        })
}

/// All fields that are in either set.
fn union(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut all: Map<String, Value> = one;
            for (name, below) in other {
                let known = all.remove(&name).unwrap_or_else(|| json!({}));
                all.insert(name, union(known, below));
            }
            Value::Object(all)
        }
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn object(entries: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"resourceVersion": "7", "managedFields": entries})).unwrap()
    }

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    #[test]
    fn what_was_made_is_owned_as_what_is_applied_and_others_keep_theirs() {
        let made = entry("pgherd", "Update", &json!({"f:metadata": {"f:labels": {"f:old": {}}}}));
        let theirs = entry("kubectl-label", "Update", &json!({"f:metadata": {}}));
        let keeps = json!({"metadata": {"labels": {"old": "", "new": ""}}});
        assert_eq!(handed_over(&object(&json!([made, theirs])), &keeps), None);
        let wanted = json!({"metadata": {"labels": {"new": ""}}});
        let patch = handed_over(&object(&json!([made, theirs])), &wanted).unwrap();
        expect![[r#"{"metadata":{"managedFields":[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{}},"manager":"kubectl-label","operation":"Update"},{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:old":{}}}},"manager":"pgherd","operation":"Apply"}],"resourceVersion":"7"}}"#]]
        .assert_eq(&patch.to_string());
        let after: ObjectMeta = serde_json::from_value(patch["metadata"].clone()).unwrap();
        assert_eq!(handed_over(&after, &wanted), None);
    }

    #[test]
    fn what_an_earlier_version_applied_over_what_it_had_made_keeps_both() {
        let made = entry("pgherd", "Update", &json!({"f:spec": {"f:a": {}, "f:b": {}}}));
        let applied = entry("pgherd", "Apply", &json!({"f:spec": {"f:b": {}, "f:c": {}}}));
        let patch = handed_over(&object(&json!([applied, made])), &json!({})).unwrap();
        let entries = patch["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(entries.len(), 1);
        let both = json!({"f:spec": {"f:a": {}, "f:b": {}, "f:c": {}}});
        assert_eq!(entries[0]["fieldsV1"], both);
        let status = json!([{"manager": "pgherd", "operation": "Update", "subresource": "status"}]);
        assert_eq!(handed_over(&object(&status), &json!({})), None);
    }

    #[test]
    fn an_item_less_is_a_field_less() {
        let fields = json!({"f:ports": {".": {}, "k:{\"port\":1}": {}, "k:{\"port\":2}": {}}});
        assert!(has_more(&fields, &json!({"ports": [{"port": 1}]})));
        assert!(!has_more(&fields, &json!({"ports": [{"port": 1}, {"port": 2}]})));
    }
}
