//! Refuses parts of a `Cluster` that contradict each other, or names that are taken.
//!
//! Never depends on another object.

use super::Check;

pub(super) static CHECKS: &[Check] = &[
    Check::new(
        "cluster-image-has-a-version",
        "spec.imageName: ",
        r"[object.spec.?imageName.orValue('')].filter(image, image != '' && (image.endsWith(':latest') || !image.matches(':[^/]+$')))",
        "means another version tomorrow: name the version, for example postgresql:18.4",
    ),
    Check::new(
        "cluster-external-names-differ",
        "spec.externalClusters: ",
        "variables.external_names.filter(name, variables.external_names.filter(other, other == name).size() > 1)",
        "have the same name: rename all but one",
    ),
    Check::new(
        "cluster-external-name-is-plain",
        "spec.externalClusters: ",
        "variables.external_names.filter(name, !name.matches('^[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?$'))",
        "cannot be the name of a folder: use letters, digits, - and _",
    ),
    Check::new(
        "cluster-external-is-reachable",
        "spec.externalClusters: ",
        "variables.external.filter(one, !has(one.connectionParameters) && !has(one.barmanObjectStore) && !has(one.plugin)).map(one, one.name)",
        "says nothing of where it is: add connectionParameters, barmanObjectStore or plugin",
    ),
    Check::new(
        "cluster-source-is-listed",
        "spec: ",
        "([variables.recovery.?source.orValue(''), variables.bootstrap.?pg_basebackup.?source.orValue(''), variables.initdb.?import.?source.?externalCluster.orValue(''), variables.replica.?source.orValue('')]).filter(name, name != '' && !(name in variables.external_names))",
        "is the source, but there is no such entry in externalClusters: add it or correct the name",
    ),
    Check::new(
        "cluster-recovers-from-one-backup",
        "spec.bootstrap.recovery.",
        "['backup'].filter(field, field in variables.recovery && 'volumeSnapshots' in variables.recovery)",
        "and volumeSnapshots are both set, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-follows-by-one-word",
        "spec.replica.",
        "['enabled'].filter(field, field in variables.replica && 'primary' in variables.replica)",
        "and primary are both set, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-follower-begins-as-a-copy",
        "spec.",
        "['replica'].filter(field, oldObject == null && (variables.replica.?enabled.orValue(false) || ('primary' in variables.replica && variables.replica.primary != variables.replica[?'self'].orValue(object.metadata.name))) && !('recovery' in variables.bootstrap) && !('pg_basebackup' in variables.bootstrap))",
        "makes the cluster follow another one, but it would begin with data of its own: add bootstrap.recovery or bootstrap.pg_basebackup",
    ),
    Check::new(
        "cluster-one-key-to-its-archive",
        "spec.backup.barmanObjectStore: ",
        "[['s3Credentials', 'azureCredentials', 'googleCredentials'].filter(field, field in object.spec.?backup.?barmanObjectStore.orValue({}))].filter(fields, fields.size() > 1).map(fields, fields.join(', '))",
        "are all set, but an archive lies in one place: keep one of them",
    ),
    Check::new(
        "cluster-one-archiver",
        "spec.plugins: ",
        "variables.archivers.filter(name, variables.archivers.size() + (has(object.spec.backup) && has(object.spec.backup.barmanObjectStore) ? 1 : 0) > 1)",
        "would not archive alone: keep one plugin with isWALArchiver, and no backup.barmanObjectStore beside it",
    ),
    Check::new(
        "cluster-certificate-with-its-authority",
        "spec.certificates.",
        "['serverTLSSecret', 'replicationTLSSecret'].filter(field, field in variables.certificates && !((field == 'serverTLSSecret' ? 'serverCASecret' : 'clientCASecret') in variables.certificates))",
        "needs the authority that signed it: add serverCASecret or clientCASecret",
    ),
    Check::new(
        "cluster-tablespace-names-differ",
        "spec.tablespaces: ",
        "variables.tablespaces.map(one, one.name).filter(name, variables.tablespaces.filter(other, other.name.lowerAscii() == name.lowerAscii()).size() > 1)",
        "have the same name: rename all but one",
    ),
    Check::new(
        "cluster-tablespace-name",
        "spec.tablespaces: ",
        "variables.tablespaces.map(one, one.name).filter(name, !name.matches('^[A-Za-z_]([A-Za-z0-9_]*[A-Za-z0-9])?$') || name.size() > 40 || name.lowerAscii().startsWith('pg_'))",
        "cannot be the name of a tablespace: use at most 40 letters, digits and _, do not begin with a digit or pg_, and do not end with _",
    ),
    Check::new(
        "cluster-tablespace-has-a-size",
        "spec.tablespaces: ",
        "variables.tablespaces.filter(one, has(one.storage.size) ? !isQuantity(one.storage.size) || quantity(one.storage.size).compareTo(quantity('0')) <= 0 : !has(one.storage.pvcTemplate)).map(one, one.name)",
        "has no size: write a quantity above zero, for example storage: {size: 10Gi}",
    ),
    Check::new(
        "cluster-tablespace-stays",
        "spec.tablespaces: ",
        "variables.tablespaces_before.map(one, one.name).filter(name, !variables.tablespaces.exists(other, other.name == name))",
        "cannot be removed, because data lies there: put it back",
    ),
    Check::new(
        "cluster-tablespace-never-shrinks",
        "spec.tablespaces: ",
        "variables.tablespaces.filter(one, variables.tablespaces_before.exists(old, old.name == one.name && has(old.storage.size) && has(one.storage.size) && isQuantity(old.storage.size) && isQuantity(one.storage.size) && quantity(one.storage.size).isLessThan(quantity(old.storage.size)))).map(one, one.name)",
        "cannot shrink: write the old size or a greater one",
    ),
    Check::new(
        "cluster-role-names-differ",
        "spec.managed.roles: ",
        "variables.roles.map(one, one.name).filter(name, variables.roles.filter(other, other.name == name).size() > 1)",
        "have the same name: remove all but one",
    ),
    Check::new(
        "cluster-role-is-not-ours",
        "spec.managed.roles: ",
        "variables.roles.map(one, one.name).filter(name, name.matches('^(postgres$|streaming_replica$|pg_|cnpg_)'))",
        "belongs to the cluster or to PostgreSQL: use another name",
    ),
    Check::new(
        "cluster-role-password-or-none",
        "spec.managed.roles: ",
        "variables.roles.filter(one, has(one.passwordSecret) && one.?disablePassword.orValue(false)).map(one, one.name)",
        "has passwordSecret and disablePassword, but only one of them can be meant: remove one",
    ),
    Check::new(
        "cluster-role-connection-limit",
        "spec.managed.roles: ",
        "variables.roles.filter(one, one.connectionLimit < -1).map(one, one.name)",
        "has a negative connectionLimit: write a number, or -1 for no limit",
    ),
    Check::new(
        "cluster-service-names-differ",
        "spec.managed.services.additional: ",
        "variables.services.filter(name, name != '' && variables.services.filter(other, other == name).size() > 1)",
        "have the same name: rename all but one",
    ),
    Check::new(
        "cluster-service-has-a-name",
        "spec.managed.services.additional: ",
        "variables.services.filter(name, name == '').map(name, 'a service')",
        "has no name: write serviceTemplate.metadata.name",
    ),
    Check::new(
        "cluster-service-name-is-free",
        "spec.managed.services.additional: ",
        "variables.services.filter(name, name in ['-rw', '-ro', '-r', '-any', '-pods'].map(end, object.metadata.name + end))",
        "is the name of a service that every cluster has: choose another",
    ),
    Check::new(
        "cluster-environment-is-not-ours",
        "spec.env: ",
        "object.spec.?env.orValue([]).map(one, one.name).filter(name, name.upperAscii().matches('^(PG|CNPG_|(POD_NAME|POD_IP|NAMESPACE|CLUSTER_NAME|PSQL_HISTORY|TMPDIR)$)'))",
        "is set by the cluster itself: remove it",
    ),
    Check::new(
        "cluster-anti-affinity-type",
        "spec.affinity.",
        "['podAntiAffinityType'].filter(field, has(object.spec.affinity) && field in object.spec.affinity && !(object.spec.affinity[field] in ['', 'preferred', 'required']))",
        "is neither preferred nor required: write one of them",
    ),
];
