//! Makes the custom resource definitions: what the API server knows of our kinds.
//!
//! Never says anything about a field that its type and its documentation do not say.

#[cfg(test)]
mod generated;
mod kubernetes;
#[cfg(test)]
mod published;
mod schema;
pub mod yaml;

use crate::backup::Backup;
use crate::cluster::Cluster;
use crate::database::Database;
use crate::database_role::DatabaseRole;
use crate::dump::Dump;
use crate::failover_quorum::FailoverQuorum;
use crate::image_catalog::{ClusterImageCatalog, ImageCatalog};
use crate::kind::{Column, Kind, Rule, Scope, Shown, Subresources};
use crate::pooler::Pooler;
use crate::publication::Publication;
use crate::scheduled_backup::ScheduledBackup;
use crate::scheduled_dump::ScheduledDump;
use crate::subscription::Subscription;
use serde_json::{Map, Value, json};

/// The custom resource definitions of all kinds.
pub fn definitions() -> Vec<Value> {
    vec![
        definition::<Backup>(),
        definition::<Cluster>(),
        definition::<ClusterImageCatalog>(),
        definition::<Database>(),
        definition::<DatabaseRole>(),
        definition::<Dump>(),
        definition::<FailoverQuorum>(),
        definition::<ImageCatalog>(),
        definition::<Pooler>(),
        definition::<Publication>(),
        definition::<ScheduledBackup>(),
        definition::<ScheduledDump>(),
        definition::<Subscription>(),
    ]
}

/// The rules of all kinds, by the plural of the kind.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static [Rule])> {
    fn of<K: Kind>() -> (&'static str, &'static [Rule]) {
        (K::URL_PATH_SEGMENT, K::RULES)
    }
    [
        of::<Backup>(),
        of::<Cluster>(),
        of::<ClusterImageCatalog>(),
        of::<Database>(),
        of::<DatabaseRole>(),
        of::<Dump>(),
        of::<FailoverQuorum>(),
        of::<ImageCatalog>(),
        of::<Pooler>(),
        of::<Publication>(),
        of::<ScheduledBackup>(),
        of::<ScheduledDump>(),
        of::<Subscription>(),
    ]
    .into_iter()
}

/// The custom resource definition of a kind.
pub fn definition<K: Kind>() -> Value {
    let mut schema = schema::structural::<K>();
    for rule in K::RULES {
        add_rule(&mut schema, rule);
    }
    let mut version = json!({
        "name": K::VERSION,
        "served": true,
        "storage": true,
        "additionalPrinterColumns": K::COLUMNS.iter().map(column).collect::<Vec<_>>(),
        "schema": { "openAPIV3Schema": schema },
    });
    if let (Some(version), Some(subresources)) = (version.as_object_mut(), subresources::<K>()) {
        version.insert("subresources".to_owned(), subresources);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", K::URL_PATH_SEGMENT, K::GROUP) },
        "spec": {
            "group": K::GROUP,
            "names": names::<K>(),
            "scope": match K::SCOPE {
                Scope::Namespaced => "Namespaced",
                Scope::Cluster => "Cluster",
            },
            "versions": [version],
        },
    })
}

fn names<K: Kind>() -> Value {
    let mut names = json!({
        "kind": K::KIND,
        "listKind": format!("{}List", K::KIND),
        "plural": K::URL_PATH_SEGMENT,
        "singular": K::SINGULAR,
    });
    if let (Some(names), false) = (names.as_object_mut(), K::SHORT_NAMES.is_empty()) {
        names.insert("shortNames".to_owned(), json!(K::SHORT_NAMES));
    }
    names
}

fn subresources<K: Kind>() -> Option<Value> {
    match K::SUBRESOURCES {
        Subresources::None => None,
        Subresources::Status => Some(json!({ "status": {} })),
        Subresources::Scale { selector } => {
            let mut scale = json!({
                "specReplicasPath": ".spec.instances",
                "statusReplicasPath": ".status.instances",
            });
            if let (Some(scale), Some(selector)) = (scale.as_object_mut(), selector) {
                scale.insert("labelSelectorPath".to_owned(), selector.into());
            }
            Some(json!({ "status": {}, "scale": scale }))
        }
    }
}

fn column(column: &Column) -> Value {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), column.name.into());
    shown.insert("type".to_owned(), column.form.into());
    shown.insert("jsonPath".to_owned(), column.path.into());
    match column.shown {
        Shown::Always => {}
        Shown::Wide => {
            shown.insert("priority".to_owned(), 1.into());
        }
    }
    Value::Object(shown)
}

fn add_rule(schema: &mut Value, rule: &Rule) {
    let place = at(schema, rule.at).and_then(Value::as_object_mut);
    let rules = place.map(|place| place.entry("x-kubernetes-validations").or_insert(json!([])));
    if let Some(Value::Array(rules)) = rules {
        rules.push(json!({ "rule": rule.rule, "message": rule.message }));
    }
}

/// The schema at a place such as `spec.tablespaces[].storage`.
fn at<'s>(schema: &'s mut Value, place: &str) -> Option<&'s mut Value> {
    place.split('.').filter(|name| !name.is_empty()).try_fold(schema, |schema, name| {
        let bare = name.trim_end_matches("[]").trim_end_matches("{}");
        let field = schema.get_mut("properties")?.get_mut(bare)?;
        match name.strip_prefix(bare) {
            Some("[]") => field.get_mut("items"),
            Some("{}") => field.get_mut("additionalProperties"),
            Some(_) | None => Some(field),
        }
    })
}
