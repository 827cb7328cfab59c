//! Makes the data folder of a new cluster as a copy of a server outside of it.
//!
//! Never writes on a timeline of that server, never keeps what opened it, and never leaves a
//! half-made cluster under the final name.

use crate::durable::{self, DurableError};
use crate::postgres::clone::{self, CloneError, Copy, OldFolder, Progress, Tablespaces};
use crate::postgres::config::quote::conninfo;
use crate::postgres::config::{self, ConfigError, Opens, Password, Receive, Settings};
use crate::postgres::control::{self, Control, ControlError};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::initdb::{Application, alone};
use crate::postgres::roles::{self, RolesError};
use crate::postgres::scram::Verifier;
use crate::postgres::server::{self, Mode, Postmaster, ServerError, Stop};
use crate::postgres::session::{SUPERUSER, SessionError};
use crate::postgres::site::Site;
use crate::process::tool::{Tool, ToolError};
use std::collections::BTreeMap;
use std::time::Duration;

/// A new cluster that begins as a copy.
#[derive(Debug, Clone)]
pub struct NewCopy {
    pub source: Source,
    pub replication_password: Verifier,
    pub application: Application,
}

/// The server that is copied.
#[derive(Debug, Clone)]
pub struct Source {
    /// Parameters of libpq, without secrets.
    pub parameters: BTreeMap<String, String>,
    pub password: Option<Password>,
}

/// How long the parts may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub ask: Duration,
    pub copy: Duration,
    /// Replays what was written meanwhile.
    pub start: Duration,
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ask: Duration::from_secs(30),
            copy: Duration::from_hours(24),
            start: Duration::from_hours(24),
            stop: Duration::from_mins(5),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    #[error("preparing the folder")]
    PrepareFolder { source: FolderError },
    #[error("ending what an interrupted attempt left running")]
    EndEarlier { source: ServerError },
    #[error("keeping the password for as long as it is needed")]
    KeepKey { source: DurableError },
    #[error(
        "asking the server for its version: let its pg_hba.conf accept replication from here, or correct the entry in externalClusters"
    )]
    Ask { source: ToolError },
    #[error("the server says {said:?} instead of its version: is it PostgreSQL?")]
    Understand { said: String },
    #[error(
        "the server is PostgreSQL {found} and the programs here are PostgreSQL {installed}, but a copy needs the same major version: use an image of PostgreSQL {found}, or another source"
    )]
    MatchVersion { found: u32, installed: u32 },
    #[error("copying its data")]
    Copy { source: CloneError },
    #[error("writing the configuration")]
    Configure { source: ConfigError },
    #[error("setting how the copy comes up")]
    SetMode { source: DurableError },
    #[error("starting the copy")]
    Start { source: ServerError },
    #[error("connecting to the copy, whose superuser has to be called postgres")]
    Connect { source: SessionError },
    #[error("making roles and the application's database in the copy")]
    MakeRoles { source: RolesError },
    #[error("stopping the copy")]
    Stop { source: ServerError },
    #[error("reading the control file of the copy")]
    ReadControl { source: ControlError },
    #[error("giving the copy its name")]
    Publish { source: FolderError },
}

