//! Reads the schedules that stand in the same file as a Cluster.
//!
//! Never says whether one can be carried out.

use super::fields::Reader;
use super::yaml::{self, Node, Value};
use super::{ManifestError, SIZE_LIMIT};
use crate::cluster::references::LocalObjectReference;
use crate::dump::DumpContent;
use crate::field::FieldPath;
use crate::guess::closest;
use crate::schedule::Owner;
use crate::scheduled_backup::{ScheduledBackup, ScheduledBackupSpec};
use crate::scheduled_dump::{ScheduledDump, ScheduledDumpSpec};
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// The kinds of such documents.
pub const SCHEDULES: [&str; 2] = [ScheduledBackup::KIND, ScheduledDump::KIND];

/// A schedule, and the line at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Where it begins.
    pub line: usize,
    /// What it says.
    pub what: What,
}

/// What a schedule is of.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Backups.
    Backup(Box<ScheduledBackup>),
    /// Logical dumps.
    Dump(Box<ScheduledDump>),
}

impl What {
    /// As manifests name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Backup(_) => ScheduledBackup::KIND,
            Self::Dump(_) => ScheduledDump::KIND,
        }
    }
}

/// All but what is wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
}

/// Of what a `ScheduledDump` wants, what is not the dump's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    schedule: String,
    cluster: LocalObjectReference,
    immediate: Option<bool>,
    suspend: Option<bool>,
    #[serde(default)]
    dump_owner_reference: Owner,
}

const TIMES: [&str; 5] = ["schedule", "cluster", "immediate", "suspend", "dumpOwnerReference"];
/// All that a `ScheduledDump` may want.
const OF_DUMPS: &[&str] = &[
    "schedule",
    "cluster",
    "immediate",
    "suspend",
    "dumpOwnerReference",
    "databases",
    "tables",
    "format",
    "jobs",
    "compress",
    "rolePasswords",
    "target",
    "snapshotLimitSeconds",
    "retentionPolicy",
];

/// All in a manifest of one or more YAML (or JSON) documents.
pub fn schedules(text: &str) -> Result<Vec<Written>, ManifestError> {
    if text.len() > SIZE_LIMIT {
        return Err(ManifestError::Size);
    }
    let documents = yaml::documents(text)?.into_iter();
    documents.filter_map(|document| read(document).transpose()).collect()
}

fn read(mut document: Node) -> Result<Option<Written>, ManifestError> {
    let Some(Value::Text(kind)) = document.get("kind").map(|node| node.value.clone()) else {
        return Ok(None);
    };
    let known = match kind.as_str() {
        ScheduledBackup::KIND => ScheduledBackup::API_VERSION,
        ScheduledDump::KIND => ScheduledDump::API_VERSION,
        _ => return Ok(None),
    };
    let line = document.line;
    let _elsewhere = document.remove("status");
    let wanted = document.remove("spec");
    let spec = wanted.ok_or(ManifestError::Missing { line, path: FieldPath::of("spec") })?;
    let head: Head = typed(&document, &FieldPath::default())?;
    if head.api_version != known {
        let line = document.get("apiVersion").map_or(line, |node| node.line);
        let given = head.api_version;
        return Err(ManifestError::KindOf { line, kind, given, known });
    }
    let (api_version, kind, metadata) = (head.api_version, head.kind, head.metadata);
    let what = if kind == ScheduledBackup::KIND {
        let spec: ScheduledBackupSpec = typed(&spec, &FieldPath::of("spec"))?;
        What::Backup(Box::new(ScheduledBackup { api_version, kind, metadata, spec, status: None }))
    } else {
        let spec = of_dumps(spec)?;
        What::Dump(Box::new(ScheduledDump { api_version, kind, metadata, spec, status: None }))
    };
    Ok(Some(Written { line, what }))
}

/// Its fields are those of two types, and an unknown one is told with all that are known.
fn of_dumps(spec: Node) -> Result<ScheduledDumpSpec, ManifestError> {
    let place = FieldPath::of("spec");
    let (mut times, mut content) = (spec.clone(), spec);
    if let (Value::Map(times), Value::Map(content)) = (&mut times.value, &mut content.value) {
        let unknown = times.iter().find(|entry| !OF_DUMPS.contains(&entry.name.as_str()));
        if let Some(entry) = unknown {
            return Err(ManifestError::Unknown {
                line: entry.line,
                path: place.name(&entry.name),
                guess: closest(&entry.name, OF_DUMPS.iter().copied()),
                known: OF_DUMPS,
            });
        }
        times.retain(|entry| TIMES.contains(&entry.name.as_str()));
        content.retain(|entry| !TIMES.contains(&entry.name.as_str()));
    }
    let times: Times = typed(&times, &place)?;
    let content: DumpContent = typed(&content, &place)?;
    Ok(ScheduledDumpSpec {
        schedule: times.schedule,
        cluster: times.cluster,
        immediate: times.immediate,
        suspend: times.suspend,
        dump_owner_reference: times.dump_owner_reference,
        content,
    })
}

