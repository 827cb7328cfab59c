//! Creates the folder of a new cluster and stops it cleanly.
//!
//! Never puts a password anywhere but into its role.

use super::{Bench, Manner};
use crate::postgres::initdb::{self, Application, InitError, Locale, NewCluster, Patience};
use crate::postgres::scram::Verifier;
use crate::settings::{self, SettingsError};
use pgherd_api::agent::InitDb;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("gathering what the new cluster begins with")]
    Gather(#[source] SettingsError),
    #[error("initialising the cluster")]
    Create(#[source] InitError),
}

pub(super) async fn perform(bench: &Bench) -> Result<(), Error> {
    let settings = settings::settings(bench, &Manner::default()).await.map_err(Error::Gather)?;
    let new = new_cluster(bench).map_err(Error::Gather)?;
    let created = initdb::create(&bench.site, &new, &settings, Patience::default()).await;
    created.map(drop).map_err(Error::Create)
}

fn new_cluster(bench: &Bench) -> Result<NewCluster, SettingsError> {
    let asked = &bench.specification.postgres.initdb;
    let verifier = |name| settings::password(bench, name).map(|password| Verifier::of(&password));
    Ok(NewCluster {
        encoding: asked.encoding.clone(),
        locale: locale(asked),
        segment_size_megabytes: asked.wal_segment_size_mib,
        replication_password: verifier("replication")?,
        application: Some(Application {
            database: asked.database.clone(),
            owner: asked.owner.clone(),
            password: verifier("app")?,
            statements: asked.post_init_application_sql.clone(),
        }),
        statements: asked.post_init_sql.clone(),
        template_statements: asked.post_init_template_sql.clone(),
    })
}

fn locale(asked: &InitDb) -> Locale {
    let one = |special: &Option<String>| {
        special.clone().or_else(|| asked.locale.clone()).unwrap_or_else(|| "C".to_owned())
    };
    let further = [
        ("--locale-provider", &asked.locale_provider),
        ("--icu-locale", &asked.icu_locale),
        ("--icu-rules", &asked.icu_rules),
        ("--builtin-locale", &asked.builtin_locale),
    ];
    let named = further
        .into_iter()
        .filter_map(|(option, value)| value.as_ref().map(|value| format!("{option}={value}")));
    Locale {
        collate: one(&asked.locale_collate),
        ctype: one(&asked.locale_ctype),
        options: named.chain(asked.options.iter().cloned()).collect(),
    }
}
