//! Compares our definitions with the published ones, field by field and limit by limit.
//!
//! Never passes a difference without a reason.

use super::{definitions, rules};
use crate::kind::{GROUP, Source};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What differs on purpose: the end of the place, the keyword, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[(
    ".onlineConfiguration.immediateCheckpoint",
    "default",
    "we say what the published definition leaves to be understood: false",
)];

/// What our rules say otherwise on purpose, what the published ones say there, and why.
const CORRECTED: &[(&str, &str, &str)] = &[
    (
        "!has(self.dataDurability) || self.dataDurability!=",
        "self.dataDurability!=",
        "a webhook has filled it in before the published rule is asked, which fails itself without",
    ),
    (
        "has(self.apiGroup) && self.apiGroup ==",
        "self.apiGroup ==",
        "without a group the published rule fails itself, and its message is not said",
    ),
    (
        "(has(self.login) && self.login)",
        "self.login",
        "without login the published rule fails itself, and its message is not said",
    ),
    (
        "(has(self.localeProvider) && self.localeProvider == 'builtin')",
        "self.localeProvider == 'builtin'",
        "without a provider the published rule fails itself, and its message is not said",
    ),
    (
        "(has(self.localeProvider) && self.localeProvider == 'icu')",
        "self.localeProvider == 'icu'",
        "without a provider the published rule fails itself, and its message is not said",
    ),
];

/// What is compared besides the fields themselves; prose is ours, and rules are compared apart.
const KEYWORDS: &[&str] = &[
    "additionalProperties",
    "anyOf",
    "default",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "nullable",
    "pattern",
    "required",
    "type",
    "uniqueItems",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
];

/// Those that there is something to compare with.
fn known() -> impl Iterator<Item = Value> {
    definitions().into_iter().filter(|definition| definition["spec"]["group"] == GROUP)
}

fn published(plural: &str) -> Value {
    let text = match plural {
        "backups" => include_str!("../../published/backups.json"),
        "clusterimagecatalogs" => include_str!("../../published/clusterimagecatalogs.json"),
        "clusters" => include_str!("../../published/clusters.json"),
        "databaseroles" => include_str!("../../published/databaseroles.json"),
        "databases" => include_str!("../../published/databases.json"),
        "failoverquorums" => include_str!("../../published/failoverquorums.json"),
        "imagecatalogs" => include_str!("../../published/imagecatalogs.json"),
        "poolers" => include_str!("../../published/poolers.json"),
        "publications" => include_str!("../../published/publications.json"),
        "scheduledbackups" => include_str!("../../published/scheduledbackups.json"),
        "subscriptions" => include_str!("../../published/subscriptions.json"),
        other => panic!("{other} is not published"),
    };
    serde_json::from_str(text).unwrap()
}

/// Everything that a schema says, by place and keyword; a place without a limit is there, too.
fn facts(schema: &Value, place: &str, facts: &mut BTreeMap<(String, String), Value>) {
    for (keyword, value) in schema.as_object().unwrap() {
        let value = match (keyword.as_str(), value) {
            ("required" | "enum", Value::Array(words)) => {
                let words: BTreeSet<_> = words.iter().map(Value::to_string).collect();
                json!(words)
            }
            // Only that there are some; what they are has places of its own.
            ("items" | "additionalProperties", _) => json!(true),
            (_, value) => value.clone(),
        };
        if KEYWORDS.contains(&keyword.as_str()) {
            facts.insert((place.to_owned(), keyword.clone()), value);
        } else {
            let known = ["description", "properties", "x-kubernetes-validations"];
            assert!(known.contains(&keyword.as_str()), "{place}: unknown keyword {keyword}");
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        self::facts(field, &format!("{place}.{name}"), facts);
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[inner].is_object() {
            self::facts(&schema[inner], &format!("{place}{mark}"), facts);
        }
    }
}

fn said(definition: &Value, schema: &str) -> BTreeMap<(String, String), Value> {
    let mut said = BTreeMap::new();
    facts(definition.pointer(schema).unwrap(), "", &mut said);
    said
}

const PUBLISHED_SCHEMA: &str = "/versions/0/schema";
const OUR_SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

#[test]
fn every_field_and_limit_is_the_published_one() {
    let mut unexplained = Vec::new();
    let mut unused: BTreeSet<_> = DIFFERENCES.iter().collect();
    let mut compared = 0;
    for definition in known() {
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
        let (ours, theirs) =
            (said(&definition, OUR_SCHEMA), said(&published(plural), PUBLISHED_SCHEMA));
        for (place, keyword) in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
            let at = &(place.clone(), keyword.clone());
            let (ours, theirs) = (ours.get(at), theirs.get(at));
            compared += 1;
            // A whole number without a format is one of 64 bits, too; ours say so.
            let is_wide = keyword == "format" && ours == Some(&json!("int64")) && theirs.is_none();
            if ours == theirs || is_wide {
                continue;
            }
            let reason =
                DIFFERENCES.iter().find(|(end, of, _)| place.ends_with(end) && keyword == of);
            match reason {
                Some(reason) => _ = unused.remove(reason),
                None => unexplained
                    .push(format!("{plural} {place} {keyword}: {ours:?}, published {theirs:?}")),
            }
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(unused.is_empty(), "reasons without a difference: {unused:?}");
    assert!(compared > 4_500, "only {compared} facts were compared");
}

#[test]
fn every_published_rule_is_ours_and_no_other_says_it_is() {
    let known: Vec<Value> = known().map(|it| it["spec"]["names"]["plural"].clone()).collect();
    for (plural, ours) in rules().filter(|(plural, _)| known.iter().any(|it| it == plural)) {
        let mut theirs = BTreeSet::new();
        published_rules(&published(plural)["versions"][0]["schema"], "", &mut theirs);
        let ours = ours.iter().filter(|rule| rule.source == Source::Published);
        let ours = ours.map(|rule| {
            let published = CORRECTED
                .iter()
                .fold(rule.rule.to_owned(), |text, (ours, theirs, _)| text.replace(ours, theirs));
            (rule.at.to_owned(), published)
        });
        assert_eq!(ours.collect::<BTreeSet<_>>(), theirs, "{plural}");
    }
}

fn published_rules(schema: &Value, place: &str, found: &mut BTreeSet<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.insert((place.to_owned(), rule["rule"].as_str().unwrap().to_owned()));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if place.is_empty() { "" } else { "." };
        published_rules(field, &format!("{place}{dot}{name}"), found);
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[inner].is_object() {
            published_rules(&schema[inner], &format!("{place}{mark}"), found);
        }
    }
}

#[test]
fn names_columns_and_subresources_are_the_published_ones() {
    for definition in known() {
        let ours = &definition["spec"];
        let plural = ours["names"]["plural"].as_str().unwrap();
        let theirs = published(plural);
        for part in ["group", "names", "scope"] {
            assert_eq!(ours[part], theirs[part], "{plural}");
        }
        let (ours, theirs) = (&ours["versions"][0], &theirs["versions"][0]);
        for part in ["name", "served", "storage", "additionalPrinterColumns"] {
            assert_eq!(ours[part], theirs[part], "{plural}");
        }
        let none = json!({});
        let subresources = ours.get("subresources").unwrap_or(&none);
        assert_eq!(subresources, &theirs["subresources"], "{plural}");
    }
}
