//! Checks how an empty database is made. Never runs anything.

use super::bootstrap::{PgBaseBackup, Recovery};
use super::problem::{Findings, Refusal};
use super::references::{ConfigMapKeySelector, LocalObjectReference, SecretKeySelector};
use crate::agent;
use crate::field::FieldPath;
use crate::warning::Caution;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Start with an empty database, or import one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct InitDb {
    /// The application's database. Default: `app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The role that owns the database. Default: the database's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A Secret with the owner's user name and password; one is generated when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<LocalObjectReference>,
    /// Protect every page with a checksum. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_checksums: Option<bool>,
    /// The databases' encoding. Default: `UTF8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The databases' locale; sets collation and character types at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The collation. Default: `C`, or what `locale` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale_collate: Option<String>,
    /// The character types. Default: `C`, or what `locale` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale_c_type: Option<String>,
    /// Who provides collations: `libc`, `icu` or `builtin`. Default: `libc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale_provider: Option<String>,
    /// The ICU locale; needs `localeProvider: icu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_locale: Option<String>,
    /// More ICU collation rules; needs `localeProvider: icu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// The built-in locale; needs `localeProvider: builtin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin_locale: Option<String>,
    /// The size of a WAL segment in megabytes: a power of 2 from 1 to 1024. Default: 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub wal_segment_size: Option<i64>,
    /// Further arguments for `initdb`. Deprecated: the other fields say the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// SQL statements that the superuser runs in database `postgres`, once.
    #[serde(rename = "postInitSQL", skip_serializing_if = "Vec::is_empty")]
    pub post_init_sql: Vec<String>,
    /// SQL statements that the superuser runs in database `template1`, once.
    #[serde(rename = "postInitTemplateSQL", skip_serializing_if = "Vec::is_empty")]
    pub post_init_template_sql: Vec<String>,
    /// SQL statements that the superuser runs in the application's database, once.
    #[serde(rename = "postInitApplicationSQL", skip_serializing_if = "Vec::is_empty")]
    pub post_init_application_sql: Vec<String>,
    /// Like `postInitSQL`, from Secrets and ConfigMaps.
    #[serde(rename = "postInitSQLRefs", skip_serializing_if = "Option::is_none")]
    pub post_init_sql_refs: Option<SqlRefs>,
    /// Like `postInitTemplateSQL`, from Secrets and ConfigMaps.
    #[serde(rename = "postInitTemplateSQLRefs", skip_serializing_if = "Option::is_none")]
    pub post_init_template_sql_refs: Option<SqlRefs>,
    /// Like `postInitApplicationSQL`, from Secrets and ConfigMaps.
    #[serde(rename = "postInitApplicationSQLRefs", skip_serializing_if = "Option::is_none")]
    pub post_init_application_sql_refs: Option<SqlRefs>,
    /// Fill the new cluster from another server with `pg_dump`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Import>,
}

/// SQL statements that are kept elsewhere; Secrets run first, each list in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SqlRefs {
    /// Statements in Secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_refs: Vec<SecretKeySelector>,
    /// Statements in ConfigMaps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config_map_refs: Vec<ConfigMapKeySelector>,
}

/// Fill the new cluster from another server with `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// How much is imported.
    pub type_: ImportType,
    /// The server to read from.
    pub source: ImportSource,
    /// The databases to import; exactly one for `microservice`, `*` for all.
    pub databases: Vec<String>,
    /// The roles to import, `*` for all; `monolith` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Import definitions without rows. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_only: Option<bool>,
    /// SQL statements to run in the application's database afterwards; `microservice` only.
    #[serde(rename = "postImportApplicationSQL", default, skip_serializing_if = "Vec::is_empty")]
    pub post_import_application_sql: Vec<String>,
    /// Further arguments for `pg_dump`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pg_dump_extra_options: Vec<String>,
    /// Further arguments for every `pg_restore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pg_restore_extra_options: Vec<String>,
    /// Further arguments for the definitions' `pg_restore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pg_restore_predata_options: Vec<String>,
    /// Further arguments for the rows' `pg_restore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pg_restore_data_options: Vec<String>,
    /// Further arguments for the indexes' and constraints' `pg_restore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pg_restore_postdata_options: Vec<String>,
}

