//! Creates the folder of a new cluster, empty, as a copy of a server outside of it or from a backup, and
//! stops it cleanly.
//!
//! Never puts a password anywhere but into its role.

use super::{Bench, Manner};
use crate::durable::{self, Access, DurableError};
use crate::perform::clone::Teller;
use crate::postgres::config::{Password, Settings};
use crate::postgres::external::{self, ExternalError, NewCopy, Source};
use crate::postgres::import::Import;
use crate::postgres::initdb::{
    self, Application, InitError, Locale, NewCluster, Patience, Statement,
};
use crate::postgres::scram::Verifier;
use crate::recovery::{self, NewFromBackup, RecoveryError};
use crate::settings::{self, SettingsError};
use jiff::Timestamp;
use pgherd_api::agent::{
    ExternalFile, ExternalServer, InitDb, InitialDatabase, RecoveryPhase, RecoverySpec,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Threads that read and write the disk for a recovery.
const BLOCKING: usize = 16;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("gathering what the new cluster begins with")]
    Gather(#[source] SettingsError),
    #[error("initialising the cluster")]
    Create(#[source] InitError),
    #[error("reading {path:?}, which opens external cluster {name}")]
    ReadKey { name: String, path: PathBuf, source: DurableError },
    #[error(
        "{path:?}, which opens external cluster {name}, is missing or empty: whoever made the folder puts it there"
    )]
    FindKey { name: String, path: PathBuf },
    #[error("reading {place}, which the cluster shall begin with")]
    ReadStatements { place: String, source: DurableError },
    #[error(
        "{place}, which the cluster shall begin with, does not exist: create it, and the cluster goes on by itself"
    )]
    FindStatements { place: String },
    #[error("{place}, which the cluster shall begin with, is not UTF-8 text: correct it there")]
    UnderstandStatements { place: String },
    #[error("copying external cluster {name}")]
    Copy { name: String, source: Box<ExternalError> },
    #[error("recovering from {name}, which is server {server} in {destination}")]
    Recover { name: String, server: String, destination: String, source: Box<RecoveryError> },
    #[error("starting the thread of a recovery")]
    StartThread(#[source] std::io::Error),
    #[error("the recovery ended early: this is an error in the program, see the agent's log")]
    Broken,
    #[error("noting how the cluster came out of its backup")]
    Note(#[source] DurableError),
}

pub(super) async fn perform(bench: &Bench) -> Result<(), Error> {
    let settings = settings::settings(bench, &Manner::default()).await.map_err(Error::Gather)?;
    if let Some(server) = &bench.specification.postgres.copy_of {
        return copy(bench, server, &settings).await;
    }
    if let Some(spec) = &bench.specification.postgres.recovery {
        return recover(bench, spec, settings).await;
    }
    let mut new = new_cluster(bench)?;
    if let Some(spec) = &bench.specification.postgres.import {
        let source = source(bench, &spec.server)?;
        new.import = Some(Import { spec: (**spec).clone(), source });
    }
    let created = initdb::create(&bench.site, &new, &settings, Patience::default()).await;
    created.map(drop).map_err(Error::Create)
}

async fn copy(bench: &Bench, server: &ExternalServer, settings: &Settings) -> Result<(), Error> {
    let NewCluster { replication_password, application, .. } = new_cluster(bench)?;
    let new = NewCopy { source: source(bench, server)?, replication_password, application };
    let patience = external::Patience::default();
    let mut teller = Teller::default();
    let mut tell = |now| teller.tell(now);
    let copied = external::create(&bench.site, &new, settings, patience, &mut tell).await;
    copied
        .map(drop)
        .map_err(|source| Error::Copy { name: server.name.clone(), source: Box::new(source) })
}

async fn recover(bench: &Bench, spec: &RecoverySpec, settings: Settings) -> Result<(), Error> {
    let NewCluster { replication_password, application, .. } = new_cluster(bench)?;
    let folder = bench.config.folder();
    let own = bench.specification.postgres.archive.clone();
    let new = NewFromBackup {
        spec: spec.clone(),
        keys: folder.recovery(),
        own: own.map(|own| (own, folder.archive())),
        command: settings::recover_command(bench),
        socket: folder.recovery_socket(),
        spool: folder.recovering(),
        replication_password,
        application,
    };
    let (site, told) = (bench.site.clone(), Arc::clone(&bench.recovery));
    let recovered = aside(async move || {
        let patience = recovery::Patience::default();
        recovery::recover(&site, &new, &settings, patience, &told).await
    });
    recovered.await?.map_err(|source| Error::Recover {
        name: spec.name.clone(),
        server: spec.source.server.clone(),
        destination: spec.source.destination.clone(),
        source: Box::new(source),
    })?;
    bench.recovery.send_modify(|report| {
        if let Some(report) = report {
            let now = Timestamp::now();
            report.phase = RecoveryPhase::Completed;
            (report.since, report.ended) = (now, Some(now));
        }
    });
    let report = bench.recovery.borrow().clone();
    durable::save(&folder.recovered(), &report, Access::PRIVATE).map_err(Error::Note)
}

/// On a thread and a runtime of its own: it has much to compute and to read, and the agent's loop
/// must not wait for that. When nobody waits for it any more, it ends.
async fn aside<T: Send + 'static, Work: Future<Output = T>>(
    work: impl FnOnce() -> Work + Send + 'static,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .build()
        .map_err(Error::StartThread)?;
    let (mut done, answer) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("recovery".to_owned());
    let working = move || {
        let ended = runtime.block_on(async {
            tokio::select! {
                biased;
                () = done.closed() => None,
                ended = work() => Some(ended),
            }
        });
        if let Some(ended) = ended {
            let _gone = done.send(ended).is_err();
        }
    };
    let _detached = thread.spawn(working).map_err(Error::StartThread)?;
    answer.await.map_err(|_| Error::Broken)
}

