//! Makes the roles that every cluster has, and the application's database; in a copy they may be
//! there already.
//!
//! Never puts a password into SQL: only what proves one.

use crate::postgres::config::REPLICATION_ROLE;
use crate::postgres::config::quote::{identifier, literal};
use crate::postgres::initdb::Application;
use crate::postgres::scram::Verifier;
use crate::postgres::session::{SUPERUSER, Session, SessionError};
use crate::postgres::site::Site;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);
/// A new database is a copy of another one.
const COPYING: Duration = Duration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    #[error("looking for {what}")]
    Look { what: String, source: SessionError },
    #[error("making the role {role:?}")]
    MakeRole { role: String, source: SessionError },
    #[error("setting the password of the role {role:?}")]
    SetPassword { role: String, source: SessionError },
    #[error("making the database {database:?}")]
    MakeDatabase { database: String, source: SessionError },
}

/// What pg_rewind's manual asks for when its role is no superuser.
const REWIND_GRANTS: &str = "GRANT EXECUTE ON FUNCTION \
    pg_catalog.pg_ls_dir(text, boolean, boolean), \
    pg_catalog.pg_stat_file(text, boolean), \
    pg_catalog.pg_read_binary_file(text), \
    pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) \
    TO streaming_replica";

/// Not even a verifier belongs into a log.
pub(crate) const QUIET: &str = "SET log_statement = 'none'; SET log_min_duration_statement = -1; \
    SET log_min_error_statement = 'panic'";

/// A session whose statements nobody finds in a log.
pub(crate) async fn connect(
    site: &Site,
    database: &str,
    within: Duration,
) -> Result<Session, SessionError> {
    quieten(Session::open(site, database, within).await?, within).await
}

/// The same for statements of users, and for what their objects do.
pub(crate) async fn connect_for_users(
    site: &Site,
    database: &str,
    within: Duration,
) -> Result<Session, SessionError> {
    quieten(Session::open_for_users(site, database, within).await?, within).await
}

async fn quieten(mut session: Session, within: Duration) -> Result<Session, SessionError> {
    session.run(QUIET, within).await?;
    Ok(session)
}

pub(crate) async fn make(
    session: &mut Session,
    replication: &Verifier,
    application: &Application,
) -> Result<(), RolesError> {
    make_role(session, REPLICATION_ROLE, "REPLICATION", replication).await?;
    session
        .run(REWIND_GRANTS, WITHIN)
        .await
        .map_err(|source| RolesError::MakeRole { role: REPLICATION_ROLE.to_owned(), source })?;
    make_role(session, &application.owner, "", &application.password).await
}

/// What a superuser was given elsewhere counts for nothing here.
pub(crate) async fn forget_superuser(session: &mut Session) -> Result<(), RolesError> {
    let forget = "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1 VALID UNTIL 'infinity' PASSWORD NULL";
    let forgotten = session.run(forget, WITHIN).await;
    forgotten.map_err(|source| RolesError::MakeRole { role: SUPERUSER.to_owned(), source })
}

/// Sets a role's password, as long as there is that role. It need not wait for standbys: whoever is
/// primary next sets it again.
pub(crate) async fn set_password(
    session: &mut Session,
    role: &str,
    password: &Verifier,
) -> Result<(), RolesError> {
    if !role_exists(session, role).await? {
        return Ok(());
    }
    let (name, password) = (identifier(role), literal(password.reveal()));
    let statement =
        format!("{QUIET}; SET synchronous_commit = local; ALTER ROLE {name} PASSWORD {password}");
    let set = session.run(&statement, WITHIN).await;
    set.map_err(|source| RolesError::SetPassword { role: role.to_owned(), source })
}

/// Lets standbys in again if somebody shut them out: those who could confirm that are shut out, too.
pub(crate) async fn admit_standbys(session: &mut Session) -> Result<(), RolesError> {
    let role = literal(REPLICATION_ROLE);
    let look = format!(
        "SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = {role} AND NOT (rolcanlogin AND \
         rolreplication AND rolconnlimit = -1 AND coalesce(rolvaliduntil > now(), true))"
    );
    if !exists(session, &look, format!("the role {REPLICATION_ROLE:?}")).await? {
        return Ok(());
    }
    tracing::warn!(role = REPLICATION_ROLE, "standbys were shut out: letting them in again");
    let name = identifier(REPLICATION_ROLE);
    let statement = format!(
        "SET synchronous_commit = local; ALTER ROLE {name} LOGIN REPLICATION CONNECTION LIMIT -1 \
         VALID UNTIL 'infinity'"
    );
    let altered = session.run(&statement, WITHIN).await;
    altered.map_err(|source| RolesError::MakeRole { role: REPLICATION_ROLE.to_owned(), source })
}

async fn role_exists(session: &mut Session, role: &str) -> Result<bool, RolesError> {
    let look =
        format!("SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = {}", literal(role));
    exists(session, &look, format!("the role {role:?}")).await
}

async fn make_role(
    session: &mut Session,
    role: &str,
    attributes: &str,
    password: &Verifier,
) -> Result<(), RolesError> {
    let (name, password) = (identifier(role), literal(password.reveal()));
    let statement = if role_exists(session, role).await? {
        // What it was limited to elsewhere must not lock it out here.
        format!(
            "ALTER ROLE {name} LOGIN {attributes} CONNECTION LIMIT -1 VALID UNTIL 'infinity' \
             PASSWORD {password}"
        )
    } else {
        format!("CREATE ROLE {name} LOGIN {attributes} PASSWORD {password}")
    };
    let made = session.run(&statement, WITHIN).await;
    made.map_err(|source| RolesError::MakeRole { role: role.to_owned(), source })
}

/// The owner's role has to be there.
pub(crate) async fn make_database(
    session: &mut Session,
    application: &Application,
) -> Result<(), RolesError> {
    let Application { database, owner, .. } = application;
    let look = format!(
        "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = {}",
        literal(database)
    );
    let (name, owner) = (identifier(database), identifier(owner));
    let statement = if exists(session, &look, format!("the database {database:?}")).await? {
        format!("ALTER DATABASE {name} OWNER TO {owner}")
    } else {
        format!("CREATE DATABASE {name} OWNER {owner}")
    };
    let made = session.run(&statement, COPYING).await;
    made.map_err(|source| RolesError::MakeDatabase { database: database.clone(), source })
}

async fn exists(session: &mut Session, look: &str, what: String) -> Result<bool, RolesError> {
    let count = session.value(look, WITHIN).await;
    count.map(|count| count != "0").map_err(|source| RolesError::Look { what, source })
}
