//! Refuses parts of a `Cluster` that contradict each other, or names that are taken.
//!
//! Never depends on another object.

use super::{Check, Effect, GROUP, Policy, VERSION};
use super::{access, annotations, backup, initdb, parameters, recovery, resources, slots};

pub(super) fn policy() -> Policy {
    let made = [parameters::checks(), access::checks(), initdb::checks(), annotations::checks()];
    let written = [CHECKS, recovery::CHECKS, backup::CHECKS, resources::CHECKS, slots::CHECKS];
    let checks = made.concat().into_iter().chain(written.concat()).collect();
    Policy {
        group: GROUP,
        version: VERSION,
        kind: "Cluster",
        plural: "clusters",
        effect: Effect::Refused,
        parts: PARTS,
        checks,
    }
}

pub(super) const PARTS: &[(&str, &str)] = &[
    ("annotations", "object.metadata.?annotations.orValue({})"),
    ("parameters", "object.spec.?postgresql.?parameters.orValue({})"),
    ("rules", "object.spec.?postgresql.?pg_hba.orValue([])"),
    ("maps", "object.spec.?postgresql.?pg_ident.orValue([])"),
    ("bootstrap", "object.spec.?bootstrap.orValue({})"),
    ("initdb", "variables.bootstrap.?initdb.orValue({})"),
    ("recovery", "variables.bootstrap.?recovery.orValue({})"),
    ("imported", "variables.initdb.?import.orValue({})"),
    ("replica", "object.spec.?replica.orValue({})"),
    (
        "follows",
        "'source' in variables.replica && variables.replica.?enabled.orValue(\
         variables.replica[?'self'].orValue(object.metadata.name) != variables.replica.?primary.orValue(''))",
    ),
    ("external", "object.spec.?externalClusters.orValue([])"),
    ("external_names", "variables.external.map(one, one.name)"),
    ("tablespaces", "object.spec.?tablespaces.orValue([])"),
    ("tablespace_names", "variables.tablespaces.map(one, one.name)"),
    ("tablespaces_before", "oldObject == null ? [] : oldObject.spec.?tablespaces.orValue([])"),
    ("roles", "object.spec.?managed.?roles.orValue([])"),
    (
        "services",
        "object.spec.?managed.?services.?additional.orValue([])\
         .map(one, one.serviceTemplate.?metadata.?name.orValue(''))",
    ),
    ("certificates", "object.spec.?certificates.orValue({})"),
    ("archive", "object.spec.?backup.?barmanObjectStore.orValue({})"),
    ("extensions", "object.spec.?postgresql.?extensions.orValue([])"),
    ("requests", "object.spec.?resources.?requests.orValue({})"),
    ("limits", "object.spec.?resources.?limits.orValue({})"),
    (
        "huge_pages",
        "(variables.limits.filter(name, name.startsWith('hugepages-')) + variables.requests\
         .filter(name, name.startsWith('hugepages-') && !(name in variables.limits)))",
    ),
    ("slots", "object.spec.?replicationSlots.?highAvailability.orValue({})"),
    (
        "failover_slots",
        "variables.parameters.exists(name, name.lowerAscii().startsWith('pg_failover_slots.'))",
    ),
    (
        "archivers",
        "object.spec.?plugins.orValue([]).filter(one, one.enabled && one.isWALArchiver)\
         .map(one, one.name)",
    ),
];

const CHECKS: &[Check] = &[
    Check::new(
        "cluster-image-has-a-version",
        "spec.imageName: ",
        "[object.spec.?imageName.orValue('')].filter(image, image != '' && !image.split('@')[0].matches(':[0-9][^/]*$'))",
        "does not say which version it is: end it with a version, for example postgresql:18.4, also before a digest",
    ),
    Check::new(
        "cluster-image-is-not-too-old",
        "spec.imageName: ",
        "[object.spec.?imageName.orValue('')].map(image, image.split('@')[0]).filter(image, image.matches(':([0-9]|1[0-3])([^0-9/][^/]*)?$'))",
        "is too old: write PostgreSQL 14 or newer",
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
        "cluster-certificate-with-its-authority",
        "spec.certificates.",
        "['serverTLSSecret', 'replicationTLSSecret'].filter(field, field in variables.certificates && variables.certificates[field] != '' && variables.certificates[?(field == 'serverTLSSecret' ? 'serverCASecret' : 'clientCASecret')].orValue('') == '')",
        "needs the authority that signed it: add serverCASecret or clientCASecret",
    ),
    Check::new(
        "cluster-certificate-names-itself",
        "spec.certificates.",
        "['serverAltDNSNames'].filter(field, variables.certificates.?serverTLSSecret.orValue('') != '' && variables.certificates[?field].orValue([]).size() > 0)",
        "cannot be added to a certificate that is given: remove it, or serverTLSSecret",
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
        "variables.tablespace_names.filter(name, !name.matches('^[A-Za-z_][A-Za-z0-9_$]*$') || name.size() > 63 || name.lowerAscii().startsWith('pg_'))",
        "cannot be the name of a tablespace: use at most 63 letters, digits, _ and $, and do not begin with a digit, $ or pg_",
    ),
    Check::new(
        "cluster-tablespace-has-a-size",
        "spec.tablespaces: ",
        "variables.tablespaces.filter(one, has(one.storage.size) ? !isQuantity(one.storage.size) || quantity(one.storage.size).compareTo(quantity('0')) <= 0 : one.storage.?pvcTemplate.?resources.?requests.?storage.orValue('') == '').map(one, one.name)",
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
        "cluster-service-selector-is-ours",
        "spec.managed.services.additional: ",
        "object.spec.?managed.?services.?additional.orValue([]).filter(one, one.serviceTemplate.?spec.?selector.orValue({}).size() > 0).map(one, one.serviceTemplate.?metadata.?name.orValue('a service'))",
        "has a selector, which follows from its selectorType: remove it",
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
    Check::new(
        "cluster-import-all-or-some",
        "spec.bootstrap.initdb.import.",
        "['databases', 'roles'].filter(field, field in variables.imported && variables.imported[field].size() > 1 && '*' in variables.imported[field])",
        "holds * and names, but * means all: keep either",
    ),
    Check::new(
        "cluster-extension-volumes-differ",
        "spec.postgresql.extensions: ",
        "variables.extensions.map(one, one.name).filter(name, variables.extensions.filter(other, other.name.replace('_', '-') == name.replace('_', '-')).size() > 1)",
        "would get the same volume, whose name has - for _: remove all but one",
    ),
    Check::new(
        "cluster-extension-paths-differ",
        "spec.postgresql.extensions: ",
        "variables.extensions.filter(one, ['extension_control_path', 'dynamic_library_path', 'ld_library_path', 'bin_path'].exists(field, one[?field].orValue([]).exists(path, path == '' || one[field].filter(other, other == path).size() > 1))).map(one, one.name)",
        "has a path that is empty or there twice: remove it",
    ),
];