/// The server with all that opens it.
fn source(bench: &Bench, server: &ExternalServer) -> Result<Source, Error> {
    let mut source = Source { parameters: server.parameters.clone(), password: None };
    for file in &server.files {
        let name = server.name.clone();
        let path = bench.config.folder().external().join(file.name());
        let found = durable::read(&path);
        let content = match found {
            Err(source) => return Err(Error::ReadKey { name, path, source }),
            Ok(content) => content.unwrap_or_default(),
        };
        let text = String::from_utf8(content).unwrap_or_default();
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(Error::FindKey { name, path });
        }
        let parameter = match file {
            ExternalFile::Password => {
                source.password = Some(Password(text.to_owned()));
                continue;
            }
            ExternalFile::Certificate => "sslcert",
            ExternalFile::Key => "sslkey",
            ExternalFile::Authority => "sslrootcert",
        };
        source.parameters.insert(parameter.to_owned(), path.display().to_string());
    }
    Ok(source)
}

fn new_cluster(bench: &Bench) -> Result<NewCluster, Error> {
    let asked = &bench.specification.postgres.initdb;
    let verifier = |name| {
        let password = settings::password(bench, name).map_err(Error::Gather)?;
        Ok(Verifier::of(&password))
    };
    // In the order in which they are run, so that the first that is missing is named.
    let [first, template, application] =
        [InitialDatabase::Postgres, InitialDatabase::Template, InitialDatabase::Application]
            .map(|database| statements(bench, database));
    let (first, template, application) = (first?, template?, application?);
    Ok(NewCluster {
        encoding: asked.encoding.clone(),
        locale: locale(asked),
        segment_size_megabytes: asked.wal_segment_size_mib,
        replication_password: verifier("replication")?,
        application: Application {
            database: asked.database.clone(),
            owner: asked.owner.clone(),
            password: verifier("app")?,
            statements: application,
        },
        statements: first,
        template_statements: template,
        import: None,
    })
}

/// What the user wants to be run in a new database, in order.
fn statements(bench: &Bench, database: InitialDatabase) -> Result<Vec<Statement>, Error> {
    let asked = &bench.specification.postgres.initdb;
    let (list, written) = match database {
        InitialDatabase::Postgres => ("postInitSQL", &asked.post_init_sql),
        InitialDatabase::Template => ("postInitTemplateSQL", &asked.post_init_template_sql),
        InitialDatabase::Application => {
            ("postInitApplicationSQL", &asked.post_init_application_sql)
        }
    };
    let number = |(index, sql): (usize, &String)| Statement {
        place: format!("statement {} of {list} in the cluster's definition", index + 1),
        sql: sql.clone(),
    };
    let mut all: Vec<_> = written.iter().enumerate().map(number).collect();
    for file in asked.statement_files.iter().filter(|file| file.database == database) {
        let place = file.origin.clone();
        let path = bench.config.folder().statements().join(&file.file);
        let found = durable::read(&path);
        let content =
            found.map_err(|source| Error::ReadStatements { place: place.clone(), source })?;
        let content = content.ok_or_else(|| Error::FindStatements { place: place.clone() })?;
        let sql = String::from_utf8(content);
        let sql = sql.map_err(|_| Error::UnderstandStatements { place: place.clone() })?;
        all.push(Statement { place, sql });
    }
    Ok(all)
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