fn typed<'n, T: Deserialize<'n>>(node: &'n Node, place: &FieldPath) -> Result<T, ManifestError> {
    let line = node.line;
    T::deserialize(Reader::at(node, place.clone())).map_err(|error| error.place(place, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::definitions;
    use expect_test::expect;
    use std::collections::BTreeSet;

    const BACKUP: &str =
        "apiVersion: postgresql.cnpg.io/v1\nkind: ScheduledBackup\nmetadata: {name: nightly}\n";
    const DUMP: &str =
        "apiVersion: pgherd.dev/v1alpha1\nkind: ScheduledDump\nmetadata: {name: weekly}\n";

    #[test]
    fn both_kinds_are_found_among_others() {
        let text = format!(
            "kind: Cluster\n---\n{BACKUP}spec: {{schedule: '@daily', cluster: {{name: db}}, immediate: true}}\n\
             status: {{lastCheckTime: x}}\n---\nkind: Secret\n---\n{DUMP}spec: {{schedule: 0 0 4 * * 0, cluster: \
             {{name: db}}, databases: [app], format: directory, jobs: 4, retentionPolicy: 8w}}\n"
        );
        let found = schedules(&text).unwrap();
        let lines: Vec<_> = found.iter().map(|it| (it.line, it.what.kind())).collect();
        assert_eq!(lines, [(3, "ScheduledBackup"), (11, "ScheduledDump")]);
        let What::Backup(backup) = &found[0].what else { panic!("{found:?}") };
        assert_eq!((backup.spec.immediate, backup.status.is_none()), (Some(true), true));
        let What::Dump(dump) = &found[1].what else { panic!("{found:?}") };
        assert_eq!((dump.spec.content.jobs, dump.spec.schedule.as_str()), (Some(4), "0 0 4 * * 0"));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        let told = |text: &str| format!("{}\n", schedules(text).unwrap_err());
        let backup = |spec: &str| told(&format!("{BACKUP}{spec}"));
        let dump = |spec: &str| told(&format!("{DUMP}spec: {{{spec}}}"));
        expect![[r#"
            line 1: spec is missing: add it
            line 4: spec.schedule is missing: add it
            line 4: spec.schedul is not a field: did you mean schedule?
            line 4: spec.cluster is "db" (text), but a map is needed: write its fields below it, indented
            line 4: spec.immediate is "yes" (text), but true or false is needed: write one of the two, without quotes
            line 4: spec.schedul is not a field: did you mean schedule?
            line 4: spec.database is not a field: did you mean databases?
            line 4: spec.jobs is "4" (text), but a whole number is needed: write 4 without quotes
            line 4: spec.format is "tar", which is not a choice: use one of custom, directory
            line 1 begins a ScheduledDump with apiVersion "postgresql.cnpg.io/v1": write apiVersion: pgherd.dev/v1alpha1
        "#]]
        .assert_eq(
            &[
                backup(""),
                backup("spec: {cluster: {name: db}}"),
                backup("spec: {schedul: x, cluster: {name: db}}"),
                backup("spec: {schedule: x, cluster: db}"),
                backup("spec: {schedule: x, cluster: {name: db}, immediate: 'yes'}"),
                dump("schedul: x, cluster: {name: db}"),
                dump("schedule: x, cluster: {name: db}, database: [app]"),
                dump("schedule: x, cluster: {name: db}, jobs: '4'"),
                dump("schedule: x, cluster: {name: db}, format: tar"),
                told(&BACKUP.replace("ScheduledBackup", "ScheduledDump").replace("metadata", "spec: {}\nmetadata")),
            ]
            .concat(),
        );
    }

    #[test]
    fn the_fields_of_a_scheduled_dump_are_those_of_its_definition() {
        let all = definitions();
        let dumps = all.iter().find(|it| it["spec"]["names"]["kind"] == "ScheduledDump").unwrap();
        let schema = &dumps["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let fields = schema["properties"]["spec"]["properties"].as_object().unwrap();
        let fields: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(fields, OF_DUMPS.iter().copied().collect());
    }
}
