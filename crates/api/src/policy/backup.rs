//! Refuses archives that nobody could write to.
//!
//! Never looks into a Secret.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "cluster-archive-has-a-key",
        "spec.backup.",
        "['barmanObjectStore'].filter(field, field in object.spec.?backup.orValue({}) && !['s3Credentials', 'azureCredentials', 'googleCredentials'].exists(key, key in variables.archive))",
        "has no credentials: add s3Credentials, azureCredentials or googleCredentials",
    ),
    Check::new(
        "cluster-one-key-to-its-archive",
        "spec.backup.barmanObjectStore: ",
        "[['s3Credentials', 'azureCredentials', 'googleCredentials'].filter(field, field in variables.archive)].filter(fields, fields.size() > 1).map(fields, fields.join(', '))",
        "are all set, but an archive lies in one place: keep one of them",
    ),
    Check::new(
        "cluster-one-archiver",
        "spec.plugins: ",
        "variables.archivers.filter(name, variables.archivers.size() + (has(object.spec.backup) && has(object.spec.backup.barmanObjectStore) ? 1 : 0) > 1)",
        "would not archive alone: keep one plugin with isWALArchiver, and no backup.barmanObjectStore beside it",
    ),
    Check::new(
        "cluster-s3-credentials-are-whole",
        "spec.backup.barmanObjectStore.",
        "['s3Credentials'].filter(field, field in variables.archive).filter(field, has(variables.archive[field].accessKeyId) != has(variables.archive[field].secretAccessKey) || has(variables.archive[field].accessKeyId) == variables.archive[field].?inheritFromIAMRole.orValue(false))",
        "are not whole: write accessKeyId and secretAccessKey, or inheritFromIAMRole: true",
    ),
    Check::new(
        "cluster-azure-credentials-are-whole",
        "spec.backup.barmanObjectStore.",
        "['azureCredentials'].filter(field, field in variables.archive).filter(field, has(variables.archive[field].connectionString) ? has(variables.archive[field].storageAccount) || [has(variables.archive[field].storageKey), has(variables.archive[field].storageSasToken), variables.archive[field].?inheritFromAzureAD.orValue(false) == true, variables.archive[field].?useDefaultAzureCredentials.orValue(false) == true].filter(is_set, is_set).size() != 0 : [has(variables.archive[field].storageKey), has(variables.archive[field].storageSasToken), variables.archive[field].?inheritFromAzureAD.orValue(false) == true, variables.archive[field].?useDefaultAzureCredentials.orValue(false) == true].filter(is_set, is_set).size() != 1 || ((has(variables.archive[field].storageKey) || has(variables.archive[field].storageSasToken)) && !has(variables.archive[field].storageAccount)))",
        "are not whole: write connectionString alone, or storageAccount with storageKey or storageSasToken, or inheritFromAzureAD or useDefaultAzureCredentials: true",
    ),
    Check::new(
        "cluster-google-credentials-are-whole",
        "spec.backup.barmanObjectStore.",
        "['googleCredentials'].filter(field, field in variables.archive).filter(field, has(variables.archive[field].applicationCredentials) == variables.archive[field].?gkeEnvironment.orValue(false))",
        "are not whole: write applicationCredentials, or gkeEnvironment: true",
    ),
    Check::new(
        "cluster-snapshot-class-of-a-tablespace",
        "spec.backup.volumeSnapshot.tablespaceClassName.",
        "object.spec.?backup.?volumeSnapshot.?tablespaceClassName.orValue({}).filter(name, !(name in variables.tablespace_names))",
        "is no tablespace of this cluster: add it to spec.tablespaces or remove it",
    ),
];
