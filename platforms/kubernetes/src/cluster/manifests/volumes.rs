//! Says which volumes a pod has, and where it sees them.
//!
//! Never a volume that outlives the pod but by a claim of its own.

use super::identity::{self, Held, Need};
use super::{Blueprint, claims, secrets};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource, Pod,
    ProjectedVolumeSource, SecretKeySelector, SecretProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pgherd_api::agent::ExternalFile;
use pgherd_api::cluster::archive;
use pgherd_api::cluster::initdb::{InitDb, Keeper, KeptStatements};
use pgherd_api::cluster::references::ConfigMapKeySelector;
use pgherd_core::names::InstanceName;
use std::collections::BTreeSet;

/// Where the volume of the data is.
pub const DATA: &str = "/var/lib/postgresql/data";
/// The data folder within it.
pub const DATA_FOLDER: &str = "/var/lib/postgresql/data/pgdata";
/// Where the volume of the WAL is, if there is one.
pub const WAL: &str = "/var/lib/postgresql/wal";
/// Where the agent lives, and all that may be lost with the pod.
pub const CONTROLLER: &str = "/controller";
/// Where certificates and passwords are.
pub const IDENTITY: &str = "/controller/identity";
/// Where files are that the user wants to be shown.
pub const PROJECTED: &str = "/projected";

const DATA_NAME: &str = "pgdata";
const WAL_NAME: &str = "pg-wal";
const SCRATCH_NAME: &str = "scratch-data";
const IDENTITY_NAME: &str = "identity";
const PROJECTED_NAME: &str = "projected";
const SHARED_MEMORY_NAME: &str = "shm";
/// For the owner, which is root, and for the group of PostgreSQL.
const IDENTITY_MODE: i32 = 0o440;

pub(super) fn volumes(blueprint: &Blueprint<'_>, instance: &InstanceName) -> Vec<Volume> {
    let wanted = blueprint.spec();
    let limits = wanted.ephemeral_volumes_size_limit.clone().unwrap_or_default();
    let mut volumes = vec![claimed(DATA_NAME, claims::data_name(instance))];
    if wanted.wal_storage.is_some() {
        volumes.push(claimed(WAL_NAME, claims::wal_name(instance)));
    }
    let scratch = match &wanted.ephemeral_volume_source {
        Some(source) => Volume { ephemeral: Some(source.clone()), ..Volume::default() },
        None => temporary(None, limits.temporary_data),
    };
    volumes.push(Volume { name: SCRATCH_NAME.to_owned(), ..scratch });
    let shared_memory = temporary(Some("Memory"), limits.shm);
    volumes.push(Volume { name: SHARED_MEMORY_NAME.to_owned(), ..shared_memory });
    volumes.push(Volume {
        name: IDENTITY_NAME.to_owned(),
        projected: Some(identity_of(blueprint, instance)),
        ..Volume::default()
    });
    if let Some(template) = &wanted.projected_volume_template {
        volumes.push(Volume {
            name: PROJECTED_NAME.to_owned(),
            projected: Some(template.clone()),
            ..Volume::default()
        });
    }
    volumes
}

pub(super) fn mounts(blueprint: &Blueprint<'_>) -> Vec<VolumeMount> {
    let wanted = blueprint.spec();
    let mut mounts = vec![mount(DATA_NAME, DATA)];
    if wanted.wal_storage.is_some() {
        mounts.push(mount(WAL_NAME, WAL));
    }
    mounts.push(scratch_mount());
    mounts.push(mount(SHARED_MEMORY_NAME, "/dev/shm"));
    mounts.push(VolumeMount { read_only: Some(true), ..mount(IDENTITY_NAME, IDENTITY) });
    if wanted.projected_volume_template.is_some() {
        mounts.push(VolumeMount { read_only: Some(true), ..mount(PROJECTED_NAME, PROJECTED) });
    }
    mounts
}