/// How much is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImportType {
    /// One database, into the application's database.
    #[serde(rename = "microservice")]
    Microservice,
    /// Several databases and their roles.
    #[serde(rename = "monolith")]
    Monolith,
}

/// The server to import from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportSource {
    /// The entry of `externalClusters` to read from.
    pub external_cluster: String,
}

/// Why the wish for a new database is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum InitDbRefusal {
    #[error("is not a name: write 1 to 63 bytes without control characters")]
    Name,
    #[error("is {given}, which PostgreSQL keeps for itself: choose another name")]
    Reserved { given: String },
    #[error("is {given}, which is not a power of 2 from 1 to 1024: write 16, 32 or 64")]
    SegmentSize { given: i64 },
    #[error("is {given:?}, which provides no collations: write libc, icu or builtin")]
    Provider { given: String },
    #[error("needs localeProvider: {needed}: add that or remove this")]
    NeedsProvider { needed: &'static str },
    #[error("holds a control character or begins with -: write the bare name")]
    Value,
    #[error("holds {given:?}, which the cluster sets itself: remove it")]
    Option { given: String },
}

/// Arguments of `initdb` that say where the data lies, who may log in, what is configured, that
/// data may be lost, or that nothing shall be made.
pub(crate) const OUR_LONG_OPTIONS: [&str; 14] = [
    "--auth",
    "--help",
    "--no-clean",
    "--no-data-checksums",
    "--no-sync",
    "--pgdata",
    "--pwfile",
    "--pwprompt",
    "--set",
    "--show",
    "--sync-only",
    "--username",
    "--version",
    "--waldir",
];
pub(crate) const OUR_SHORT_OPTIONS: &str = "?ADNSUVWXcns";
/// Short arguments whose value may be attached to them.
pub(crate) const WITH_VALUE: &str = "ELT";

/// How the first instance makes the cluster; `initdb` is absent when everything is left to us.
pub(super) fn checked(initdb: Option<&InitDb>, findings: &mut Findings) -> agent::InitDb {
    let Some(initdb) = initdb else { return agent::InitDb::default() };
    let (database, owner) =
        names("initdb", initdb.database.as_deref(), initdb.owner.as_deref(), findings);
    locales(initdb, findings);
    options(initdb, findings);
    let place = FieldPath::of("spec.bootstrap.initdb");
    if initdb.data_checksums == Some(false) {
        findings.warn(&place.name("dataChecksums"), Caution::ChecksumsAnyway);
    }
    let wal_segment_size_mib = initdb.wal_segment_size.and_then(|given| {
        let size = u32::try_from(given).ok().filter(|size| size.is_power_of_two() && *size <= 1024);
        if size.is_none() {
            let refusal = Refusal::InitDb(InitDbRefusal::SegmentSize { given });
            findings.refuse(&place.name("walSegmentSize"), refusal);
        }
        size
    });
    let defaults = agent::InitDb::default();
    agent::InitDb {
        owner,
        database,
        encoding: initdb.encoding.clone().unwrap_or(defaults.encoding),
        locale: initdb.locale.clone(),
        locale_collate: initdb.locale_collate.clone(),
        locale_ctype: initdb.locale_c_type.clone(),
        locale_provider: initdb.locale_provider.clone(),
        icu_locale: initdb.icu_locale.clone(),
        icu_rules: initdb.icu_rules.clone(),
        builtin_locale: initdb.builtin_locale.clone(),
        wal_segment_size_mib,
        options: initdb.options.clone(),
        post_init_sql: initdb.post_init_sql.clone(),
        post_init_template_sql: initdb.post_init_template_sql.clone(),
        post_init_application_sql: initdb.post_init_application_sql.clone(),
        statement_files: initdb.kept_statements().into_iter().map(|kept| kept.file).collect(),
    }
}

/// Statements that a cluster begins with and that are kept in another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptStatements {
    /// What the agent is told of them.
    pub file: agent::StatementFile,
    /// Where they are kept.
    pub keeper: Keeper,
}

