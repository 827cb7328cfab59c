//! Decides what agents are told of the archive in `spec.backup.barmanObjectStore`.
//!
//! Never reads a secret: it only says which entries of Secrets are needed.

use super::Cluster;
use super::annotations::{self, Annotations, KeyPlace, REPOSITORY_KEY, SOURCE_REPOSITORY_KEY};
use super::object_store::{
    AzureCredentials, BarmanObjectStore, Compression, GoogleCredentials, S3Credentials,
};
use super::problem::{Findings, Refusal};
use super::references::SecretKeySelector;
use crate::agent::{ArchiveFile, ArchiveIdentity, ArchiveSpec, DataSpec};
use crate::field::FieldPath;
use crate::warning::Caution;
use pgherd_core::backup::retention::{Policy, PolicyError};
use pgherd_core::names::ClusterName;

/// Why nothing can be archived to a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum ArchiveRefusal {
    #[error(
        "says nothing of who writes there: add s3Credentials, azureCredentials or googleCredentials"
    )]
    NoKey,
    #[error(
        "is neither a URL nor a folder: write s3://BUCKET/PATH, gs://BUCKET/PATH, an https:// URL of \
         Azure, or the folder's path from / on"
    )]
    NoPlace,
    #[error("has {} at once, but an archive lies in one place: keep one of them", .given.join(" and "))]
    Keys { given: Vec<&'static str> },
    #[error(
        "needs accessKeyId and secretAccessKey, or inheritFromIAMRole: write one of the two ways"
    )]
    S3,
    #[error(
        "needs one of connectionString, storageKey, storageSasToken, inheritFromAzureAD and \
         useDefaultAzureCredentials: write exactly one"
    )]
    Azure,
    #[error("needs applicationCredentials or gkeEnvironment: write one of the two")]
    Google,
    #[error("is refused: {0}")]
    Retention(PolicyError),
    #[error("is refused: {why}")]
    Place { why: String },
}

/// An entry of a Secret that an archive needs: the field that names it, what it is, and where it
/// is kept.
pub type Key<'a> = (&'static str, ArchiveFile, &'a SecretKeySelector);

/// The same for what may be named elsewhere than in the archive's own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What names it.
    pub named: FieldPath,
    /// What it is.
    pub file: ArchiveFile,
    /// Where it is kept.
    pub place: SecretKeySelector,
}

impl Cluster {
    /// The archive that the cluster's log goes to, and its place in the manifest.
    pub fn archive(&self) -> Option<(FieldPath, &BarmanObjectStore)> {
        let store = self.spec.backup.as_ref()?.barman_object_store.as_ref()?;
        Some((FieldPath::of("spec.backup.barmanObjectStore"), store))
    }

    /// The entries of Secrets that open the archive.
    pub fn archive_keys(&self) -> Vec<Kept> {
        self.kept(self.archive(), REPOSITORY_KEY)
    }

    /// The entries of Secrets that open the archive which the cluster begins with.
    pub fn recovered_archive_keys(&self) -> Vec<Kept> {
        self.kept(self.recovered_archive(), SOURCE_REPOSITORY_KEY)
    }

    fn kept(
        &self,
        archive: Option<(FieldPath, &BarmanObjectStore)>,
        annotation: &str,
    ) -> Vec<Kept> {
        let Some((place, store)) = archive else { return Vec::new() };
        let fields = store.keys().into_iter().map(|(field, file, kept)| Kept {
            named: place.name(field),
            file,
            place: kept.clone(),
        });
        let key = match self.repository_key(annotation) {
            Some(KeyPlace::Secret(place)) => {
                let (named, file) = (annotations::place(annotation), ArchiveFile::RepositoryKey);
                Some(Kept { named, file, place })
            }
            Some(KeyPlace::File(_)) | None => None,
        };
        fields.chain(key).collect()
    }
}

/// What an archive is encrypted with has to be among what opens it.
pub(super) fn with_key(mut told: ArchiveSpec, key: Option<&KeyPlace>) -> ArchiveSpec {
    if key.is_some() {
        told.files.insert(ArchiveFile::RepositoryKey);
    }
    told
}