/// Makes the cluster and stops it cleanly. Begins anew whatever an interrupted attempt left.
pub async fn create(
    site: &Site,
    new: &NewCopy,
    settings: &Settings,
    patience: Patience,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Control, ExternalError> {
    let staged = site.staged();
    let prepare = |source| ExternalError::PrepareFolder { source };
    server::sweep(&staged, patience.stop)
        .await
        .map_err(|source| ExternalError::EndEarlier { source })?;
    folder::begin_staging(site).map_err(prepare)?;
    let made = make(&staged, new, settings, patience, progress).await;
    let forgotten = durable::remove(&site.external_passfile());
    if made.is_err() {
        // A server that nobody knows of must not stay; and the copy may be what filled the disk.
        let _first_error_counts = server::sweep(&staged, patience.stop).await;
        folder::remove_tree(&staged.data).map_err(prepare)?;
    }
    let control = made?;
    forgotten.map_err(|source| ExternalError::KeepKey { source })?;
    folder::publish(site).map_err(|source| ExternalError::Publish { source })?;
    Ok(control)
}

async fn make(
    staged: &Site,
    new: &NewCopy,
    settings: &Settings,
    patience: Patience,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Control, ExternalError> {
    write_key(staged, new.source.password.as_ref())?;
    let connection = parameters(staged, settings, &new.source);
    check_version(staged, &connection, patience.ask).await?;
    let copy = Copy {
        system_id: None,
        slot: None,
        old: OldFolder::Keep,
        tablespaces: Tablespaces::Refused,
        within: patience.copy,
    };
    clone::run(staged, &text(&connection), copy, progress)
        .await
        .map_err(|source| ExternalError::Copy { source })?;
    let configure = |settings: &Settings| {
        let applied = config::apply(staged, &staged.data, (settings, Opens::ByItself));
        applied.map(drop).map_err(|source| ExternalError::Configure { source })
    };
    configure(&Settings { receive: Receive::FromCopy, ..alone(settings) })?;
    open(staged, new, patience).await?;
    configure(settings)?;
    control::read_file(&staged.data).map_err(|source| ExternalError::ReadControl { source })
}

/// Opens the copy on a timeline of its own, so that no position of its log is one of the source's.
async fn open(staged: &Site, new: &NewCopy, patience: Patience) -> Result<(), ExternalError> {
    // The source may be a standby; starting for writing takes that mark away.
    durable::write(&staged.data.join("recovery.signal"), b"", staged.private())
        .map_err(|source| ExternalError::SetMode { source })?;
    let start = |source| ExternalError::Start { source };
    let postmaster = server::start(staged, Mode::ReadWrite).await.map_err(start)?;
    postmaster.ready(staged, patience.start).await.map_err(start)?;
    fill(staged, new, &postmaster, patience).await
}

async fn fill(
    staged: &Site,
    new: &NewCopy,
    postmaster: &Postmaster,
    patience: Patience,
) -> Result<(), ExternalError> {
    let opened = roles::connect(staged, SUPERUSER, patience.ask).await;
    let mut session = opened.map_err(|source| ExternalError::Connect { source })?;
    let roles = |source| ExternalError::MakeRoles { source };
    roles::forget_superuser(&mut session).await.map_err(roles)?;
    let made = roles::make(&mut session, &new.replication_password, &new.application);
    made.await.map_err(roles)?;
    roles::make_database(&mut session, &new.application).await.map_err(roles)?;
    let stopped = postmaster.stop(staged, Stop::Fast, patience.stop).await;
    stopped.map(drop).map_err(|source| ExternalError::Stop { source })
}

/// Writes the file that libpq reads the password from.
pub(crate) fn write_key(site: &Site, password: Option<&Password>) -> Result<(), ExternalError> {
    let path = site.external_passfile();
    let kept = match password {
        None => durable::remove(&path),
        Some(Password(password)) => {
            let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
            durable::write(&path, format!("*:*:*:*:{escaped}\n").as_bytes(), site.private())
        }
    };
    kept.map_err(|source| ExternalError::KeepKey { source })
}

fn parameters(site: &Site, settings: &Settings, source: &Source) -> BTreeMap<String, String> {
    let mut all = reaching(site, settings, source);
    all.insert("replication".to_owned(), "true".to_owned());
    all
}

/// What the user says, between what is usual and what is ours.
pub(crate) fn reaching(
    site: &Site,
    settings: &Settings,
    source: &Source,
) -> BTreeMap<String, String> {
    // A server that is gone is found out within half a minute.
    let usual = [
        ("connect_timeout", "10".to_owned()),
        ("fallback_application_name", settings.instance.to_string()),
        ("keepalives_idle", "10".to_owned()),
        ("keepalives_interval", "5".to_owned()),
        ("keepalives_count", "4".to_owned()),
    ];
    let mut all: BTreeMap<String, String> =
        usual.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(source.parameters.clone());
    if source.password.is_some() {
        all.insert("passfile".to_owned(), site.external_passfile().display().to_string());
    }
    all
}

pub(crate) fn text(parameters: &BTreeMap<String, String>) -> String {
    let parts = parameters.iter().map(|(name, value)| format!("{name}={}", conninfo(value)));
    parts.collect::<Vec<_>>().join(" ")
}

/// pg_basebackup would copy an older server, too, and only its start would fail, hours later.
async fn check_version(
    staged: &Site,
    connection: &BTreeMap<String, String>,
    within: Duration,
) -> Result<(), ExternalError> {
    let said = Tool::new(staged.installation.tool("psql"))
        .argument("--no-psqlrc")
        .argument("--no-password")
        .argument("--quiet")
        .argument("--tuples-only")
        .argument("--no-align")
        .argument("--command=SHOW server_version_num")
        .argument("--dbname")
        .argument(text(connection))
        .run_as(staged.owner)
        .run(within)
        .await
        .map_err(|source| ExternalError::Ask { source })?;
    judge(&said.stdout, staged.installation.version.major)
}

fn judge(said: &str, installed: u32) -> Result<(), ExternalError> {
    match major(said) {
        None => Err(ExternalError::Understand { said: said.trim().to_owned() }),
        Some(found) if found != installed => Err(ExternalError::MatchVersion { found, installed }),
        Some(_) => Ok(()),
    }
}

/// The major version in a number such as 150013.
fn major(said: &str) -> Option<u32> {
    said.trim().parse::<u32>().ok().map(|number| number / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_major_version_is_refused() {
        let told = ["150013\n", "180004", "on\n"].map(|said| match judge(said, 15) {
            Ok(()) => "fine\n".to_owned(),
            Err(error) => format!("{error}\n"),
        });
        expect_test::expect![[r#"
            fine
            the server is PostgreSQL 18 and the programs here are PostgreSQL 15, but a copy needs the same major version: use an image of PostgreSQL 18, or another source
            the server says "on" instead of its version: is it PostgreSQL?
        "#]].assert_eq(&told.concat());
    }

    #[test]
    fn values_stay_what_they_are_in_a_connection_string() {
        let parameters = [("host", "db"), ("user", "it's \\ me")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(text(&parameters), r"host='db' user='it\'s \\ me'");
    }
}