/// An entry of an object that keeps statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// Of a Secret.
    Secret(SecretKeySelector),
    /// Of a ConfigMap.
    ConfigMap(ConfigMapKeySelector),
}

impl InitDb {
    /// The statements that are kept elsewhere, in the order in which they are run: of one database
    /// those in Secrets come first.
    pub fn kept_statements(&self) -> Vec<KeptStatements> {
        use agent::InitialDatabase::{Application, Postgres, Template};
        let lists = [
            (Postgres, "postgres", &self.post_init_sql_refs),
            (Template, "template", &self.post_init_template_sql_refs),
            (Application, "application", &self.post_init_application_sql_refs),
        ];
        let mut kept = Vec::new();
        for (database, prefix, list) in lists {
            let Some(list) = list else { continue };
            let secrets = list.secret_refs.iter().cloned().map(Keeper::Secret);
            let keepers =
                secrets.chain(list.config_map_refs.iter().cloned().map(Keeper::ConfigMap));
            kept.extend(keepers.enumerate().map(|(index, keeper)| {
                let file = format!("{prefix}-{}", index + 1);
                let origin = keeper.to_string();
                KeptStatements { file: agent::StatementFile { database, file, origin }, keeper }
            }));
        }
        kept
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(place) => write!(f, "key {} of Secret {}", place.key, place.name),
            Self::ConfigMap(place) => write!(f, "key {} of ConfigMap {}", place.key, place.name),
        }
    }
}

/// What of this a cluster has that begins as a copy.
pub(super) fn of_copy(copy: &PgBaseBackup, findings: &mut Findings) -> agent::InitDb {
    let (database, owner) =
        names("pg_basebackup", copy.database.as_deref(), copy.owner.as_deref(), findings);
    agent::InitDb { database, owner, ..agent::InitDb::default() }
}

/// What of this a cluster has that begins with a backup.
pub(super) fn of_recovery(recovery: &Recovery, findings: &mut Findings) -> agent::InitDb {
    let Recovery { database, owner, .. } = recovery;
    let (database, owner) = names("recovery", database.as_deref(), owner.as_deref(), findings);
    agent::InitDb { database, owner, ..agent::InitDb::default() }
}

/// The application's database and the role that owns it, for a way to begin.
fn names(
    way: &str,
    database: Option<&str>,
    role: Option<&str>,
    findings: &mut Findings,
) -> (String, String) {
    let place = FieldPath::of("spec.bootstrap").name(way);
    // Templates leave empty names behind.
    let [database, role] = [database, role].map(|name| name.filter(|name| !name.is_empty()));
    let reserved_role = |name: &str| {
        name.starts_with("pg_") || matches!(name, "streaming_replica" | "public" | "none")
    };
    let checks = [
        ("database", database, database.is_some_and(|name| name.starts_with("template"))),
        ("owner", role, role.is_some_and(reserved_role)),
    ];
    for (field, given, reserved) in checks {
        let Some(given) = given else { continue };
        let path = place.name(field);
        if given.len() > 63 || given.contains(char::is_control) {
            findings.refuse(&path, Refusal::InitDb(InitDbRefusal::Name));
        } else if reserved {
            let refusal = InitDbRefusal::Reserved { given: given.to_owned() };
            findings.refuse(&path, Refusal::InitDb(refusal));
        }
    }
    if role.or(database) == Some("postgres") {
        let field = if role.is_some() { "owner" } else { "database" };
        findings.warn(&place.name(field), Caution::OwnedBySuperuser);
    }
    let database = database.map_or_else(|| agent::InitDb::default().database, str::to_owned);
    (database.clone(), role.map_or(database, str::to_owned))
}

