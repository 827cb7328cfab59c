//! Keeps the committed files equal to what the types say. `cargo xtask gen` runs these tests so that
//! they write instead of compare.
//!
//! Never passes a definition that `kubectl apply` could not take.

use super::{definitions, yaml};
use expect_test::expect_file;
use serde_json::Value;

/// What `kubectl apply` can note down beside an object.
const ANNOTATION_LIMIT: usize = 256 << 10;

fn name(definition: &Value) -> &str {
    definition["spec"]["names"]["plural"].as_str().unwrap()
}

#[test]
fn committed_definitions_are_fresh() {
    for definition in definitions() {
        let path = format!("../../../../deploy/crds/{}.yaml", name(&definition));
        expect_file![path].assert_eq(&yaml::document(&definition));
    }
}

#[test]
fn definitions_can_be_applied() {
    for definition in definitions() {
        let length = definition.to_string().len();
        assert!(length < ANNOTATION_LIMIT, "{}: {length} bytes", name(&definition));
    }
}

#[test]
fn every_field_of_ours_is_documented() {
    let mut silent = Vec::new();
    for definition in definitions() {
        let name = name(&definition);
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            let schema = &schema["properties"][part];
            if schema.is_object() {
                undocumented(schema, &format!("{name}: {part}"), &mut silent);
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// Below a field whose fields are all silent lies a type of Kubernetes' own.
fn undocumented(schema: &Value, path: &str, silent: &mut Vec<String>) {
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            undocumented(&schema[inner], path, silent);
        }
    }
    let Some(fields) = schema["properties"].as_object() else { return };
    if fields.values().all(|field| field["description"].is_null()) {
        return;
    }
    for (name, field) in fields {
        let path = format!("{path}.{name}");
        if field["description"].is_null() {
            silent.push(path.clone());
        }
        undocumented(field, &path, silent);
    }
}

#[test]
fn rules_are_where_they_say() {
    let mut rules = 0;
    for definition in definitions() {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        rules += count(schema);
    }
    assert_eq!(rules, super::rules().map(|(_, rules)| rules.len()).sum::<usize>());
}

fn count(schema: &Value) -> usize {
    let own = schema["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
    let fields = schema["properties"].as_object().into_iter().flatten().map(|(_, field)| field);
    let inner = ["items", "additionalProperties"].map(|inner| &schema[inner]);
    let inner = fields.chain(inner.into_iter().filter(|inner| inner.is_object()));
    own + inner.map(count).sum::<usize>()
}
