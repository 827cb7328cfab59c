//! Reads the Secrets that stand in the same file as a Cluster.
//!
//! Never quotes one: what is wrong with it is told by its line.

use super::{ManifestError, SIZE_LIMIT, fields::Reader, yaml, yaml::Node, yaml::Value};
use k8s_openapi::ByteString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// The kind of such documents.
pub const SECRET: &str = "Secret";

/// Entries of Secrets, by the Secret's name and the entry's key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<(String, String), Vec<u8>>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    metadata: Metadata,
    data: Option<BTreeMap<String, ByteString>>,
    string_data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

impl Secrets {
    /// All in a manifest of one or more YAML (or JSON) documents.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        if text.len() > SIZE_LIMIT {
            return Err(ManifestError::Size);
        }
        let mut entries = BTreeMap::new();
        for document in yaml::documents(text)?.into_iter().filter(is_secret) {
            let refused = |_| ManifestError::Secret { line: document.line };
            let read = only_what_counts(&document);
            let read = Document::deserialize(Reader::new(&read)).map_err(refused)?;
            let name = read.metadata.name;
            let plain = read.string_data.into_iter().flatten();
            let data = read.data.into_iter().flatten().map(|(key, value)| (key, value.0));
            // As the API server has it: what is given as text replaces what is given encoded.
            let all = data.chain(plain.map(|(key, value)| (key, value.into_bytes())));
            entries.extend(all.map(|(key, value)| ((name.clone(), key), value)));
        }
        Ok(Self(entries))
    }

    /// One entry.
    pub fn get(&self, name: &str, key: &str) -> Option<&[u8]> {
        self.0.get(&(name.to_owned(), key.to_owned())).map(Vec::as_slice)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn is_secret(document: &Node) -> bool {
    let says = |name, expected| {
        let node = document.get(name);
        node.is_some_and(|node| matches!(&node.value, Value::Text(text) if text == expected))
    };
    says("apiVersion", "v1") && says("kind", SECRET)
}

/// Without labels, types and the like.
fn only_what_counts(document: &Node) -> Node {
    let mut only = document.clone();
    if let Value::Map(entries) = &mut only.value {
        entries.retain(|entry| ["metadata", "data", "stringData"].contains(&entry.name.as_str()));
        for entry in entries.iter_mut().filter(|entry| entry.name == "metadata") {
            if let Value::Map(entries) = &mut entry.node.value {
                entries.retain(|entry| entry.name == "name");
            }
        }
    }
    only
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_neither_is_shown() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, labels: {a: b}}\n\
            type: Opaque\ndata: {a: aHVudGVyMg==, b: eA==}\nstringData: {b: plain}\n---\n\
            kind: Other\n";
        let secrets = Secrets::from_yaml(text).unwrap();
        assert_eq!(secrets.get("s", "a"), Some(&b"hunter2"[..]));
        assert_eq!(secrets.get("s", "b"), Some(&b"plain"[..]));
        assert_eq!(secrets.get("s", "c"), None);
        assert_eq!(format!("{secrets:?}"), r#"{("s", "a"), ("s", "b")}"#);
    }

    #[test]
    fn one_that_cannot_be_read_is_told_by_its_line() {
        for data in ["data: {a: hunter2!}", "stringData: {a: [hunter2]}", "data: hunter2"] {
            let text =
                format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{data}\n");
            let told = Secrets::from_yaml(&text).unwrap_err().to_string();
            assert_eq!(
                told,
                "line 2 begins a Secret that cannot be read: write its entries as text into \
                 stringData, or in Base64 into data"
            );
        }
    }
}
