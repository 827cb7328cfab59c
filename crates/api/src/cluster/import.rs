//! What of `bootstrap.initdb.import` an agent is told. Never lets an argument through that would make
//! PostgreSQL's programs read or write something else.

use super::Cluster;
use super::external;
use super::initdb::{Import, ImportType};
use super::problem::{Findings, Refusal};
use crate::agent::{ImportChoice, ImportSpec, ImportWhat};
use crate::field::FieldPath;

/// Why an import is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum ImportRefusal {
    #[error("is empty: name what to import, or write '*' with type: monolith for all")]
    Nothing,
    #[error("has to name exactly one database: name it, or write type: monolith")]
    OneDatabase,
    #[error("holds * and names, but * means all: keep either")]
    AllAndNames,
    #[error("is of no use with type: microservice, which imports no roles: remove it")]
    Roles,
    #[error("is of no use with type: monolith, which fills no application's database: remove it")]
    Statements,
    #[error(
        "holds {given:?}, but which server, database and files are meant is told otherwise: remove it"
    )]
    Option { given: String },
}

/// Long arguments of `pg_dump` and `pg_restore` that are ours.
const OURS: [&str; 13] = [
    "--dbname",
    "--file",
    "--format",
    "--help",
    "--host",
    "--list",
    "--password",
    "--port",
    "--section",
    "--snapshot",
    "--use-list",
    "--username",
    "--version",
];
/// Short ones.
const OURS_SHORT: &str = "?dfFhlLpUVW";
/// Names all.
const ALL: &str = "*";

/// What is imported; nothing if nothing is, or it cannot be understood.
pub(super) fn checked(
    cluster: &Cluster,
    import: &Import,
    findings: &mut Findings,
) -> Option<ImportSpec> {
    let place = FieldPath::of("spec.bootstrap.initdb.import");
    let source = place.name("source").name("externalCluster");
    let server = external::checked(cluster, (&source, &import.source.external_cluster), findings);
    let lists = [
        ("pgDumpExtraOptions", &import.pg_dump_extra_options),
        ("pgRestoreExtraOptions", &import.pg_restore_extra_options),
        ("pgRestorePredataOptions", &import.pg_restore_predata_options),
        ("pgRestoreDataOptions", &import.pg_restore_data_options),
        ("pgRestorePostdataOptions", &import.pg_restore_postdata_options),
    ];
    for (field, options) in lists {
        for (index, option) in options.iter().enumerate() {
            if is_ours(option) || option.contains('\0') {
                let refusal = ImportRefusal::Option { given: option.clone() };
                findings.refuse(&place.name(field).item(index), Refusal::Import(refusal));
            }
        }
    }
    let what = match import.type_ {
        ImportType::Microservice => database(import, &place, findings),
        ImportType::Monolith => Some(whole(import, &place, findings)),
    };
    Some(ImportSpec {
        server: server?,
        what: what?,
        schema_only: import.schema_only.unwrap_or_default(),
        dump_options: import.pg_dump_extra_options.clone(),
        restore_options: import.pg_restore_extra_options.clone(),
        predata_options: import.pg_restore_predata_options.clone(),
        data_options: import.pg_restore_data_options.clone(),
        postdata_options: import.pg_restore_postdata_options.clone(),
    })
}

fn database(import: &Import, place: &FieldPath, findings: &mut Findings) -> Option<ImportWhat> {
    let mut refuse = |field: &str, refusal| {
        findings.refuse(&place.name(field), Refusal::Import(refusal));
    };
    if !import.roles.is_empty() {
        refuse("roles", ImportRefusal::Roles);
    }
    match import.databases.as_slice() {
        [name] if !name.contains(ALL) && !name.is_empty() => Some(ImportWhat::Database {
            name: name.clone(),
            statements: import.post_import_application_sql.clone(),
        }),
        _ => {
            refuse("databases", ImportRefusal::OneDatabase);
            None
        }
    }
}

