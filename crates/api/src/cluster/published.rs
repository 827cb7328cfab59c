//! Compares our types with the published shape of the kind, field by field.
//!
//! Never passes a field that only one of the two knows without a reason.

use crate::cluster::Cluster;
use crate::manifest::ManifestError;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Fields that we know and the published shape does not, and why.
const OURS_ONLY: &[(&str, &str)] = &[];

/// Defaults that we leave to the API server, and why.
const DEFAULTS_LEFT: &[(&str, &str)] = &[
    ("spec.env[].valueFrom.fileKeyRef.optional", "a type of Kubernetes' own"),
    (
        "spec.managed.services.additional[].serviceTemplate.spec.ports[].protocol",
        "a type of Kubernetes' own",
    ),
];

fn spec_schema() -> Value {
    let text = include_str!("../../published/clusters.json");
    let crd: Value = serde_json::from_str(text).unwrap();
    crd["versions"][0]["schema"]["properties"]["spec"].clone()
}

/// A value that the schema accepts and that is not its default.
fn sample(schema: &Value) -> Value {
    let default = &schema["default"];
    if let Some(choices) = schema["enum"].as_array() {
        return choices.iter().find(|choice| *choice != default).unwrap().clone();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return json!("1Gi");
    }
    match schema["type"].as_str().unwrap() {
        "object" if schema["additionalProperties"].is_object() => {
            json!({ "key": sample(&schema["additionalProperties"]) })
        }
        "object" => Value::Object(required(schema)),
        "array" => json!([sample(&schema["items"])]),
        "boolean" => json!(*default != true),
        "integer" => json!(schema["minimum"].as_i64().unwrap_or(1).max(1) + 6),
        "string" if schema["format"] == "date-time" => json!("2026-11-22T22:00:00Z"),
        "string" => json!("text"),
        other => panic!("unknown type {other}"),
    }
}

fn required(schema: &Value) -> Map<String, Value> {
    let names = schema["required"].as_array().into_iter().flatten();
    let names = names.map(|name| name.as_str().unwrap().to_owned());
    names.map(|name| (name.clone(), sample(&schema["properties"][&name]))).collect()
}

/// What leads from the specification to an object somewhere within it.
#[derive(Clone)]
enum Step {
    Field { name: String, required: Map<String, Value> },
    Item,
    Entry,
}

fn manifest(steps: &[Step], inner: Value) -> String {
    let spec = steps.iter().rev().fold(inner, |inner, step| match step {
        Step::Field { name, required } => {
            let mut object = required.clone();
            object.insert(name.clone(), inner);
            Value::Object(object)
        }
        Step::Item => json!([inner]),
        Step::Entry => json!({ "key": inner }),
    });
    json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": { "name": "db" },
        "spec": spec,
    })
    .to_string()
}

fn shown(steps: &[Step]) -> String {
    let steps = steps.iter().map(|step| match step {
        Step::Field { name, .. } => format!(".{name}"),
        Step::Item => "[]".to_owned(),
        Step::Entry => "{}".to_owned(),
    });
    ["spec".to_owned()].into_iter().chain(steps).collect()
}

/// What is at the end of `steps` after reading and writing `text`.
fn survivor(text: &str, steps: &[Step]) -> Option<Value> {
    let (cluster, _) = Cluster::from_yaml(text).unwrap_or_else(|error| {
        panic!("{}: {error}\n{text}", shown(steps));
    });
    let written = serde_json::to_value(cluster).unwrap();
    steps
        .iter()
        .try_fold(written.get("spec")?, |value, step| match step {
            Step::Field { name, .. } => value.get(name),
            Step::Item => value.get(0),
            Step::Entry => value.get("key"),
        })
        .cloned()
}

/// Calls `visit` for every object in the schema that has fields of its own.
fn each_object(schema: &Value, steps: &mut Vec<Step>, visit: &mut dyn FnMut(&Value, &[Step])) {
    if let Some(properties) = schema["properties"].as_object() {
        visit(schema, steps);
        for (name, property) in properties {
            let mut required = required(schema);
            required.remove(name);
            steps.push(Step::Field { name: name.clone(), required });
            each_object(property, steps, visit);
            steps.pop();
        }
    }
    for (step, inner) in [(Step::Item, "items"), (Step::Entry, "additionalProperties")] {
        if schema[inner].is_object() {
            steps.push(step);
            each_object(&schema[inner], steps, visit);
            steps.pop();
        }
    }
}

fn field(schema: &Value, steps: &[Step], name: &str) -> Vec<Step> {
    let mut required = required(schema);
    required.remove(name);
    let step = Step::Field { name: name.to_owned(), required };
    steps.iter().cloned().chain([step]).collect()
}

#[test]
fn every_published_field_survives_reading_and_writing() {
    let mut fields = 0;
    each_object(&spec_schema(), &mut Vec::new(), &mut |schema, steps| {
        for (name, property) in schema["properties"].as_object().unwrap() {
            let steps = field(schema, steps, name);
            let value = sample(property);
            let survivor = survivor(&manifest(&steps, value.clone()), &steps);
            assert!(contains(&survivor.unwrap_or_default(), &value), "{}", shown(&steps));
            if property["x-kubernetes-int-or-string"] == true {
                assert!(self::survivor(&manifest(&steps, json!(7)), &steps).is_some());
            }
            fields += 1;
        }
    });
    assert_eq!(fields, 876);
}

#[test]
fn fields_that_only_we_know_have_a_reason() {
    let mut unexplained = BTreeSet::new();
    let mut explained: BTreeSet<_> = OURS_ONLY.iter().map(|(path, _)| *path).collect();
    each_object(&spec_schema(), &mut Vec::new(), &mut |schema, steps| {
        let mut object = required(schema);
        object.insert("noSuchField".to_owned(), json!(1));
        let error = Cluster::from_yaml(&manifest(steps, Value::Object(object))).unwrap_err();
        let ManifestError::Unknown { known, .. } = error else {
            panic!("{}: {error}", shown(steps));
        };
        for name in known {
            let path = format!("{}.{name}", shown(steps));
            let reason = OURS_ONLY.iter().find(|(end, _)| path.ends_with(end));
            match reason {
                _ if schema["properties"].get(name).is_some() => {}
                Some((end, _)) => _ = explained.remove(end),
                None => _ = unexplained.insert(path),
            }
        }
    });
    assert!(unexplained.is_empty(), "not in the published shape: {unexplained:#?}");
    assert!(explained.is_empty(), "reasons without a difference: {explained:?}");
}

#[test]
fn defaults_are_the_published_ones() {
    let mut wrong = BTreeSet::new();
    each_object(&spec_schema(), &mut Vec::new(), &mut |schema, steps| {
        let text = manifest(steps, Value::Object(required(schema)));
        for (name, property) in schema["properties"].as_object().unwrap() {
            let default = &property["default"];
            let steps = field(schema, steps, name);
            let path = shown(&steps);
            let left = DEFAULTS_LEFT.iter().any(|(known, _)| path == *known);
            let needed = schema["required"].as_array().is_some_and(|r| r.contains(&json!(name)));
            if default.is_null() || left || needed && path != "spec.instances" {
                continue;
            }
            let text =
                if path == "spec.instances" { manifest(&[], json!({})) } else { text.clone() };
            let ours = survivor(&text, &steps).unwrap_or_default();
            if !contains(&ours, default) {
                wrong.insert(format!("{path} is {ours}, not {default}"));
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether everything in `part` is in `whole`; `whole` may have more fields.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| contains(w, p))
        }
        _ => whole == part,
    }
}