pub(super) fn scratch_mount() -> VolumeMount {
    mount(SCRATCH_NAME, CONTROLLER)
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn claimed(name: &str, claim_name: String) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
    let name = name.to_owned();
    Volume { name, persistent_volume_claim: Some(source), ..Volume::default() }
}

fn temporary(medium: Option<&str>, size_limit: Option<Quantity>) -> Volume {
    let source = EmptyDirVolumeSource { medium: medium.map(ToOwned::to_owned), size_limit };
    Volume { empty_dir: Some(source), ..Volume::default() }
}

/// All certificates and passwords of an instance, in the folders where its agent looks for them.
fn identity_of(blueprint: &Blueprint<'_>, instance: &InstanceName) -> ProjectedVolumeSource {
    let own = secrets::agent_name(instance);
    let files = identity::files(blueprint);
    let common = files.iter().filter(|file| file.need == Need::Required);
    let common = common.filter_map(|file| Some((file.held.key()?, file.path)));
    let of_agent =
        [("tls.crt", "tls/tls.crt"), ("tls.key", "tls/tls.key"), ("ca.crt", "tls/ca.crt")];
    let all: Vec<_> = of_agent.into_iter().chain(common).collect();
    let mut sources = vec![secret(own.clone(), &all)];
    sources.extend(files.iter().filter_map(|file| match (file.held, file.need) {
        (Held::Together(_), Need::Required) => None,
        (Held::Together(key), Need::Optional) => {
            Some(optional(secret(own.clone(), &[(key, file.path)])))
        }
        (Held::ByUser, need) => {
            let given = secret(file.original.0.clone(), &[(file.original.1, file.path)]);
            Some(if need == Need::Optional { optional(given) } else { given })
        }
    }));
    sources.extend(external(blueprint, instance));
    sources.extend(statements(blueprint, instance));
    sources.extend(archive(blueprint));
    sources.extend(recovery(blueprint, instance));
    ProjectedVolumeSource { default_mode: Some(IDENTITY_MODE), sources: Some(sources) }
}

/// Where that is which a cluster needs to begin, and never again.
const ORIGINS: [&str; 3] = ["external/", "recovery/", "statements/"];

/// Which Secret or ConfigMap, key and path a pod has for what its cluster begins with.
pub fn origins(pod: &Pod) -> BTreeSet<[&str; 3]> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    // Others are the user's.
    let own = volumes.filter(|volume| volume.name == IDENTITY_NAME);
    let sources = own.flat_map(|volume| volume.projected.iter());
    let sources = sources.flat_map(|projected| projected.sources.iter().flatten());
    let all = sources.filter(|source| is_of_origin(source)).flat_map(|source| {
        let (name, items) = shown(source);
        items.map(move |item| [name, item.key.as_str(), item.path.as_str()])
    });
    all.collect()
}

/// The same volumes without that: once there is a cluster, nobody needs it.
pub(super) fn without_origins<'a>(volumes: impl Iterator<Item = &'a mut Volume>) {
    let own = volumes.filter(|volume| volume.name == IDENTITY_NAME);
    for projected in own.filter_map(|volume| volume.projected.as_mut()) {
        projected.sources.iter_mut().for_each(|all| all.retain(|source| !is_of_origin(source)));
    }
}

fn is_of_origin(source: &VolumeProjection) -> bool {
    let (_, mut items) = shown(source);
    items.any(|item| ORIGINS.iter().any(|origin| item.path.starts_with(origin)))
}

/// What a source shows of which Secret or ConfigMap.
fn shown(source: &VolumeProjection) -> (&str, impl Iterator<Item = &KeyToPath>) {
    let secret = source.secret.as_ref().map(|it| (it.name.as_str(), &it.items));
    let map = source.config_map.as_ref().map(|it| (it.name.as_str(), &it.items));
    let (name, items) = secret.or(map).unzip();
    (name.unwrap_or_default(), items.into_iter().flatten().flatten())
}