fn whole(import: &Import, place: &FieldPath, findings: &mut Findings) -> ImportWhat {
    if !import.post_import_application_sql.is_empty() {
        let statements = Refusal::Import(ImportRefusal::Statements);
        findings.refuse(&place.name("postImportApplicationSQL"), statements);
    }
    if import.databases.is_empty() {
        findings.refuse(&place.name("databases"), Refusal::Import(ImportRefusal::Nothing));
    }
    let mut choice = |field: &str, names: &[String]| match names {
        [all] if all == ALL => ImportChoice::All,
        names => {
            if names.iter().any(|name| name == ALL) {
                let both = Refusal::Import(ImportRefusal::AllAndNames);
                findings.refuse(&place.name(field), both);
            }
            ImportChoice::Named(names.iter().cloned().collect())
        }
    };
    ImportWhat::Server {
        databases: choice("databases", &import.databases),
        roles: choice("roles", &import.roles),
    }
}

/// Long names may be cut short as long as they are clear.
fn is_ours(option: &str) -> bool {
    let name = option.split('=').next().unwrap_or(option);
    match option.strip_prefix("--") {
        Some("") => true,
        Some(_) => OURS.iter().any(|ours| ours.starts_with(name)),
        None => option
            .strip_prefix('-')
            .is_some_and(|short| short.starts_with(|c| OURS_SHORT.contains(c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(import: &str) -> String {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{bootstrap: {{initdb: {{import: {{{import}}}}}}}, \
             externalClusters: [{{name: a, connectionParameters: {{host: h}}, \
             password: {{name: s, key: p}}}}]}}}}"
        );
        match Cluster::from_yaml(&text).unwrap().0.checked() {
            Ok((checked, _)) => format!("{:?}\n", checked.postgres.import.unwrap()),
            Err(problems) => {
                problems.iter().map(|it| format!("{it}\n")).collect::<Vec<_>>().concat()
            }
        }
    }

    #[test]
    fn an_import_is_told_with_its_source() {
        expect![[r#"
            ImportSpec { server: ExternalServer { name: "a", parameters: {"host": "h"}, files: {Password} }, what: Database { name: "shop", statements: ["select 1"] }, schema_only: true, dump_options: ["--jobs=2"], restore_options: ["-j2"], predata_options: [], data_options: ["--disable-triggers"], postdata_options: [] }
            ImportSpec { server: ExternalServer { name: "a", parameters: {"host": "h"}, files: {Password} }, what: Server { databases: All, roles: Named({"clerk"}) }, schema_only: false, dump_options: [], restore_options: [], predata_options: [], data_options: [], postdata_options: [] }
        "#]]
        .assert_eq(
            &[
                "type: microservice, databases: [shop], source: {externalCluster: a}, schemaOnly: true, \
                 postImportApplicationSQL: [select 1], pgDumpExtraOptions: [--jobs=2], \
                 pgRestoreExtraOptions: [-j2], pgRestoreDataOptions: [--disable-triggers]",
                "type: monolith, databases: ['*'], roles: [clerk], source: {externalCluster: a}",
            ]
            .map(outcome)
            .concat(),
        );
    }

    #[test]
    fn what_cannot_be_imported_is_refused() {
        expect![[r#"
            spec.bootstrap.initdb.import.source.externalCluster is "b", but there is no such entry in externalClusters: add it or correct the name
            spec.bootstrap.initdb.import.roles is of no use with type: microservice, which imports no roles: remove it
            spec.bootstrap.initdb.import.databases has to name exactly one database: name it, or write type: monolith
            spec.bootstrap.initdb.import.pgDumpExtraOptions[1] holds "--forma=p", but which server, database and files are meant is told otherwise: remove it
            spec.bootstrap.initdb.import.pgRestoreExtraOptions[0] holds "-l", but which server, database and files are meant is told otherwise: remove it
            spec.bootstrap.initdb.import.postImportApplicationSQL is of no use with type: monolith, which fills no application's database: remove it
            spec.bootstrap.initdb.import.databases holds * and names, but * means all: keep either
            spec.bootstrap.initdb.import.databases is empty: name what to import, or write '*' with type: monolith for all
        "#]]
        .assert_eq(
            &[
                "type: microservice, databases: [a, b], roles: [c], source: {externalCluster: b}",
                "type: monolith, databases: [a, '*'], source: {externalCluster: a}, \
                 postImportApplicationSQL: [select 1], pgDumpExtraOptions: [-j2, --forma=p], \
                 pgRestoreExtraOptions: [-l]",
                "type: monolith, databases: [], source: {externalCluster: a}",
            ]
            .map(outcome)
            .concat(),
        );
    }
}
