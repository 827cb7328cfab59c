//! Turns the schema of a type into a structural one: no references, no alternatives, no nulls.
//!
//! Never drops a field or a limit.

use super::kubernetes;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Where the generator keeps the schemas of types that are used by others.
const TYPES: &str = "#/$defs/";

/// The schema of a kind as the API server takes it.
pub(super) fn structural<K: JsonSchema>() -> Value {
    let root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<K>();
    let mut root = root.to_value();
    let types = match root.as_object_mut().and_then(|root| root.remove("$defs")) {
        Some(Value::Object(types)) => types,
        Some(_) | None => Map::new(),
    };
    let mut schema = resolve(root, &Types(types));
    if let Some(schema) = schema.as_object_mut() {
        adapt_root(schema);
    }
    schema
}

/// The API server knows the metadata by itself, and sets kind and version when they are missing.
fn adapt_root(schema: &mut Map<String, Value>) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("metadata".to_owned(), json!({ "type": "object" }));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "apiVersion" && name != "kind");
    }
}

struct Types(Map<String, Value>);

impl Types {
    /// The type that a reference leads to; Kubernetes' own with what their Rust types do not say.
    fn get(&self, reference: &str) -> Value {
        let name = reference.strip_prefix(TYPES).unwrap_or(reference);
        let found = self.0.get(name).cloned().unwrap_or_default();
        if kubernetes::is_own(name) { kubernetes::completed(name, found) } else { found }
    }
}

fn resolve(schema: Value, types: &Types) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    if let Some(Value::String(reference)) = schema.remove("$ref") {
        // What is said beside a reference is about this use of the type, so it wins.
        let Value::Object(mut meant) = types.get(&reference) else { return Value::Null };
        meant.extend(schema);
        schema = meant;
    }
    schema.remove("$schema");
    schema.remove("title");
    without_null(&mut schema, types);
    choices(&mut schema);
    let schema = schema.into_iter().map(|(keyword, value)| {
        let value = match (keyword.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                fields.into_iter().map(|(name, field)| (name, resolve(field, types))).collect()
            }
            ("items" | "additionalProperties", value) => resolve(value, types),
            ("description", Value::String(text)) => paragraphs(&text).into(),
            (_, value) => value,
        };
        (keyword, value)
    });
    let mut schema: Map<_, _> = schema.collect();
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    Value::Object(schema)
}

/// An optional field is one that may be left out; null means nothing of its own.
fn without_null(schema: &mut Map<String, Value>, types: &Types) {
    if let Some(Value::Array(names)) = schema.get("type") {
        let name = names.iter().find(|name| *name != "null").cloned().unwrap_or_default();
        schema.insert("type".to_owned(), name);
    }
    let is_null = |choice: &Value| choice.get("type").is_some_and(|name| name == "null");
    let Some(Value::Array(alternatives)) = schema.get("anyOf") else { return };
    if !alternatives.iter().any(is_null) {
        return;
    }
    let meant = alternatives.iter().find(|choice| !is_null(choice)).cloned().unwrap_or_default();
    schema.remove("anyOf");
    if let Value::Object(meant) = resolve(meant, types) {
        for (keyword, value) in meant {
            schema.entry(keyword).or_insert(value);
        }
    }
}

/// One list of words instead of one alternative a word; what they mean joins the description.
fn choices(schema: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = schema.remove("oneOf") else { return };
    let mut words = Vec::new();
    let mut meanings = String::new();
    for choice in alternatives {
        let several = choice.get("enum").and_then(Value::as_array).cloned();
        words.extend(choice.get("const").cloned().into_iter().chain(several.into_iter().flatten()));
        if let (Some(word), Some(meaning)) = (choice.get("const"), choice.get("description")) {
            let word = word.as_str().unwrap_or_default();
            meanings.extend(["\n\n`", word, "`: ", meaning.as_str().unwrap_or_default()]);
        }
    }
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.into());
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{description}{meanings}");
    schema.insert("description".to_owned(), description.into());
}

/// Line breaks in the source are no line breaks in the text, but empty lines are.
fn paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|it| it.split_whitespace().collect::<Vec<_>>());
    paragraphs.map(|words| words.join(" ")).collect::<Vec<_>>().join("\n\n")
}
