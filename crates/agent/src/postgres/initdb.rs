//! Makes the data folder of a new cluster: initdb, roles, the application's database.
//!
//! Never puts a password into SQL, and never leaves a half-made cluster under the final name.

use crate::durable;
use crate::postgres::config::{self, Archive, ConfigError, Opens, Receive, Settings};
use crate::postgres::control::{self, Control, ControlError};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::import::{self, Import, ImportError};
use crate::postgres::roles::{self, RolesError};
use crate::postgres::scram::Verifier;
use crate::postgres::server::{self, Mode, Postmaster, ServerError, Stop};
use crate::postgres::session::{SUPERUSER, Session, SessionError};
use crate::postgres::site::Site;
use crate::process::tool::{Tool, ToolError};
use pgherd_core::seen::Gate;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a new cluster begins with.
#[derive(Debug, Clone)]
pub struct NewCluster {
    pub encoding: String,
    pub locale: Locale,
    /// Megabytes; PostgreSQL's own default when none is given.
    pub segment_size_megabytes: Option<u32>,
    pub replication_password: Verifier,
    pub application: Application,
    /// The user's statements, in the databases `postgres` and `template1`.
    pub statements: Vec<Statement>,
    pub template_statements: Vec<Statement>,
    /// What is brought from a server outside.
    pub import: Option<Import>,
}

/// A database with the role that owns it.
#[derive(Debug, Clone)]
pub struct Application {
    pub database: String,
    pub owner: String,
    pub password: Verifier,
    /// The user's statements, in this database.
    pub statements: Vec<Statement>,
}

/// What the user wants to be run once, as the superuser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it is written, for messages: `key a of Secret b`.
    pub place: String,
    /// It may be several.
    pub sql: String,
}

/// How text is compared and classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locale {
    pub collate: String,
    pub ctype: String,
    /// Further options of initdb about locales, such as `--locale-provider=icu`.
    pub options: Vec<String>,
}

impl Default for Locale {
    fn default() -> Self {
        Self { collate: "C".to_owned(), ctype: "C".to_owned(), options: Vec::new() }
    }
}

/// How long the parts may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub initdb: Duration,
    pub start: Duration,
    /// Each of the user's statements.
    pub statement: Duration,
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            initdb: Duration::from_mins(5),
            start: Duration::from_mins(1),
            statement: Duration::from_hours(1),
            stop: Duration::from_mins(2),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("preparing the folder")]
    PrepareFolder { source: FolderError },
    #[error("ending what an interrupted attempt left running")]
    EndEarlier { source: ServerError },
    #[error("running initdb")]
    RunInitdb { source: ToolError },
    #[error("writing the configuration")]
    Configure { source: ConfigError },
    #[error("starting the new server")]
    Start { source: ServerError },
    #[error("connecting to the new server")]
    Connect { source: SessionError },
    #[error("making roles and the application's database")]
    MakeRoles { source: RolesError },
    #[error("running {place}: correct it there")]
    RunStatement { place: String, source: SessionError },
    #[error("importing from {name}")]
    Import { name: String, source: Box<ImportError> },
    #[error("stopping the new server")]
    Stop { source: ServerError },
    #[error("reading the new control file")]
    ReadControl { source: ControlError },
    #[error("giving the new folder its name")]
    Publish { source: FolderError },
}

/// Makes the cluster and stops it cleanly. Begins anew whatever an interrupted attempt left; does
/// nothing to a data folder that exists already.
pub async fn create(
    site: &Site,
    new: &NewCluster,
    settings: &Settings,
    patience: Patience,
) -> Result<Control, InitError> {
    let staged = site.staged();
    server::sweep(&staged, patience.stop)
        .await
        .map_err(|source| InitError::EndEarlier { source })?;
    folder::begin_staging(site).map_err(|source| InitError::PrepareFolder { source })?;
    initdb(&staged, new, patience.initdb).await?;
    let configure = |settings: &Settings| {
        config::apply(&staged, &staged.data, (settings, Opens::ByItself))
            .map(drop)
            .map_err(|source| InitError::Configure { source })
    };
    configure(&alone(settings))?;
    let postmaster = server::start(&staged, Mode::ReadWrite)
        .await
        .map_err(|source| InitError::Start { source })?;
    let filled = fill_and_stop((&staged, settings), &postmaster, new, patience).await;
    if new.import.is_some() {
        let _first_error_counts = durable::remove(&site.external_passfile());
    }
    if let Err(error) = filled {
        // The folder is of no use, but a server that nobody knows of must not stay.
        let _first_error_counts = server::sweep(&staged, patience.stop).await;
        return Err(error);
    }
    configure(settings)?;
    let control =
        control::read_file(&staged.data).map_err(|source| InitError::ReadControl { source })?;
    folder::publish(site).map_err(|source| InitError::Publish { source })?;
    Ok(control)
}