/// What opens the server that the cluster begins as a copy of: only the first instance copies it. It
/// may be gone once that is done.
fn external(blueprint: &Blueprint<'_>, instance: &InstanceName) -> Vec<VolumeProjection> {
    let copied = blueprint.cluster.copied().filter(|_| instance.serial() == 1);
    let keys = copied.map(|(_, entry)| entry.keys()).unwrap_or_default().into_iter();
    let projection = |(_, file, kept): (_, ExternalFile, &SecretKeySelector)| {
        let path = format!("external/{}", file.name());
        optional(secret(kept.name.clone(), &[(kept.key.as_str(), path.as_str())]))
    };
    keys.map(projection).collect()
}

/// The user's statements for a new cluster: only the first instance runs them. They may be gone once
/// that is done.
fn statements(blueprint: &Blueprint<'_>, instance: &InstanceName) -> Vec<VolumeProjection> {
    let bootstrap = blueprint.spec().bootstrap.as_ref().filter(|_| instance.serial() == 1);
    let initdb = bootstrap.and_then(|bootstrap| bootstrap.initdb.as_ref());
    let kept = initdb.map(InitDb::kept_statements).unwrap_or_default().into_iter();
    let projection = |kept: KeptStatements| {
        let path = format!("statements/{}", kept.file.file);
        match kept.keeper {
            Keeper::Secret(place) => {
                optional(secret(place.name, &[(place.key.as_str(), path.as_str())]))
            }
            Keeper::ConfigMap(place) => config_map(place, path),
        }
    };
    kept.map(projection).collect()
}

fn config_map(place: ConfigMapKeySelector, path: String) -> VolumeProjection {
    let items = vec![KeyToPath { key: place.key, mode: None, path }];
    let map = ConfigMapProjection { items: Some(items), name: place.name, optional: Some(true) };
    VolumeProjection { config_map: Some(map), ..VolumeProjection::default() }
}

/// What opens the archive. An instance runs without it, too, and tells what is missing.
fn archive(blueprint: &Blueprint<'_>) -> Vec<VolumeProjection> {
    let keys = blueprint.cluster.archive_keys().into_iter();
    keys.map(|kept| kept_in("archive", kept)).collect()
}

/// What opens the archive that the cluster begins with: only the first instance restores. It may be
/// gone once that is done.
fn recovery(blueprint: &Blueprint<'_>, instance: &InstanceName) -> Vec<VolumeProjection> {
    if instance.serial() != 1 {
        return Vec::new();
    }
    let keys = blueprint.cluster.recovered_archive_keys().into_iter();
    keys.map(|kept| kept_in("recovery", kept)).collect()
}

fn kept_in(folder: &str, kept: archive::Kept) -> VolumeProjection {
    let path = format!("{folder}/{}", kept.file.name());
    optional(secret(kept.place.name, &[(kept.place.key.as_str(), path.as_str())]))
}

/// A pod does not wait for it.
fn optional(mut projection: VolumeProjection) -> VolumeProjection {
    if let Some(secret) = &mut projection.secret {
        secret.optional = Some(true);
    }
    projection
}