impl BarmanObjectStore {
    /// What opens it.
    pub fn keys(&self) -> Vec<Key<'_>> {
        let mut keys = vec![(ArchiveFile::EndpointCa, self.endpoint_ca.as_ref())];
        if let Some(s3) = &self.s3_credentials {
            keys.extend([
                (ArchiveFile::AccessKeyId, s3.access_key_id.as_ref()),
                (ArchiveFile::SecretAccessKey, s3.secret_access_key.as_ref()),
                (ArchiveFile::SessionToken, s3.session_token.as_ref()),
                (ArchiveFile::Region, s3.region.as_ref()),
            ]);
        }
        if let Some(azure) = &self.azure_credentials {
            keys.extend([
                (ArchiveFile::ConnectionString, azure.connection_string.as_ref()),
                (ArchiveFile::StorageAccount, azure.storage_account.as_ref()),
                (ArchiveFile::StorageKey, azure.storage_key.as_ref()),
                (ArchiveFile::StorageSasToken, azure.storage_sas_token.as_ref()),
            ]);
        }
        if let Some(google) = &self.google_credentials {
            let key = google.application_credentials.as_ref();
            keys.push((ArchiveFile::ApplicationCredentials, key));
        }
        keys.into_iter().filter_map(|(file, kept)| Some((file.field(), file, kept?))).collect()
    }

    /// Whether it is a folder of the machine.
    fn is_folder(&self) -> bool {
        self.destination_path.starts_with('/') || self.destination_path.starts_with("file://")
    }
}

/// What agents are told of the archive, if there is one.
pub(super) fn checked(
    cluster: &Cluster,
    name: &ClusterName,
    annotations: &Annotations,
    findings: &mut Findings,
) -> Option<ArchiveSpec> {
    let key = cluster.repository_key(REPOSITORY_KEY);
    if key.is_some() && cluster.archive().is_none() {
        findings.warn(&annotations::place(REPOSITORY_KEY), Caution::NothingToEncrypt);
    }
    let (place, store) = cluster.archive()?;
    let retention = cluster.spec.backup.as_ref().and_then(|it| it.retention_policy.clone());
    // Templates leave empty texts behind.
    let retention = retention.filter(|it| !it.is_empty());
    if let Some(Err(error)) = retention.as_deref().map(Policy::parse) {
        let path = FieldPath::of("spec.backup.retentionPolicy");
        findings.refuse(&path, Refusal::Archive(ArchiveRefusal::Retention(error)));
    }
    let told = told(store, name.as_str(), &place, findings)?;
    let (stream, rate) = (annotations.stream, annotations.backup_rate);
    let data = DataSpec { rate, ..told.data };
    Some(with_key(ArchiveSpec { stream, data, retention, ..told }, key.as_ref()))
}

/// What agents are told of one archive, whose folder is called `usual` unless it says otherwise.
pub(super) fn told(
    store: &BarmanObjectStore,
    usual: &str,
    place: &FieldPath,
    findings: &mut Findings,
) -> Option<ArchiveSpec> {
    let identity = match identity(store) {
        Ok(identity) => identity,
        Err((field, refusal)) => {
            let place = field.map_or_else(|| place.clone(), |field| place.name(field));
            findings.refuse(&place, Refusal::Archive(refusal));
            return None;
        }
    };
    let wal = store.wal.clone().unwrap_or_default();
    let at_once = wal.max_parallel.and_then(|most| u32::try_from(most).ok());
    Some(ArchiveSpec {
        destination: store.destination_path.clone(),
        endpoint: store.endpoint_url.clone(),
        server: store.server_name.clone().unwrap_or_else(|| usual.to_owned()),
        identity,
        files: store.keys().into_iter().map(|(_, file, _)| file).collect(),
        compression: wal.compression,
        encryption: wal.encryption,
        at_once: at_once.unwrap_or(1).max(1),
        stream: None,
        data: data(store, place, findings),
        retention: None,
    })
}

/// How base backups go there.
fn data(store: &BarmanObjectStore, place: &FieldPath, findings: &mut Findings) -> DataSpec {
    let data = store.data.clone().unwrap_or_default();
    let compression = match data.compression {
        Some(given @ (Compression::Bzip2 | Compression::Snappy)) => {
            let path = place.name("data").name("compression");
            findings.warn(&path, Caution::PackedWithGzip { given });
            Some(Compression::Gzip)
        }
        Some(Compression::Gzip | Compression::Lz4) | None => data.compression,
    };
    let usual = DataSpec::default();
    let at_once = data.jobs.and_then(|jobs| u32::try_from(jobs).ok()).filter(|jobs| *jobs > 0);
    DataSpec {
        compression,
        encryption: data.encryption,
        at_once: at_once.unwrap_or(usual.at_once),
        immediate_checkpoint: data.immediate_checkpoint.unwrap_or_default(),
        rate: usual.rate,
    }
}

