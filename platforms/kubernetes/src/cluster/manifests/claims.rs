//! Makes the claims for the volumes of an instance.
//!
//! Never asks for less than exists: that is for whoever compares the two.

use super::Blueprint;
use super::labels::{self, add_annotations, add_labels, texts};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pgherd_api::cluster::storage::Storage;
use pgherd_core::names::InstanceName;

/// What a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStatus {
    /// Nothing yet, or the beginning of a copy.
    Initializing,
    /// The data of an instance.
    Ready,
    /// The data of an instance that has no pod.
    Detached,
}

impl ClaimStatus {
    /// As it is written into the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Ready => "ready",
            Self::Detached => "detached",
        }
    }
}

/// The name of the claim for an instance's data.
pub fn data_name(instance: &InstanceName) -> String {
    instance.to_string()
}

/// The name of the claim for an instance's WAL.
pub fn wal_name(instance: &InstanceName) -> String {
    format!("{instance}-wal")
}

/// The claims of an instance: for its data, and for its WAL if that has a volume of its own.
pub fn claims(
    blueprint: &Blueprint<'_>,
    instance: &InstanceName,
    status: ClaimStatus,
) -> Vec<PersistentVolumeClaim> {
    let claim = |name: String, role: &str, storage: &Storage| {
        let mut metadata = blueprint.remembered_metadata(name);
        let instance_name = instance.to_string();
        let own = [(labels::INSTANCE, &*instance_name), (labels::CLAIM_ROLE, role)];
        add_labels(&mut metadata, texts(own));
        let serial = instance.serial().to_string();
        let own = [(labels::SERIAL, &*serial), (labels::CLAIM_STATUS, status.as_str())];
        add_annotations(&mut metadata, texts(own));
        PersistentVolumeClaim { metadata, spec: Some(spec(storage)), status: None }
    };
    let wanted = blueprint.spec();
    let data = claim(data_name(instance), "PG_DATA", &wanted.storage);
    let wal = wanted.wal_storage.as_ref();
    let wal = wal.map(|storage| claim(wal_name(instance), "PG_WAL", storage));
    [data].into_iter().chain(wal).collect()
}

/// The template, what is said beside it, and defaults where both are silent.
fn spec(storage: &Storage) -> PersistentVolumeClaimSpec {
    let mut spec = storage.pvc_template.clone().unwrap_or_default();
    if let Some(size) = &storage.size {
        let requests = &mut spec.resources.get_or_insert_default().requests;
        requests.get_or_insert_default().insert("storage".to_owned(), Quantity(size.clone()));
    }
    if let Some(class) = &storage.storage_class {
        spec.storage_class_name = Some(class.clone());
    }
    spec.access_modes = spec
        .access_modes
        .filter(|modes| !modes.is_empty())
        .or_else(|| Some(vec!["ReadWriteOnce".to_owned()]));
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    spec
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_claim_has_what_users_know() {
        let sample = Sample::minimal();
        let first = sample.instance(1);
        expect![[r#"
            - apiVersion: v1
              kind: PersistentVolumeClaim
              metadata:
                annotations: {cnpg.io/nodeSerial: "1", cnpg.io/pvcStatus: initializing}
                labels: {cnpg.io/instanceName: db-1, cnpg.io/pvcRole: PG_DATA}
                name: db-1
              spec:
                accessModes: [ReadWriteOnce]
                resources: {requests: {storage: "1Gi"}}
                volumeMode: Filesystem
        "#]]
        .assert_eq(&sample.shown(|it| claims(it, &first, ClaimStatus::Initializing)));
    }

    #[test]
    fn size_and_class_win_over_the_template() {
        let sample = Sample::spec(
            "instances: 3
storage:
  size: 2Gi
  storageClass: fast
  pvcTemplate:
    accessModes: [ReadWriteOncePod]
    storageClassName: slow
    resources: {requests: {storage: 1Gi}, limits: {storage: 9Gi}}
walStorage:
  pvcTemplate:
    storageClassName: slow
    volumeAttributesClassName: gold
    resources: {requests: {storage: 1Gi}}",
        );
        let second = sample.instance(2);
        expect![[r#"
            - [0].spec.accessModes[0]: "ReadWriteOnce"
            + [0].spec.accessModes[0]: "ReadWriteOncePod"
            + [0].spec.resources.limits.storage: "9Gi"
            - [0].spec.resources.requests.storage: "1Gi"
            + [0].spec.resources.requests.storage: "2Gi"
            + [0].spec.storageClassName: "fast"
            + [1].apiVersion: "v1"
            + [1].kind: "PersistentVolumeClaim"
            + [1].metadata.annotations.cnpg.io/nodeSerial: "2"
            + [1].metadata.annotations.cnpg.io/pvcStatus: "ready"
            + [1].metadata.labels.app.kubernetes.io/component: "database"
            + [1].metadata.labels.app.kubernetes.io/instance: "db"
            + [1].metadata.labels.app.kubernetes.io/managed-by: "cloudnative-pg"
            + [1].metadata.labels.app.kubernetes.io/name: "postgresql"
            + [1].metadata.labels.app.kubernetes.io/version: "18"
            + [1].metadata.labels.cnpg.io/cluster: "db"
            + [1].metadata.labels.cnpg.io/instanceName: "db-2"
            + [1].metadata.labels.cnpg.io/pvcRole: "PG_WAL"
            + [1].metadata.name: "db-2-wal"
            + [1].metadata.namespace: "shop"
            + [1].metadata.ownerReferences[db].apiVersion: "postgresql.cnpg.io/v1"
            + [1].metadata.ownerReferences[db].blockOwnerDeletion: true
            + [1].metadata.ownerReferences[db].controller: true
            + [1].metadata.ownerReferences[db].kind: "Cluster"
            + [1].metadata.ownerReferences[db].name: "db"
            + [1].metadata.ownerReferences[db].uid: "5f2c"
            + [1].spec.accessModes[0]: "ReadWriteOnce"
            + [1].spec.resources.requests.storage: "1Gi"
            + [1].spec.storageClassName: "slow"
            + [1].spec.volumeAttributesClassName: "gold"
            + [1].spec.volumeMode: "Filesystem"
        "#]]
        .assert_eq(&sample.differs(|it| claims(it, &second, ClaimStatus::Ready)));
    }
}