/// Nobody but the agent can connect while the cluster is made.
pub(crate) fn alone(settings: &Settings) -> Settings {
    Settings {
        listen: BTreeSet::new(),
        gate: Gate::Closed,
        receive: Receive::FromNobody,
        commits: None,
        archive: Archive::default(),
        ..settings.clone()
    }
}

async fn initdb(staged: &Site, new: &NewCluster, within: Duration) -> Result<(), InitError> {
    let mut tool = Tool::new(staged.installation.tool("initdb"))
        .argument("-D")
        .argument(&staged.data)
        .argument(format!("--username={SUPERUSER}"))
        .argument("--auth-local=peer")
        .argument("--auth-host=reject")
        .argument("--data-checksums")
        .argument(format!("--encoding={}", new.encoding))
        .argument(format!("--lc-collate={}", new.locale.collate))
        .argument(format!("--lc-ctype={}", new.locale.ctype))
        .working_in(&staged.data)
        .run_as(staged.owner);
    for option in &new.locale.options {
        tool = tool.argument(option);
    }
    if let Some(size) = new.segment_size_megabytes {
        tool = tool.argument(format!("--wal-segsize={size}"));
    }
    tool.run(within).await.map(drop).map_err(|source| InitError::RunInitdb { source })
}

async fn fill_and_stop(
    (staged, settings): (&Site, &Settings),
    postmaster: &Postmaster,
    new: &NewCluster,
    patience: Patience,
) -> Result<(), InitError> {
    postmaster.ready(staged, patience.start).await.map_err(|source| InitError::Start { source })?;
    fill((staged, settings), new, patience).await?;
    postmaster
        .stop(staged, Stop::Fast, patience.stop)
        .await
        .map(drop)
        .map_err(|source| InitError::Stop { source })
}

async fn fill(
    (staged, settings): (&Site, &Settings),
    new: &NewCluster,
    patience: Patience,
) -> Result<(), InitError> {
    let within = patience.statement;
    if let Some(import) = &new.import {
        import::import_roles(staged, settings, import).await.map_err(|it| failed(import, it))?;
    }
    let mut session = connect(staged, SUPERUSER, patience).await?;
    let made = roles::make(&mut session, &new.replication_password, &new.application);
    made.await.map_err(|source| InitError::MakeRoles { source })?;
    run_all(&mut session, &new.statements, within).await?;
    if !new.template_statements.is_empty() {
        let mut session = connect(staged, "template1", patience).await?;
        run_all(&mut session, &new.template_statements, within).await?;
    }
    let application = &new.application;
    if new.import.as_ref().is_none_or(Import::fills_application) {
        // After the template, so that it has all that the template has.
        let made = roles::make_database(&mut session, application);
        made.await.map_err(|source| InitError::MakeRoles { source })?;
        if !application.statements.is_empty() {
            let mut session = connect(staged, &application.database, patience).await?;
            run_all(&mut session, &application.statements, within).await?;
        }
    }
    if let Some(import) = &new.import {
        let imported = import::import_databases(staged, settings, import, application).await;
        imported.map_err(|error| failed(import, error))?;
    }
    Ok(())
}

fn failed(import: &Import, error: ImportError) -> InitError {
    InitError::Import { name: import.spec.server.name.clone(), source: Box::new(error) }
}

async fn connect(staged: &Site, database: &str, patience: Patience) -> Result<Session, InitError> {
    let opened = roles::connect_for_users(staged, database, patience.start).await;
    opened.map_err(|source| InitError::Connect { source })
}

async fn run_all(
    session: &mut Session,
    statements: &[Statement],
    within: Duration,
) -> Result<(), InitError> {
    for Statement { place, sql } in statements {
        let run = session.run(sql, within).await;
        run.map_err(|source| InitError::RunStatement { place: place.clone(), source })?;
    }
    Ok(())
}
