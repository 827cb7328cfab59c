//! Refuses ways to begin with data of others, or to follow them, that contradict themselves.
//!
//! Never knows what the others hold.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "cluster-recovers-from-one-backup",
        "spec.bootstrap.recovery.",
        "['backup'].filter(field, field in variables.recovery && 'volumeSnapshots' in variables.recovery)",
        "and volumeSnapshots are both set, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-recovers-from-one-place",
        "spec.bootstrap.recovery.",
        "['backup'].filter(field, field in variables.recovery && variables.recovery.?source.orValue('') != '')",
        "and source are both set, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-follows-by-one-word",
        "spec.replica.",
        "['enabled'].filter(field, field in variables.replica && variables.replica.?primary.orValue('') != '')",
        "and primary are both set, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-follower-begins-as-a-copy",
        "spec.",
        "['replica'].filter(field, oldObject == null && variables.follows && !('recovery' in variables.bootstrap) && !('pg_basebackup' in variables.bootstrap))",
        "makes the cluster follow another one, but it would begin with data of its own: add bootstrap.recovery or bootstrap.pg_basebackup",
    ),
    Check::new(
        "cluster-source-is-listed",
        "spec: ",
        "([variables.recovery.?source.orValue(''), variables.bootstrap.?pg_basebackup.?source.orValue(''), variables.initdb.?import.?source.?externalCluster.orValue(''), variables.replica.?source.orValue(''), variables.replica.?primary.orValue(''), dyn(variables.replica[?'self'].orValue(''))]).filter(name, name != '' && !(name in variables.external_names))",
        "is named, but there is no such entry in externalClusters: add it or correct the name",
    ),
    Check::new(
        "cluster-recovery-source-has-an-archive",
        "spec.bootstrap.recovery.source: ",
        "variables.external.filter(one, one.name == variables.recovery.?source.orValue('') && !has(one.barmanObjectStore) && !has(one.plugin)).map(one, one.name)",
        "has no archive to recover from: add barmanObjectStore or plugin to its entry in externalClusters, or use bootstrap.pg_basebackup",
    ),
    Check::new(
        "cluster-recovery-begins-at-a-backup",
        "spec.bootstrap.recovery.recoveryTarget.",
        "['targetName', 'targetXID', 'targetImmediate'].filter(field, variables.recovery.?recoveryTarget[?field].orValue(false) != false && variables.recovery.?recoveryTarget[?field].orValue('') != '' && !('volumeSnapshots' in variables.recovery) && variables.recovery.?recoveryTarget.?backupID.orValue('') == '')",
        "does not tell which backup to begin with: add backupID",
    ),
    Check::new(
        "cluster-recovery-begins-once",
        "spec.bootstrap.recovery.recoveryTarget.",
        "['backupID'].filter(field, 'volumeSnapshots' in variables.recovery && variables.recovery.?recoveryTarget[?field].orValue('') != '')",
        "and volumeSnapshots both tell what to begin with, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-recovery-from-snapshots-or-claims",
        "spec.bootstrap.recovery.volumeSnapshots.",
        "['storage', 'walStorage'].filter(field, variables.recovery.?volumeSnapshots[?field].hasValue()).filter(field, !(variables.recovery.volumeSnapshots[field].kind + '/' + variables.recovery.volumeSnapshots[field].?apiGroup.orValue('') in ['VolumeSnapshot/snapshot.storage.k8s.io', 'PersistentVolumeClaim/']))",
        "is neither a snapshot nor a claim: write kind: VolumeSnapshot with apiGroup: snapshot.storage.k8s.io, or kind: PersistentVolumeClaim without apiGroup",
    ),
    Check::new(
        "cluster-recovered-log-has-a-volume",
        "spec.bootstrap.recovery.volumeSnapshots.",
        "['walStorage'].filter(field, variables.recovery.?volumeSnapshots[?field].hasValue() && !has(object.spec.walStorage))",
        "needs a volume to go to: add spec.walStorage",
    ),
    Check::new(
        "cluster-promotion-token-ends-following",
        "spec.replica.",
        "['promotionToken'].filter(field, variables.replica[?field].orValue('') != '' && variables.follows)",
        "is for a cluster that stops following: write its own name as primary, or enabled: false, or remove the token",
    ),
];
