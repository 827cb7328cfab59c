//! Reads what the user wants from a manifest, or from the one that is built in.
//!
//! Never passes over what is not acted upon: it is told as a warning.

use crate::failure::{Failure, Kind};
use crate::key_file;
use pgherd_agent::archive;
use pgherd_agent::chain::chain;
use pgherd_agent::dump;
use pgherd_api::agent::{ArchiveFile, ArchiveSpec, ExternalFile};
use pgherd_api::cluster::annotations::{KeyPlace, REPOSITORY_KEY, SOURCE_REPOSITORY_KEY};
use pgherd_api::cluster::archive::Kept;
use pgherd_api::cluster::{Checked, Cluster};
use pgherd_api::field::FieldPath;
use pgherd_api::manifest::schedules::{SCHEDULES, schedules};
use pgherd_api::manifest::{SECRET, Secrets};
use pgherd_api::schedule::planned::{Order, Planned, planned};
use pgherd_api::warning::Caution;
use pgherd_core::names::ClusterName;
use pgherd_core::wishes::MOST_INSTANCES;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What a manifest means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub checked: Checked,
    /// What opens the archive.
    pub keys: Keys,
    /// What opens the archive that the cluster begins with a backup of.
    pub recovery_keys: Keys,
    /// What opens the server that the cluster begins as a copy of.
    pub external: ExternalKeys,
    /// When backups and dumps are taken.
    pub schedules: Vec<Planned>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// What opens an archive, each by the file that an agent finds it in. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    entries: BTreeMap<ArchiveFile, Vec<u8>>,
    /// The file with the key of the repository, if it is not an entry of a Secret.
    key_file: Option<PathBuf>,
}

/// What opens a server, each by the file that an agent finds it in. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExternalKeys(BTreeMap<ExternalFile, Vec<u8>>);

impl ExternalKeys {
    pub fn files(&self) -> impl Iterator<Item = (ExternalFile, &[u8])> {
        self.0.iter().map(|(file, content)| (*file, content.as_slice()))
    }

    pub(crate) fn get(&self, file: ExternalFile) -> Option<&[u8]> {
        self.0.get(&file).map(Vec::as_slice)
    }
}

impl fmt::Debug for ExternalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Keys {
    pub fn files(&self) -> impl Iterator<Item = (ArchiveFile, &[u8])> {
        self.entries.iter().map(|(file, content)| (*file, content.as_slice()))
    }

    /// Whether the user's own file has not been read: what was kept of it before still counts.
    pub(crate) fn keeps(&self, file: ArchiveFile) -> bool {
        file == ArchiveFile::RepositoryKey
            && self.key_file.is_some()
            && !self.entries.contains_key(&file)
    }

