//! Says which volumes of instances are full, and how they grow.
//!
//! Never with how many bytes are left: what is told goes into a status that is written when it changes.

use crate::cluster::manifests::claims;
use pgherd_api::agent::{FullVolume, ServerStatus, VolumeHolds};
use pgherd_api::cluster::spec::ClusterSpec;
use pgherd_api::cluster::storage::Storage;
use pgherd_core::names::InstanceName;
use std::collections::{BTreeMap, BTreeSet};

/// By instance: its full volumes. Of an agent that does not say which they are, none.
pub(crate) type Full = BTreeMap<InstanceName, Vec<FullVolume>>;

/// The full volumes of an instance, if it has any; none of them where it does not say which.
pub(crate) fn of(server: &ServerStatus) -> Option<Vec<FullVolume>> {
    let is_full = server.disk_full || !server.full_volumes.is_empty();
    is_full.then(|| server.full_volumes.clone())
}

/// What is full of one instance.
pub(crate) fn words(instance: &InstanceName, full: &[FullVolume]) -> String {
    let told = full.iter().map(|volume| {
        let claim = match volume.holds {
            VolumeHolds::Data => claims::data_name(instance),
            VolumeHolds::Log => claims::wal_name(instance),
        };
        format!("persistentvolumeclaim/{claim} is {} % full ({})", volume.percent(), volume.size)
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "its disk is full or nearly so".to_owned() } else { told.join(", ") }
}

/// How to make room: a claim grows when the manifest asks for more.
pub(crate) fn fix(spec: &ClusterSpec, full: &[FullVolume]) -> String {
    let holds: BTreeSet<VolumeHolds> = full.iter().map(|volume| volume.holds).collect();
    let fields: Vec<String> = holds.into_iter().filter_map(|holds| field(spec, holds)).collect();
    if fields.is_empty() {
        return "a larger size under storage or walStorage of the Cluster".to_owned();
    }
    format!(
        "a larger {} of the Cluster, which is passed on at once if the StorageClass allows volumes to grow",
        fields.join(" and ")
    )
}

fn field(spec: &ClusterSpec, holds: VolumeHolds) -> Option<String> {
    let (field, storage) = match holds {
        VolumeHolds::Data => ("spec.storage.size", Some(&spec.storage)),
        VolumeHolds::Log => ("spec.walStorage.size", spec.wal_storage.as_ref()),
    };
    let Storage { size, .. } = storage?;
    Some(match size {
        Some(size) => format!("{field} (now {size})"),
        None => field.to_owned(),
    })
}

/// The same of all instances in one sentence.
pub(crate) fn sentence(spec: &ClusterSpec, full: &Full) -> String {
    let told = full.iter().map(|(name, volumes)| format!("{name}: {}", words(name, volumes)));
    let told: Vec<String> = told.collect();
    let volumes: Vec<FullVolume> = full.values().flatten().copied().collect();
    format!("{} (fix: {})", told.join("; "), fix(spec, &volumes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifests::fixtures::Sample;
    use expect_test::expect;
    use pgherd_core::units::Bytes;

    #[test]
    fn full_volumes_are_named_with_the_field_that_makes_them_grow() {
        let volume = |holds, left| FullVolume { holds, size: Bytes(1 << 30), left: Bytes(left) };
        let (data, log) = (volume(VolumeHolds::Data, 0), volume(VolumeHolds::Log, 20 << 20));
        let told = |spec: &str, full: &[(u32, Vec<FullVolume>)]| {
            let sample = Sample::spec(spec);
            let full = full.iter().map(|(it, all)| (sample.instance(*it), all.clone())).collect();
            sample.made(|it| sentence(&it.cluster.spec, &full)) + "\n"
        };
        let one = "instances: 3\nstorage: {size: 1Gi}";
        let two = "instances: 3\nstorage: {size: 1Gi}\nwalStorage: {size: 2Gi}";
        let told = [
            told(one, &[(1, vec![data])]),
            told(two, &[(2, vec![log])]),
            told(two, &[(1, vec![data, log]), (3, vec![log])]),
            told(one, &[(2, vec![])]),
        ];
        expect![[r"
            db-1: persistentvolumeclaim/db-1 is 100 % full (1.0 GiB) (fix: a larger spec.storage.size (now 1Gi) of the Cluster, which is passed on at once if the StorageClass allows volumes to grow)
            db-2: persistentvolumeclaim/db-2-wal is 98 % full (1.0 GiB) (fix: a larger spec.walStorage.size (now 2Gi) of the Cluster, which is passed on at once if the StorageClass allows volumes to grow)
            db-1: persistentvolumeclaim/db-1 is 100 % full (1.0 GiB), persistentvolumeclaim/db-1-wal is 98 % full (1.0 GiB); db-3: persistentvolumeclaim/db-3-wal is 98 % full (1.0 GiB) (fix: a larger spec.storage.size (now 1Gi) and spec.walStorage.size (now 2Gi) of the Cluster, which is passed on at once if the StorageClass allows volumes to grow)
            db-2: its disk is full or nearly so (fix: a larger size under storage or walStorage of the Cluster)
        "]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn an_agent_that_does_not_say_which_volume_is_full_is_believed() {
        let nothing = ServerStatus::default();
        assert_eq!(of(&nothing), None);
        let older = ServerStatus { disk_full: true, ..ServerStatus::default() };
        assert_eq!(of(&older), Some(Vec::new()));
        let data = FullVolume { holds: VolumeHolds::Data, size: Bytes(2), left: Bytes(1) };
        let refuses = ServerStatus { full_volumes: vec![data], ..ServerStatus::default() };
        assert_eq!(of(&refuses), Some(vec![data]));
    }
}
