//! Reads a `Cluster` from a manifest, and says where and why it cannot.
//!
//! Never guesses: what Kubernetes would refuse is refused here, too.

mod fields;
pub mod schedules;
mod secrets;
mod yaml;

pub use secrets::{SECRET, Secrets};

use crate::cluster::Cluster;
use crate::field::FieldPath;
use crate::guess::closest;
use crate::warning::{Caution, Warning};
use fields::Reader;
use pgherd_core::units::Bytes;
use serde::Deserialize;
use std::fmt;
use yaml::{Node, Value};

/// The API group and version of every kind.
pub const API_VERSION: &str = "postgresql.cnpg.io/v1";
const KIND: &str = "Cluster";
/// Larger than any manifest that the API server would take.
const SIZE_LIMIT: usize = 4 << 20;

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are, and the fields fill them in")]
pub enum ManifestError {
    #[error("the manifest is larger than {}: keep the Cluster in a file of its own", Bytes(SIZE_LIMIT as u64))]
    Size,
    #[error(
        "line {line}, column {column} is not YAML ({reason}): check indentation, quotes and colons"
    )]
    Syntax { line: usize, column: usize, reason: String },
    #[error("line {line} is nested too deeply or refers to too much: write it out in fewer levels")]
    Sprawl { line: usize },
    #[error("line {line} has the tag {tag}, which is not understood: remove it")]
    Tag { line: usize, tag: String },
    #[error("line {line} has a list or a map as the name of a field: write the name as text")]
    Key { line: usize },
    #[error("line {line} merges something that is not a map: put a map behind <<")]
    Merge { line: usize },
    #[error("line {line} sets {path} again, after line {first}: remove one of the two")]
    Twice { line: usize, path: FieldPath, first: usize },
    #[error(
        "the manifest holds no Cluster ({}): add one with apiVersion: {API_VERSION} and kind: {KIND}",
        Found(found)
    )]
    NoCluster { found: Vec<String> },
    #[error("the manifest holds {} Clusters (at lines {}), but only one can be used: keep one in a file", lines.len(), Lines(lines))]
    Clusters { lines: Vec<usize> },
    #[error("line {line} {}: write apiVersion: {API_VERSION}", Says("apiVersion", given))]
    ApiVersion { line: usize, given: String },
    #[error("line {line} {}: write kind: {KIND}", Says("kind", given))]
    Kind { line: usize, given: String },
    #[error("line {line} begins a Cluster without a name: add metadata.name, for example name: db")]
    Name { line: usize },
    #[error("line {line}: {path} is not a field: {}", Instead { guess: *guess, known })]
    Unknown {
        line: usize,
        path: FieldPath,
        guess: Option<&'static str>,
        known: &'static [&'static str],
    },
    #[error("line {line}: {path} is missing: add it")]
    Missing { line: usize, path: FieldPath },
    #[error("line {line}: {path} is {found}, but {needed} is needed: {fix}")]
    Type { line: usize, path: FieldPath, found: String, needed: String, fix: String },
    #[error("line {line}: {path} is {given:?}, which is not a choice: {}", Instead { guess: *guess, known })]
    Choice {
        line: usize,
        path: FieldPath,
        given: String,
        guess: Option<&'static str>,
        known: &'static [&'static str],
    },
    #[error("line {line}: {path} cannot be read ({reason}): correct it")]
    Value { line: usize, path: FieldPath, reason: String },
    #[error("line {line} begins a {kind} with apiVersion {given:?}: write apiVersion: {known}")]
    KindOf { line: usize, kind: String, given: String, known: &'static str },
    #[error(
        "line {line} begins a Secret that cannot be read: write its entries as text into \
         stringData, or in Base64 into data"
    )]
    Secret { line: usize },
}