    fn read(&mut self) -> Result<(), Failure> {
        if let Some(path) = &self.key_file {
            self.entries.insert(ArchiveFile::RepositoryKey, key_file::read(path)?);
        }
        Ok(())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Manifest {
    /// The same with the files that hold keys of repositories read.
    pub fn with_key_files(mut self) -> Result<Self, Failure> {
        self.keys.read()?;
        self.recovery_keys.read()?;
        Ok(self)
    }

    /// A manifest says whose it is, and `own` is the cluster it was given for.
    pub fn refuse_other_name(&self, own: &ClusterName) -> Result<(), Failure> {
        let given = &self.checked.name;
        if given == own {
            return Ok(());
        }
        let what = format!("the manifest is of cluster {given}, and this is {own}");
        Err(Failure::new(Kind::Usage, what).fix(format!("--name {given}")))
    }
}

/// Understands a manifest, or tells every reason why it is refused. `count` stands in for the
/// number of instances it asks for.
pub fn understand(text: &str, count: Option<u32>) -> Result<Manifest, Failure> {
    let manifest = without_schedules(text, count)?;
    let scheduled = scheduled(text, &manifest.checked);
    let schedules = scheduled.map_err(|cause| refusal().because(cause))?;
    Ok(with_schedules(manifest, schedules))
}

/// Understands one that was accepted before, by an older program perhaps, which passed over schedules:
/// one of them that is refused stops nothing else.
pub fn kept(text: &str, count: Option<u32>) -> Result<Manifest, Failure> {
    let mut manifest = without_schedules(text, count)?;
    Ok(match scheduled(text, &manifest.checked) {
        Ok(schedules) => with_schedules(manifest, schedules),
        Err(cause) => {
            manifest.warnings.push(format!("nothing is taken by a schedule: {cause}"));
            manifest
        }
    })
}

fn with_schedules(mut manifest: Manifest, mut schedules: Vec<Planned>) -> Manifest {
    manifest.warnings.extend(schedules.iter().filter_map(Planned::warning));
    if manifest.checked.is_backed_up_first() && !schedules.iter().any(Planned::is_backup_at_once) {
        schedules.push(Planned::first());
    }
    Manifest { schedules, ..manifest }
}

fn scheduled(text: &str, cluster: &Checked) -> Result<Vec<Planned>, String> {
    let written = schedules(text).map_err(|error| error.to_string())?;
    let all = planned(&written, cluster.name.as_str()).map_err(|error| error.to_string())?;
    for one in &all {
        let key = one.key();
        if cluster.postgres.archive.is_none() {
            return Err(format!(
                "{key} has nowhere to go: add spec.backup.barmanObjectStore to the Cluster, or remove the schedule"
            ));
        }
        if let Order::Dump(order) = &one.order {
            dump::check(order).map_err(|refusal| format!("{key} is refused: {}", refusal.why))?;
        }
    }
    Ok(all)
}

fn refusal() -> Failure {
    Failure::new(Kind::Usage, "the manifest is refused")
}

fn without_schedules(text: &str, count: Option<u32>) -> Result<Manifest, Failure> {
    if let Some(count) = count {
        refuse_count(count)?;
    }
    let refused = |cause: String| refusal().because(cause);
    let (mut cluster, read) =
        Cluster::from_yaml(text).map_err(|error| refused(error.to_string()))?;
    if let Some(count) = count {
        cluster.spec.instances = count.into();
    }
    let (mut checked, found) = cluster.checked().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        refused(problems.join("; "))
    })?;
    let secrets = Secrets::from_yaml(text).map_err(|error| refused(error.to_string()))?;
    let (own, source) = (&checked.postgres.archive, &checked.postgres.recovery);
    let source = source.as_ref().map(|it| &it.source);
    let sides = [
        (cluster.archive(), own.as_ref(), cluster.archive_keys(), REPOSITORY_KEY),
        (
            cluster.recovered_archive(),
            source,
            cluster.recovered_archive_keys(),
            SOURCE_REPOSITORY_KEY,
        ),
    ];
    let both: [Result<Keys, Failure>; 2] = sides.map(|(written, told, kept, annotation)| {
        let (Some((place, _)), Some(told)) = (written, told) else { return Ok(Keys::default()) };
        let keys = keys((place, told), kept, &secrets).map_err(refused)?;
        let key_file = match cluster.repository_key(annotation) {
            Some(KeyPlace::File(path)) => Some(path),
            Some(KeyPlace::Secret(_)) | None => None,
        };
        Ok(Keys { key_file, ..keys })
    });
    let [own_keys, recovery_keys] = both;
    let (own_keys, recovery_keys) = (own_keys?, recovery_keys?);
    let is_read = |kind: &str| kind == SECRET || SCHEDULES.contains(&kind);
    let is_news = |caution: &Caution| !matches!(caution, Caution::DocumentSkipped { kind, .. } if is_read(kind));
    let read = read.iter().filter(|warning| is_news(&warning.caution));
    let mut warnings: Vec<String> = read.chain(&found).map(ToString::to_string).collect();
    // Nothing but Secrets is read of the other objects.
    checked.postgres.initdb.statement_files.clear();
    let opened = opened(&cluster, &secrets);
    let ignored = cluster.ignored_beside(&opened);
    let ignored: Vec<String> = ignored.iter().map(ToString::to_string).collect();
    if !ignored.is_empty() {
        warnings.push(format!("not acted upon yet: {}", ignored.join(", ")));
    }
    let external = external(&cluster, &secrets);
    let schedules = Vec::new();
    Ok(Manifest { checked, keys: own_keys, recovery_keys, external, schedules, warnings })
}

/// The fields that name what opens the server that is copied, and is there.
fn opened(cluster: &Cluster, secrets: &Secrets) -> Vec<FieldPath> {
    let Some((place, entry)) = cluster.copied() else { return Vec::new() };
    let keys = entry.keys().into_iter();
    let found = keys.filter(|(_, _, kept)| secrets.get(&kept.name, &kept.key).is_some());
    found.map(|(field, _, _)| place.name(field)).collect()
}

/// What is not there is missed by the agent, while it is needed: a cluster that exists goes on without.
fn external(cluster: &Cluster, secrets: &Secrets) -> ExternalKeys {
    let named = cluster.copied().into_iter().flat_map(|(_, entry)| entry.keys());
    let found = named
        .filter_map(|(_, file, kept)| Some((file, secrets.get(&kept.name, &kept.key)?.to_owned())));
    ExternalKeys(found.collect())
}