fn locales(initdb: &InitDb, findings: &mut Findings) {
    let place = FieldPath::of("spec.bootstrap.initdb");
    let provider = initdb.locale_provider.as_deref();
    let mut refuse = |field: &str, refusal| {
        findings.refuse(&place.name(field), Refusal::InitDb(refusal));
    };
    let values = [
        ("encoding", &initdb.encoding, None),
        ("locale", &initdb.locale, None),
        ("localeCollate", &initdb.locale_collate, None),
        ("localeCType", &initdb.locale_c_type, None),
        ("icuLocale", &initdb.icu_locale, Some("icu")),
        ("icuRules", &initdb.icu_rules, Some("icu")),
        ("builtinLocale", &initdb.builtin_locale, Some("builtin")),
    ];
    for (field, value, needed) in values {
        let Some(value) = value else { continue };
        match needed {
            Some(needed) if provider != Some(needed) => {
                refuse(field, InitDbRefusal::NeedsProvider { needed });
            }
            // Collation rules are a language of their own.
            _ if field == "icuRules" && !value.contains('\0') => {}
            _ if value.starts_with('-') || value.contains(char::is_control) => {
                refuse(field, InitDbRefusal::Value);
            }
            _ => {}
        }
    }
    match provider {
        None | Some("libc" | "icu" | "builtin") => {}
        Some(given) => {
            refuse("localeProvider", InitDbRefusal::Provider { given: given.to_owned() });
        }
    }
}

fn options(initdb: &InitDb, findings: &mut Findings) {
    let place = FieldPath::of("spec.bootstrap.initdb.options");
    for (index, option) in initdb.options.iter().enumerate() {
        if is_ours(option) || option.contains('\0') {
            let refusal = InitDbRefusal::Option { given: option.clone() };
            findings.refuse(&place.item(index), Refusal::InitDb(refusal));
        }
    }
}