impl Cluster {
    /// Reads the one `Cluster` in a manifest of one or more YAML (or JSON) documents.
    pub fn from_yaml(text: &str) -> Result<(Self, Vec<Warning>), ManifestError> {
        if text.len() > SIZE_LIMIT {
            return Err(ManifestError::Size);
        }
        let documents = yaml::documents(text)?;
        let mut warnings = Vec::new();
        let mut document = the_cluster(documents, &mut warnings)?;
        if document.remove("status").is_some() {
            warnings.push(Warning::at(FieldPath::of("status"), Caution::StatusSkipped));
        }
        let metadata = document.get("metadata");
        let name = metadata.and_then(|metadata| metadata.get("name"));
        if name.is_none_or(Node::is_empty) {
            let line = metadata.map_or(document.line, |metadata| metadata.line);
            return Err(ManifestError::Name { line });
        }
        let cluster = Self::deserialize(Reader::new(&document))
            .map_err(|error| error.place(&FieldPath::default(), document.line))?;
        Ok((cluster.written_as(document.leaves()), warnings))
    }
}

/// Whether a document is the Cluster, is nearly one, or is something else.
enum Likeness {
    Cluster,
    Nearly(ManifestError),
    Other(String),
}

fn the_cluster(documents: Vec<Node>, warnings: &mut Vec<Warning>) -> Result<Node, ManifestError> {
    let mut clusters = Vec::new();
    let mut nearly = None;
    let mut others = Vec::new();
    for document in documents {
        match likeness(&document) {
            Likeness::Cluster => clusters.push(document),
            Likeness::Nearly(error) => nearly = nearly.or(Some(error)),
            Likeness::Other(kind) => others.push((document.line, kind)),
        }
    }
    if clusters.len() > 1 {
        return Err(ManifestError::Clusters { lines: clusters.iter().map(|c| c.line).collect() });
    }
    if let Some(error) = nearly {
        return Err(error);
    }
    let Some(cluster) = clusters.pop() else {
        let found = others.into_iter().map(|(_, kind)| kind).collect();
        return Err(ManifestError::NoCluster { found });
    };
    warnings.extend(others.into_iter().map(|(line, kind)| Warning {
        path: None,
        caution: Caution::DocumentSkipped { line, kind },
    }));
    Ok(cluster)
}

fn likeness(document: &Node) -> Likeness {
    if !matches!(document.value, Value::Map(_)) {
        return Likeness::Other("document that is not a map".to_owned());
    }
    let text = |name: &str| match document.get(name).map(|node| (&node.value, node.line)) {
        Some((Value::Text(text), line)) => (text.as_str(), line),
        Some((_, line)) => ("", line),
        None => ("", document.line),
    };
    let (version, version_line) = text("apiVersion");
    let (kind, kind_line) = text("kind");
    match (version == API_VERSION, kind == KIND) {
        (true, true) => Likeness::Cluster,
        (false, true) if version.is_empty() || version.contains("cnpg") => {
            Likeness::Nearly(ManifestError::ApiVersion {
                line: version_line,
                given: version.into(),
            })
        }
        (true, false) if kind.is_empty() || closest(kind, [KIND]).is_some() => {
            Likeness::Nearly(ManifestError::Kind { line: kind_line, given: kind.into() })
        }
        _ if kind.is_empty() => Likeness::Other("document without a kind".to_owned()),
        _ => Likeness::Other(kind.to_owned()),
    }
}

struct Says<'s>(&'static str, &'s str);

impl fmt::Display for Says<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(field, "") => write!(f, "begins a document without {field}"),
            Self(field, given) => write!(f, "says {field} {given:?}, which is not known"),
        }
    }
}

struct Found<'f>(&'f [String]);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("it is empty"),
            found => write!(f, "it holds: {}", found.join(", ")),
        }
    }
}

struct Lines<'l>(&'l [usize]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join(", "))
    }
}

/// What to write instead of an unknown word; long lists of choices help nobody.
struct Instead<'k> {
    guess: Option<&'static str>,
    known: &'k [&'static str],
}