/// What opens an archive, from the Secrets in the same file; or why it cannot be used.
fn keys(
    (place, told): (FieldPath, &ArchiveSpec),
    named: Vec<Kept>,
    secrets: &Secrets,
) -> Result<Keys, String> {
    archive::check(told).map_err(|error| format!("{place} is refused: {}", chain(&error)))?;
    let mut entries = BTreeMap::new();
    for Kept { named, file, place: kept } in named {
        let content = secrets.get(&kept.name, &kept.key).ok_or_else(|| {
            format!(
                "{named} names key {} of Secret {}, and the file holds no such Secret: add it as a \
                 document of its own (apiVersion: v1, kind: Secret)",
                kept.key, kept.name
            )
        })?;
        if file == ArchiveFile::RepositoryKey {
            let refused = |error| format!("{named} names a Secret whose key is refused: {error}");
            archive::check_key(content).map_err(refused)?;
        }
        entries.insert(file, content.to_owned());
    }
    Ok(Keys { entries, key_file: None })
}

/// It stands in no manifest: whoever gave it is told of the option.
fn refuse_count(count: u32) -> Result<(), Failure> {
    let why = match count {
        0 => "a cluster has at least one instance".to_owned(),
        1..=MOST_INSTANCES => return Ok(()),
        _ => format!("at most {MOST_INSTANCES} instances can agree in time"),
    };
    let failure = Failure::new(Kind::Usage, format!("--instances {count} is refused")).because(why);
    Err(failure
        .fix(format!("write a number from 1 to {MOST_INSTANCES}, for example --instances 3")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: &str = "# As somebody might write it.
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata:
  name: db
spec:
  instances: 3
";

    #[test]
    fn what_is_not_acted_upon_is_told() {
        let text = DB;
        let text = text.replace("spec:", "spec:\n  logLevel: debug\n  storage: {size: 1Gi}");
        let warnings = understand(&text, None).unwrap().warnings;
        expect_test::expect!["not acted upon yet: spec.logLevel, spec.storage"]
            .assert_eq(&warnings.join("\n"));
    }

    #[test]
    fn what_opens_an_archive_comes_from_secrets_beside_the_cluster() {
        let text = DB.to_owned()
            + "  backup: {barmanObjectStore: {destinationPath: s3://b, endpointURL: 'http://m:9', \
               s3Credentials: {accessKeyId: {name: s, key: a}, secretAccessKey: {name: s, key: b}}}}\n";
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
        let refused = |text: &str| understand(text, None).unwrap_err().cause.unwrap();
        expect_test::expect![[r#"
            spec.backup.barmanObjectStore.accessKeyId names key a of Secret s, and the file holds no such Secret: add it as a document of its own (apiVersion: v1, kind: Secret)
            spec.backup.barmanObjectStore.secretAccessKey names key b of Secret s, and the file holds no such Secret: add it as a document of its own (apiVersion: v1, kind: Secret)
            spec.backup.barmanObjectStore is refused: reading where the archive lies: "http:m:9" is no endpoint: use the form https://HOST:PORT
            spec.backup.barmanObjectStore is refused: reading where the archive lies: "b" is relative, and where agents run nobody knows to what: write an absolute folder, such as /srv/backups, or the address of a store"#]]
        .assert_eq(
            &[
                refused(&text),
                refused(&format!("{text}{secret}stringData: {{a: x}}\n")),
                refused(&text.replace("http://", "http:")),
                refused(&text.replace("s3://", "")),
            ]
            .join("\n"),
        );
        let whole = format!("{text}{secret}stringData: {{a: id, b: hunter2}}\n");
        let manifest = understand(&whole, None).unwrap();
        assert_eq!(manifest.warnings, Vec::<String>::new());
        assert_eq!(manifest.keys.files().count(), 2);
        assert!(!format!("{manifest:?}").contains("hunter2"));
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        let cause = |text: &str, count| understand(text, count).unwrap_err().cause.unwrap();
        let text = DB;
        expect_test::expect![[r#"
            a cluster has at least one instance
            at most 9 instances can agree in time
            spec.instances is 0, but a cluster has at least one instance: write a number from 1 to 9, for example 3
            line 7: spec.instances is "three" (text), but a whole number is needed: write one, for example 3
            line 7: spec.instance is not a field: did you mean instances?
            metadata.name is refused: cluster name "Db_" is not a DNS label: use at most 50 lower-case letters, digits and '-', starting with a letter and not ending with '-'
            line 7: spec.nodes is not a field: correct or remove it"#]].assert_eq(
            &[
                cause(text, Some(0)),
                cause(text, Some(10)),
                cause(&text.replace("instances: 3", "instances: 0"), None),
                cause(&text.replace("instances: 3", "instances: three"), None),
                cause(&text.replace("instances:", "instance:"), None),
                cause(&text.replace("name: db", "name: Db_"), None),
                cause(&text.replace("  instances", "  nodes: 3\n  instances"), None),
            ]
            .join("\n"),
        );
    }
}