fn is_ours(option: &str) -> bool {
    if let Some(long) = option.strip_prefix("--") {
        // Long names may be cut short as long as they are clear; `--auth` has variants, too.
        let name = long.split('=').next().unwrap_or(long);
        let is_cut =
            |known: &&str| known.strip_prefix("--").is_some_and(|known| known.starts_with(name));
        return name.starts_with("auth-") || OUR_LONG_OPTIONS.iter().any(is_cut);
    }
    let letters = option.strip_prefix('-').unwrap_or_default();
    let mut letters = letters.chars().take_while(|letter| !WITH_VALUE.contains(*letter));
    letters.any(|letter| OUR_SHORT_OPTIONS.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use expect_test::expect;

    /// What comes of `initdb` in flow style: refusals, warnings, or what the agent is told.
    fn outcome(initdb: &str) -> String {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{bootstrap: {{initdb: {{{initdb}}}}}}}}}"
        );
        let (cluster, _) = Cluster::from_yaml(&text).unwrap();
        let mut findings = Findings::default();
        let bootstrap = cluster.spec.bootstrap.unwrap();
        let told = checked(bootstrap.initdb.as_ref(), &mut findings);
        let problems = findings.problems.iter().map(|problem| format!("refused: {problem}\n"));
        let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let found: String = problems.chain(warnings).collect();
        if !found.is_empty() {
            return found;
        }
        let told = serde_json::to_value(told).unwrap();
        let empty = |value: &serde_json::Value| {
            value.is_null() || value.as_array().is_some_and(Vec::is_empty)
        };
        let told = told.as_object().unwrap().iter().filter(|(_, value)| !empty(value));
        let told: Vec<_> = told.map(|(name, value)| format!("{name}={value}")).collect();
        told.join(" ") + "\n"
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let all = "database: shop, owner: clerk, encoding: LATIN1, locale: C, localeCollate: de_DE, \
                   localeCType: fr_FR, localeProvider: icu, icuLocale: de, icuRules: '&a < b', \
                   walSegmentSize: 64, dataChecksums: true, postInitSQL: [select 1], \
                   postInitTemplateSQL: [select 2], postInitApplicationSQL: [select 3], \
                   options: [--allow-group-access]";
        expect![[r#"
            database="app" encoding="UTF8" owner="app"
            database="shop" encoding="UTF8" owner="shop"
            database="app" encoding="UTF8" owner="clerk"
            database="shop" encoding="LATIN1" icuLocale="de" icuRules="&a < b" locale="C" localeCollate="de_DE" localeCtype="fr_FR" localeProvider="icu" options=["--allow-group-access"] owner="clerk" postInitApplicationSql=["select 3"] postInitSql=["select 1"] postInitTemplateSql=["select 2"] walSegmentSizeMib=64
            builtinLocale="C.UTF-8" database="app" encoding="UTF8" localeProvider="builtin" owner="app"
        "#]].assert_eq(
            &[
                "",
                "database: shop",
                "owner: clerk",
                all,
                "localeProvider: builtin, builtinLocale: C.UTF-8",
            ]
            .map(outcome)
            .concat(),
        );
    }

    #[test]
    fn what_initdb_would_stumble_over_is_refused() {
        let long = format!("database: {}", "a".repeat(64));
        expect![[r#"
            database="app" encoding="UTF8" owner="app"
            refused: spec.bootstrap.initdb.database is not a name: write 1 to 63 bytes without control characters
            refused: spec.bootstrap.initdb.database is not a name: write 1 to 63 bytes without control characters
            refused: spec.bootstrap.initdb.database is template1, which PostgreSQL keeps for itself: choose another name
            refused: spec.bootstrap.initdb.owner is pg_monitor, which PostgreSQL keeps for itself: choose another name
            refused: spec.bootstrap.initdb.owner is streaming_replica, which PostgreSQL keeps for itself: choose another name
            refused: spec.bootstrap.initdb.walSegmentSize is 3, which is not a power of 2 from 1 to 1024: write 16, 32 or 64
            refused: spec.bootstrap.initdb.walSegmentSize is 0, which is not a power of 2 from 1 to 1024: write 16, 32 or 64
            refused: spec.bootstrap.initdb.walSegmentSize is 2048, which is not a power of 2 from 1 to 1024: write 16, 32 or 64
            refused: spec.bootstrap.initdb.localeProvider is "glibc", which provides no collations: write libc, icu or builtin
            refused: spec.bootstrap.initdb.icuLocale needs localeProvider: icu: add that or remove this
            refused: spec.bootstrap.initdb.icuRules needs localeProvider: icu: add that or remove this
            refused: spec.bootstrap.initdb.builtinLocale needs localeProvider: builtin: add that or remove this
            refused: spec.bootstrap.initdb.encoding holds a control character or begins with -: write the bare name
            refused: spec.bootstrap.initdb.locale holds a control character or begins with -: write the bare name
            refused: spec.bootstrap.initdb.options[0] holds "-D", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[2] holds "--pgd=/tmp", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[3] holds "-Atrust", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[4] holds "--auth-host=trust", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[7] holds "--no-s", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[8] holds "-kD/tmp", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[11] holds "--set=port=1", which the cluster sets itself: remove it
            refused: spec.bootstrap.initdb.options[12] holds "--", which the cluster sets itself: remove it
        "#]].assert_eq(
            &[
                "database: \"\"",
                &long,
                "database: \"a\\nb\"",
                "database: template1",
                "owner: pg_monitor",
                "owner: streaming_replica",
                "walSegmentSize: 3",
                "walSegmentSize: 0",
                "walSegmentSize: 2048",
                "localeProvider: glibc",
                "icuLocale: de",
                "icuRules: '&a < b', localeProvider: libc",
                "builtinLocale: C",
                "encoding: -D/tmp",
                "locale: \"C\\n\"",
                "options: [-D, /tmp, --pgd=/tmp, -Atrust, --auth-host=trust, -k, --wal-segsize=32, --no-s, -kD/tmp, -ED, --lc-collate=C, --set=port=1, --]",
            ]
            .map(outcome)
            .concat(),
        );
    }

    #[test]
    fn what_is_unwise_is_done_with_a_warning() {
        expect![[r#"
            warning: spec.bootstrap.initdb.database is postgres, so applications connect as superuser: prefer a role of their own
            warning: spec.bootstrap.initdb.owner is postgres, so applications connect as superuser: prefer a role of their own
            warning: spec.bootstrap.initdb.dataChecksums is false, but pages get checksums all the same: they show damage, and pg_rewind relies on them
        "#]].assert_eq(
            &["database: postgres", "owner: postgres", "dataChecksums: false"]
                .map(outcome)
                .concat(),
        );
    }
}