fn secret(name: String, files: &[(&str, &str)]) -> VolumeProjection {
    let item = |(key, path): &(&str, &str)| KeyToPath {
        key: (*key).to_owned(),
        mode: None,
        path: (*path).to_owned(),
    };
    let items = Some(files.iter().map(item).collect());
    let secret = SecretProjection { items, name, optional: None };
    VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_opens_the_source_is_shown_to_the_first_instance_only() {
        let sample = Sample::spec(
            "instances: 3\nbootstrap: {pg_basebackup: {source: b}}\nexternalClusters:\n\
             - {name: a, connectionParameters: {host: x}, password: {name: other, key: p}}\n\
             - {name: b, connectionParameters: {host: x}, password: {name: login, key: p}, \
             sslRootCert: {name: ca, key: ca.crt}}",
        );
        let first = sample.instance(1);
        expect![[r#"
            - secret: {items: [{key: p, path: external/password}], name: login, optional: true}
            - secret: {items: [{key: ca.crt, path: external/ca.crt}], name: ca, optional: true}
        "#]]
        .assert_eq(&sample.shown(|it| external(it, &first)));
        let second = sample.instance(2);
        assert_eq!(sample.made(|it| external(it, &second)), []);
    }

    #[test]
    fn statements_kept_elsewhere_are_shown_to_the_first_instance_only() {
        let sample = Sample::spec(
            "instances: 3\nbootstrap: {initdb: {postInitSQLRefs: {configMapRefs: [{name: m, key: b}], \
             secretRefs: [{name: s, key: a}]}, postInitApplicationSQLRefs: {configMapRefs: \
             [{name: m, key: c}]}}}",
        );
        let (first, second) = (sample.instance(1), sample.instance(2));
        expect![[r#"
            - secret: {items: [{key: a, path: statements/postgres-1}], name: s, optional: true}
            - configMap:
                items: [{key: b, path: statements/postgres-2}]
                name: m
                optional: true
            - configMap:
                items: [{key: c, path: statements/application-1}]
                name: m
                optional: true
        "#]]
        .assert_eq(&sample.shown(|it| statements(it, &first)));
        assert_eq!(sample.made(|it| statements(it, &second)), []);
    }

    #[test]
    fn what_opens_the_source_of_a_recovery_is_shown_to_the_first_instance_only() {
        let sample = Sample::spec(
            "instances: 3\nbootstrap: {recovery: {source: b}}\nexternalClusters:\n\
             - {name: b, barmanObjectStore: {destinationPath: s3://b, s3Credentials: {accessKeyId: \
             {name: s, key: ID}, secretAccessKey: {name: s, key: KEY}}}}",
        );
        let (first, second) = (sample.instance(1), sample.instance(2));
        expect![[r#"
            - secret:
                items: [{key: ID, path: recovery/access-key-id}]
                name: s
                optional: true
            - secret:
                items: [{key: KEY, path: recovery/secret-access-key}]
                name: s
                optional: true
        "#]]
        .assert_eq(&sample.shown(|it| recovery(it, &first)));
        assert_eq!(sample.made(|it| recovery(it, &second)), []);
    }

    #[test]
    fn what_archives_are_encrypted_with_is_shown_like_what_opens_them() {
        let spec = "instances: 3\nbackup: {barmanObjectStore: {destinationPath: /b}}\n\
                    bootstrap: {recovery: {source: b}}\nexternalClusters:\n\
                    - {name: b, barmanObjectStore: {destinationPath: /b}}";
        let annotations = "{pgherd.dev/repositoryKey: keys/own, \
                           pgherd.dev/sourceRepositoryKey: keys/theirs}";
        let sample = Sample::annotated(annotations, spec);
        let (first, second) = (sample.instance(1), sample.instance(2));
        expect![[r#"
            - secret:
                items: [{key: own, path: archive/repository-key}]
                name: keys
                optional: true
        "#]]
        .assert_eq(&sample.shown(archive));
        expect![[r#"
            - secret:
                items: [{key: theirs, path: recovery/repository-key}]
                name: keys
                optional: true
        "#]]
        .assert_eq(&sample.shown(|it| recovery(it, &first)));
        assert_eq!(sample.made(|it| recovery(it, &second)), []);
    }

    #[test]
    fn what_opens_the_archive_is_shown_to_every_instance_and_may_be_missing() {
        let sample = Sample::spec(
            "instances: 3\nbackup: {barmanObjectStore: {destinationPath: s3://b, endpointCA: \
             {name: ca, key: ca.crt}, s3Credentials: {accessKeyId: {name: s, key: ID}, \
             secretAccessKey: {name: s, key: KEY}}}}",
        );
        expect![[r#"
            - {secret: {items: [{key: ca.crt, path: archive/ca.crt}], name: ca, optional: true}}
            - secret: {items: [{key: ID, path: archive/access-key-id}], name: s, optional: true}
            - secret:
                items: [{key: KEY, path: archive/secret-access-key}]
                name: s
                optional: true
        "#]]
        .assert_eq(&sample.shown(archive));
        assert_eq!(Sample::minimal().made(archive), []);
    }
}