type Refused = (Option<&'static str>, ArchiveRefusal);

fn identity(store: &BarmanObjectStore) -> Result<ArchiveIdentity, Refused> {
    let given = [
        ("s3Credentials", store.s3_credentials.is_some()),
        ("azureCredentials", store.azure_credentials.is_some()),
        ("googleCredentials", store.google_credentials.is_some()),
    ];
    let given: Vec<_> = given.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    if given.len() > 1 {
        return Err((None, ArchiveRefusal::Keys { given }));
    }
    let at = |field| move |refusal| (Some(field), refusal);
    if let Some(s3) = &store.s3_credentials {
        return of_s3(s3).map_err(at("s3Credentials"));
    }
    if let Some(azure) = &store.azure_credentials {
        return of_azure(azure).map_err(at("azureCredentials"));
    }
    if let Some(google) = &store.google_credentials {
        return of_google(google).map_err(at("googleCredentials"));
    }
    if store.is_folder() {
        return Ok(ArchiveIdentity::User);
    }
    if store.destination_path.contains("://") {
        return Err((None, ArchiveRefusal::NoKey));
    }
    Err((Some("destinationPath"), ArchiveRefusal::NoPlace))
}

fn of_s3(s3: &S3Credentials) -> Result<ArchiveIdentity, ArchiveRefusal> {
    let inherits = s3.inherit_from_iam_role.unwrap_or_default();
    match (&s3.access_key_id, &s3.secret_access_key, inherits) {
        (Some(_), Some(_), false) => Ok(ArchiveIdentity::S3Keys),
        (None, None, true) => Ok(ArchiveIdentity::S3Role),
        (Some(_) | None, Some(_) | None, _) => Err(ArchiveRefusal::S3),
    }
}

fn of_azure(azure: &AzureCredentials) -> Result<ArchiveIdentity, ArchiveRefusal> {
    let is = |flag: Option<bool>| flag.unwrap_or_default();
    let ways = [
        (azure.connection_string.is_some(), ArchiveIdentity::AzureConnection),
        (azure.storage_key.is_some(), ArchiveIdentity::AzureKey),
        (azure.storage_sas_token.is_some(), ArchiveIdentity::AzureSignature),
        (is(azure.inherit_from_azure_ad), ArchiveIdentity::AzureRole),
        (is(azure.use_default_azure_credentials), ArchiveIdentity::AzureRole),
    ];
    let mut ways = ways.into_iter().filter(|(is_given, _)| *is_given).map(|(_, identity)| identity);
    match (ways.next(), ways.next()) {
        (Some(identity), None) => Ok(identity),
        (Some(_) | None, _) => Err(ArchiveRefusal::Azure),
    }
}

fn of_google(google: &GoogleCredentials) -> Result<ArchiveIdentity, ArchiveRefusal> {
    match (&google.application_credentials, google.gke_environment.unwrap_or_default()) {
        (Some(_), false) => Ok(ArchiveIdentity::GoogleKey),
        (None, true) => Ok(ArchiveIdentity::GoogleRole),
        (Some(_), true) | (None, false) => Err(ArchiveRefusal::Google),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(store: &str) -> String {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{backup: {{barmanObjectStore: {{{store}}}}}}}}}"
        );
        match Cluster::from_yaml(&text).unwrap().0.checked() {
            Ok((checked, _)) => {
                let told = checked.postgres.archive.unwrap();
                let ArchiveSpec { destination, server, identity, files, at_once, .. } = told;
                format!("{destination} {server} {identity:?} {files:?} {at_once}\n")
            }
            Err(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                lines.join("\n") + "\n"
            }
        }
    }

    #[test]
    fn agents_are_told_who_they_are_there_without_its_secrets() {
        expect![[r#"
            /srv/backups db User {} 1
            file:///srv/backups shop User {} 4
            s3://b/p db S3Keys {AccessKeyId, SecretAccessKey, Region, EndpointCa} 1
            s3://b db S3Role {} 1
            gs://b db GoogleRole {} 1
            https://a.blob.core.windows.net/c db AzureKey {StorageAccount, StorageKey} 1
        "#]]
        .assert_eq(
            &[
                "destinationPath: /srv/backups",
                "destinationPath: 'file:///srv/backups', serverName: shop, wal: {maxParallel: 4}",
                "destinationPath: s3://b/p, endpointCA: {name: s, key: c}, s3Credentials: \
                 {accessKeyId: {name: s, key: a}, secretAccessKey: {name: s, key: b}, \
                 region: {name: s, key: r}}",
                "destinationPath: s3://b, s3Credentials: {inheritFromIAMRole: true}",
                "destinationPath: gs://b, googleCredentials: {gkeEnvironment: true}",
                "destinationPath: 'https://a.blob.core.windows.net/c', azureCredentials: \
                 {storageAccount: {name: s, key: a}, storageKey: {name: s, key: b}}",
            ]
            .map(outcome)
            .concat(),
        );
    }

    #[test]
    fn a_key_that_is_named_opens_the_archive_and_its_source() {
        let text = "{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: db, \
                    annotations: {pgherd.dev/repositoryKey: keys/own, \
                    pgherd.dev/sourceRepositoryKey: keys/theirs}}, spec: {backup: \
                    {barmanObjectStore: {destinationPath: /b}}, bootstrap: {recovery: {source: a}}, \
                    externalClusters: [{name: a, barmanObjectStore: {destinationPath: /a}}]}}";
        let read = |text: &str| Cluster::from_yaml(text).unwrap().0;
        let cluster = read(text);
        let (checked, warnings) = cluster.checked().unwrap();
        assert_eq!((warnings.as_slice(), checked.ignored.as_slice()), (&[][..], &[][..]));
        assert!(checked.postgres.archive.unwrap().is_encrypted());
        assert!(checked.postgres.recovery.unwrap().source.is_encrypted());
        let kept = [cluster.archive_keys(), cluster.recovered_archive_keys()].concat();
        let kept =
            kept.iter().map(|it| format!("{} {}/{}\n", it.named, it.place.name, it.place.key));
        expect![[r#"
            metadata.annotations["pgherd.dev/repositoryKey"] keys/own
            metadata.annotations["pgherd.dev/sourceRepositoryKey"] keys/theirs
        "#]]
        .assert_eq(&kept.collect::<String>());
        let nothing = text.replace("backup: {barmanObjectStore: {destinationPath: /b}},", "");
        let nothing = nothing.replace("bootstrap: {recovery: {source: a}},", "");
        let (_, warnings) = read(&nothing).checked().unwrap();
        let warnings = warnings.iter().map(|warning| format!("{warning}\n"));
        expect![[r#"
            metadata.annotations["pgherd.dev/sourceRepositoryKey"] encrypts and opens nothing: there is no archive that it would be for
            metadata.annotations["pgherd.dev/repositoryKey"] encrypts and opens nothing: there is no archive that it would be for
        "#]]
        .assert_eq(&warnings.collect::<String>());
    }

    #[test]
    fn what_nobody_could_write_to_is_refused() {
        expect![[r#"
            spec.backup.barmanObjectStore.destinationPath is neither a URL nor a folder: write s3://BUCKET/PATH, gs://BUCKET/PATH, an https:// URL of Azure, or the folder's path from / on
            spec.backup.barmanObjectStore says nothing of who writes there: add s3Credentials, azureCredentials or googleCredentials
            spec.backup.barmanObjectStore has s3Credentials and googleCredentials at once, but an archive lies in one place: keep one of them
            spec.backup.barmanObjectStore.s3Credentials needs accessKeyId and secretAccessKey, or inheritFromIAMRole: write one of the two ways
            spec.backup.barmanObjectStore.azureCredentials needs one of connectionString, storageKey, storageSasToken, inheritFromAzureAD and useDefaultAzureCredentials: write exactly one
            spec.backup.barmanObjectStore.googleCredentials needs applicationCredentials or gkeEnvironment: write one of the two
        "#]]
        .assert_eq(
            &[
                "destinationPath: srv/b",
                "destinationPath: s3://b",
                "destinationPath: s3://b, s3Credentials: {inheritFromIAMRole: true}, \
                 googleCredentials: {gkeEnvironment: true}",
                "destinationPath: s3://b, s3Credentials: {accessKeyId: {name: s, key: a}}",
                "destinationPath: s3://b, azureCredentials: {storageAccount: {name: s, key: a}}",
                "destinationPath: gs://b, googleCredentials: {}",
            ]
            .map(outcome)
            .concat(),
        );
    }
}
