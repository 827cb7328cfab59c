//! Clusters to make objects of, and ways to show them.
//!
//! Never anything that ships.

use super::Blueprint;
use crate::settings::Settings;
use pgherd_api::cluster::{Checked, Cluster};
use pgherd_core::names::InstanceName;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A cluster that was written and checked.
pub(crate) struct Sample {
    pub(crate) cluster: Cluster,
    checked: Checked,
    variables: BTreeMap<String, String>,
}

impl Sample {
    /// The smallest manifest of three instances.
    pub(crate) fn minimal() -> Self {
        Self::spec("instances: 3\nstorage: {size: 1Gi}")
    }

    /// A cluster `db` with this specification.
    pub(crate) fn spec(spec: &str) -> Self {
        let spec = spec.replace('\n', "\n  ");
        Self::written(&format!("metadata: {{name: db, uid: 5f2c}}\nspec:\n  {spec}\n"))
    }

    /// The same with annotations.
    pub(crate) fn annotated(annotations: &str, spec: &str) -> Self {
        let spec = spec.replace('\n', "\n  ");
        Self::written(&format!(
            "metadata: {{name: db, uid: 5f2c, annotations: {annotations}}}\nspec:\n  {spec}\n"
        ))
    }

    /// A cluster with this metadata and specification.
    pub(crate) fn written(rest: &str) -> Self {
        let text = format!("apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\n{rest}");
        let (cluster, _) = Cluster::from_yaml(&text).unwrap();
        let (checked, _) = cluster.checked().unwrap();
        let image = "ghcr.io/pgherd/pgherd:1.2.3".to_owned();
        let variables = BTreeMap::from([
            ("OPERATOR_IMAGE_NAME".to_owned(), image),
            ("POD_NAMESPACE".to_owned(), "pgherd-system".to_owned()),
        ]);
        Self { cluster, checked, variables }
    }

    /// The same with another variable for the operator.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with an image in its status.
    pub(crate) fn noted_image(mut self, image: &str) -> Self {
        let status = self.cluster.status.get_or_insert_default();
        status.image = Some(image.to_owned());
        // It has begun.
        status.system_id = Some("7".to_owned());
        self
    }

    pub(crate) fn instance(&self, serial: u32) -> InstanceName {
        InstanceName::new(&self.checked.name, serial)
    }

    pub(crate) fn made<T>(&self, make: impl FnOnce(&Blueprint<'_>) -> T) -> T {
        let settings = Settings::parse(&self.variables).unwrap();
        let (cluster, checked) = (&self.cluster, &self.checked);
        make(&Blueprint {
            cluster,
            checked,
            namespace: "shop",
            settings: &settings,
            catalog_image: None,
            held_image: None,
        })
    }

    /// An object as text.
    pub(crate) fn shown<T: Serialize>(&self, make: impl FnOnce(&Blueprint<'_>) -> T) -> String {
        shown(&self.made(make))
    }

    /// How an object differs from that of the smallest manifest.
    pub(crate) fn differs<T: Serialize>(&self, make: impl Fn(&Blueprint<'_>) -> T) -> String {
        difference(&Self::minimal().made(&make), &self.made(&make))
    }
}

/// An object much like YAML, with short parts on one line, and without what it has in common with
/// all objects of the cluster.
pub(crate) fn shown(object: &impl Serialize) -> String {
    let mut value = serde_json::to_value(object).unwrap();
    strip(&mut value);
    block(&value, 0)
}

/// Takes the common part of the metadata away where it is complete; else it stays to be seen.
fn strip(value: &mut Value) {
    if let Value::Array(items) = value {
        items.iter_mut().for_each(strip);
    }
    let common =
        Sample::minimal().made(|it| serde_json::to_value(it.metadata(String::new())).unwrap());
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let labels = common["labels"].as_object().unwrap();
    let is_complete =
        ["namespace", "ownerReferences"].iter().all(|it| metadata[*it] == common[*it])
            && labels.iter().all(|(name, value)| metadata["labels"][name] == *value);
    if is_complete {
        metadata.retain(|name, _| name != "namespace" && name != "ownerReferences");
        let left = metadata["labels"].as_object_mut().unwrap();
        left.retain(|name, _| !labels.contains_key(name));
        let none = left.is_empty();
        metadata.retain(|name, _| !(none && name == "labels"));
    }
}

fn block(value: &Value, indent: usize) -> String {
    let blanks = " ".repeat(indent);
    let part = |head: String, value: &Value| {
        let line = flow(value);
        if indent + head.len() + line.len() < 84 || !(value.is_object() || value.is_array()) {
            return format!("{blanks}{head} {line}\n");
        }
        let inner = block(value, indent + 2);
        match head.as_str() {
            // The first line begins behind the dash.
            "-" => format!("{blanks}- {}", inner.trim_start()),
            _ => format!("{blanks}{head}\n{inner}"),
        }
    };
    match value {
        Value::Object(fields) => {
            let lines = fields.iter().map(|(name, value)| part(format!("{name}:"), value));
            lines.collect::<Vec<_>>().concat()
        }
        Value::Array(items) => {
            let lines = items.iter().map(|item| part("-".to_owned(), item));
            lines.collect::<Vec<_>>().concat()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            format!("{blanks}{}\n", flow(value))
        }
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", flow(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Whether a text is one without quotes, too.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    begins && !["true", "false", "null"].contains(&text)
}

/// The values that are in one of two objects only, each with its place.
pub(crate) fn difference(old: &impl Serialize, new: &impl Serialize) -> String {
    let (old, new) = (leaves(old), leaves(new));
    let removed = old.difference(&new).map(|leaf| (leaf, '-'));
    let added = new.difference(&old).map(|leaf| (leaf, '+'));
    let all: BTreeSet<_> = removed.chain(added).collect();
    let line =
        |((place, value), sign): (&(String, String), char)| format!("{sign} {place}: {value}\n");
    all.into_iter().map(line).collect::<Vec<_>>().concat()
}

fn leaves(object: &impl Serialize) -> BTreeSet<(String, String)> {
    let mut leaves = BTreeSet::new();
    collect(String::new(), &serde_json::to_value(object).unwrap(), &mut leaves);
    leaves
}

fn collect(place: String, value: &Value, leaves: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if place.is_empty() { "" } else { "." };
                collect(format!("{place}{dot}{name}"), value, leaves);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                // A name says more than a number, and stays when others come before it.
                let name = item.get("name").and_then(Value::as_str);
                let item_name = name.map_or_else(|| index.to_string(), ToOwned::to_owned);
                collect(format!("{place}[{item_name}]"), item, leaves);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            leaves.insert((place, value.to_string()));
        }
    }
}