impl fmt::Display for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.guess, self.known) {
            (Some(guess), _) => write!(f, "did you mean {guess}?"),
            (None, known) if known.len() <= 12 => write!(f, "use one of {}", known.join(", ")),
            (None, _) => f.write_str("correct or remove it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const HEAD: &str =
        "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata:\n  name: db\nspec:\n";

    fn errors(texts: &[&str]) -> String {
        let error = |text: &&str| match Cluster::from_yaml(text) {
            Ok(_) => format!("accepted: {text}\n"),
            Err(error) => format!("{error}\n"),
        };
        texts.iter().map(error).collect()
    }

    /// The refusals of specifications, each written below a good head of five lines.
    fn spec_errors(specs: &[&str]) -> String {
        let texts: Vec<_> = specs.iter().map(|spec| format!("{HEAD}  {spec}\n")).collect();
        errors(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn a_manifest_is_read_with_its_defaults() {
        let text = format!(
            "{HEAD}  instances: 3\n  postgresql:\n    parameters: {{work_mem: 8MB}}\n  \
             walStorage: {{size: 1Gi}}\n  failoverDelay:\n"
        );
        let (cluster, warnings) = Cluster::from_yaml(&text).unwrap();
        assert!(warnings.is_empty());
        let spec = &cluster.spec;
        assert_eq!((spec.instances, spec.failover_delay, spec.stop_delay), (3, 0, 1800));
        assert_eq!(spec.postgresql.parameters["work_mem"], "8MB");
        assert!(spec.wal_storage.as_ref().unwrap().resize_in_use_volumes);
        assert!(spec.enable_pdb && spec.replication_slots.high_availability.enabled);
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
            "metadata": {"name": "db"}, "spec": {"instances": 2}}"#;
        assert_eq!(Cluster::from_yaml(text).unwrap().0.spec.instances, 2);
    }

    #[test]
    fn the_one_cluster_among_other_documents_is_found() {
        let text = format!(
            "# secrets first\napiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n---\n---\n{HEAD}  \
             instances: 3\nstatus: {{phase: Cluster in healthy state}}\n---\nkind: Pooler\n"
        );
        let (cluster, warnings) = Cluster::from_yaml(&text).unwrap();
        assert_eq!(cluster.metadata.name.as_deref(), Some("db"));
        let shown: String = warnings.iter().map(|warning| warning.to_string() + "\n").collect();
        expect![[r"
            the Secret at line 2 is skipped: only the Cluster is used
            the Pooler at line 15 is skipped: only the Cluster is used
            status is skipped: it tells what was true elsewhere
        "]]
        .assert_eq(&shown);
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        let two = format!("{HEAD}  instances: 3\n---\n{HEAD}  instances: 3\n");
        expect![[r#"
            the manifest holds no Cluster (it is empty): add one with apiVersion: postgresql.cnpg.io/v1 and kind: Cluster
            the manifest holds no Cluster (it is empty): add one with apiVersion: postgresql.cnpg.io/v1 and kind: Cluster
            the manifest holds no Cluster (it holds: document that is not a map): add one with apiVersion: postgresql.cnpg.io/v1 and kind: Cluster
            the manifest holds no Cluster (it holds: document that is not a map): add one with apiVersion: postgresql.cnpg.io/v1 and kind: Cluster
            the manifest holds no Cluster (it holds: Secret, ConfigMap): add one with apiVersion: postgresql.cnpg.io/v1 and kind: Cluster
            the manifest holds no Cluster (it holds: Cluster): add one with apiVersion: postgresql.cnpg.io/v1 and kind: Cluster
            the manifest holds 2 Clusters (at lines 1, 8), but only one can be used: keep one in a file
            line 1 says apiVersion "postgresql.cnpg.io/v1beta1", which is not known: write apiVersion: postgresql.cnpg.io/v1
            line 1 begins a document without apiVersion: write apiVersion: postgresql.cnpg.io/v1
            line 2 says kind "cluster", which is not known: write kind: Cluster
            line 1 begins a document without kind: write kind: Cluster
            line 1 begins a Cluster without a name: add metadata.name, for example name: db
            line 4 begins a Cluster without a name: add metadata.name, for example name: db
            line 1: spec is missing: add it
            line 4: metadata.name is 7 (a number), but text is needed: write "7"
        "#]].assert_eq(&errors(&[
            "",
            "# nothing\n---\n",
            "just text",
            "- a\n- b",
            "apiVersion: v1\nkind: Secret\n---\nkind: ConfigMap\n",
            "apiVersion: cluster.x-k8s.io/v1\nkind: Cluster\n",
            &two,
            "apiVersion: postgresql.cnpg.io/v1beta1\nkind: Cluster\n",
            "kind: Cluster\n",
            "apiVersion: postgresql.cnpg.io/v1\nkind: cluster\n",
            "apiVersion: postgresql.cnpg.io/v1\nspec: {}\n",
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nspec: {}\n",
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata:\n  labels: {a: b}\n",
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata:\n  name: db\n",
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata:\n  name: 7\nspec: {}",
        ]));
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        expect![[r"
            line 7, column 1 is not YAML (while parsing a flow sequence, expected ',' or ']'): check indentation, quotes and colons
            line 6, column 16 is not YAML (while scanning a quoted scalar, found unexpected end of stream): check indentation, quotes and colons
            line 6, column 14 is not YAML (while scanning a plain scalar, found a tab): check indentation, quotes and colons
            line 7, column 2 is not YAML (while parsing a block mapping, did not find expected key): check indentation, quotes and colons
            line 6 has the tag !secret, which is not understood: remove it
            line 6, column 14 is not YAML (while parsing node, found unknown anchor): check indentation, quotes and colons
            line 6 has a list or a map as the name of a field: write the name as text
            line 6 merges something that is not a map: put a map behind <<
            line 8 sets spec.instances again, after line 6: remove one of the two
        "]].assert_eq(&spec_errors(&[
            "instances: [3",
            "description: \"open",
            "instances: 3\n\tlogLevel: info",
            "instances: 3\n instances: 2",
            "instances: !secret x",
            "instances: *unknown",
            "? [a, b]\n  : c",
            "<<: 3",
            "instances: 3\n  logLevel: info\n  instances: 2",
        ]));
    }

    #[test]
    fn unknown_fields_are_refused_with_a_guess() {
        expect![[r#"
            line 6: spec.instnces is not a field: did you mean instances?
            line 6: spec.replicas is not a field: did you mean instances?
            line 7: spec.postgresql.pgHba is not a field: did you mean pg_hba?
            line 6: spec.postgresql.synchronous.durability is not a field: did you mean dataDurability?
            line 6: spec.externalClusters[1].nmae is not a field: did you mean name?
            line 6: spec.affinity.tolerations[0].operatr is not a field: did you mean operator?
            line 6: spec.resources.limit is not a field: did you mean limits?
            line 6: spec.logLevel is "verbose", which is not a choice: use one of error, warning, info, debug, trace
            line 6: spec.logLevel is "Info", which is not a choice: did you mean info?
            line 6: spec.primaryUpdateStrategy is "unsupervized", which is not a choice: did you mean unsupervised?
        "#]].assert_eq(&spec_errors(&[
            "instnces: 3",
            "replicas: 3",
            "postgresql:\n    pgHba: []",
            "postgresql: {synchronous: {method: any, number: 1, durability: required}}",
            "externalClusters: [{name: a}, {nmae: b}]",
            "affinity: {tolerations: [{operatr: Exists}]}",
            "resources: {limit: {cpu: 1}}",
            "logLevel: verbose",
            "logLevel: Info",
            "primaryUpdateStrategy: unsupervized",
        ]));
    }

    #[test]
    fn wrong_types_are_refused_with_what_to_write() {
        expect![[r#"
            line 6: spec.instances is "three" (text), but a whole number is needed: write one, for example 3
            line 6: spec.instances is "3" (text), but a whole number is needed: write 3 without quotes
            line 6: spec.instances is 3.5 (a number), but a whole number is needed: write one, for example 3
            line 6: spec.instances is true (a switch), but a whole number is needed: write one, for example 3
            line 6: spec.instances is a list, but a whole number is needed: write one, for example 3
            line 6: spec.stopDelay is 3000000000 (a number), but a whole number up to 2147483647 is needed: correct it
            line 6: spec.enableSuperuserAccess is "true" (text), but true or false is needed: write true without quotes
            line 6: spec.enableSuperuserAccess is 1 (a number), but true or false is needed: write one of the two, without quotes
            line 6: spec.description is a map, but text is needed: write a single value
            line 6: spec.postgresql.parameters.max_connections is 100 (a number), but text is needed: write "100"
            line 6: spec.postgresql.parameters.wal_compression is on (which YAML takes for true), but text is needed: write "on"
            line 6: spec.postgresql.parameters.work_mem is empty, but text is needed: fill it in or remove it
            line 6: spec.postgresql.pg_hba is "host all all all scram-sha-256" (text), but a list is needed: write each item on a line of its own that begins with -
            line 6: spec.postgresql is yes (which YAML takes for true), but a map is needed: write its fields below it, indented
            line 6: spec.storage is "10Gi" (text), but a map is needed: write its fields below it, indented
            line 6: spec.storage.size is 10 (a number), but text is needed: write "10"
            line 6: spec.externalClusters is a map, but a list is needed: write each item on a line of its own that begins with -
            line 6: spec.externalClusters[0].name is missing: add it
            line 6: spec.managed.roles[0].validUntil cannot be read (failed to parse four digit integer as year: invalid digit, expected 0-9 but got t): correct it
            line 6: spec.probes.startup.maximumLag is a list, but a quantity is needed: write one, for example 16Mi
            line 6: spec.logLevel is "3", which is not a choice: use one of error, warning, info, debug, trace
        "#]].assert_eq(&spec_errors(&[
            "instances: three",
            "instances: \"3\"",
            "instances: 3.5",
            "instances: true",
            "instances: [3]",
            "stopDelay: 3000000000",
            "enableSuperuserAccess: \"true\"",
            "enableSuperuserAccess: 1",
            "description: {a: b}",
            "postgresql: {parameters: {max_connections: 100}}",
            "postgresql: {parameters: {wal_compression: on}}",
            "postgresql: {parameters: {work_mem: }}",
            "postgresql: {pg_hba: host all all all scram-sha-256}",
            "postgresql: yes",
            "storage: 10Gi",
            "storage: {size: 10}",
            "externalClusters: {name: a}",
            "externalClusters: [{connectionParameters: {host: a}}]",
            "managed: {roles: [{name: a, validUntil: tomorrow}]}",
            "probes: {startup: {maximumLag: [1]}}",
            "logLevel: 3",
        ]));
    }

    #[test]
    fn a_manifest_that_is_too_large_is_refused() {
        let text = format!("# {}", "x".repeat(SIZE_LIMIT));
        expect![[r"
            the manifest is larger than 4.0 MiB: keep the Cluster in a file of its own
        "]]
        .assert_eq(&errors(&[&text]));
    }

    #[test]
    fn no_text_makes_it_panic() {
        let text = format!(
            "{HEAD}  instances: 3\n  postgresql:\n    parameters: {{\"a.b\": 'x''y'}}\n    pg_hba: \
             [\"host all all ::/0 trust\", &a >-\n        text\n        more]\n  env: [{{name: *a}}]\n"
        );
        Cluster::from_yaml(&text).unwrap();
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (head, tail) = text.split_at(at);
            let mut outcomes = vec![Cluster::from_yaml(head), Cluster::from_yaml(tail)];
            for odd in ["\0", "\u{feff}", "{", "]", "*", "&", "? ", "\"", "\n", "- ", "|", "%", "ä"]
            {
                outcomes.push(Cluster::from_yaml(&format!("{head}{odd}{tail}")));
            }
            assert_eq!(outcomes.len(), 15);
        }
    }
}
