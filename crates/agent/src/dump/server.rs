//! What is asked of the server before and while it is dumped.
//!
//! Never changes anything there.

use super::course::WorkError;
use crate::backup::Role;
use crate::postgres::config::quote::literal;
use crate::postgres::session::{SUPERUSER, Session};
use crate::postgres::site::Site;
use jiff::Timestamp;
use pgherd_backup::dump::Oid;
use pgherd_core::units::{Bytes, Lsn};
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryRow;

const CONNECT: Duration = Duration::from_secs(30);
pub(super) const QUESTION: Duration = Duration::from_mins(2);

const DATABASES: &str = "select oid, datname, pg_get_userbyid(datdba), \
    pg_encoding_to_char(encoding), datcollate, datctype, pg_database_size(oid) \
    from pg_database where datallowconn and not datistemplate order by datname";
/// Owners and those with rights; what the superuser owns is not listed.
const ROLES: &str = "select distinct rolname from pg_shdepend join pg_roles on \
    pg_roles.oid = refobjid where refclassid = 'pg_authid'::regclass and dbid = \
    (select oid from pg_database where datname = current_database()) order by 1";
const UNLOGGED: &str = "select count(*) from pg_class where relpersistence = 'u' and relkind = 'r'";

pub(super) async fn connect(site: &Site, database: &str) -> Result<Session, WorkError> {
    let failed = |source| WorkError::Connect { database: database.to_owned(), source };
    Session::open(site, database, CONNECT).await.map_err(failed)
}

/// A database that can be dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) oid: Oid,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) encoding: String,
    pub(super) collate: String,
    pub(super) ctype: String,
    pub(super) size: Bytes,
}

/// All that are there, and the server's version.
pub(super) async fn databases(site: &Site) -> Result<(u32, Vec<Database>), WorkError> {
    let mut session = connect(site, SUPERUSER).await?;
    let what = "its databases";
    let version = value(&mut session, "select current_setting('server_version_num')", what).await?;
    let version = version.parse().map_err(|_| WorkError::TooLittle { what })?;
    let rows = rows(&mut session, DATABASES, what).await?;
    let databases = rows.iter().map(|row| database(row).ok_or(WorkError::TooLittle { what }));
    Ok((version, databases.collect::<Result<_, _>>()?))
}

fn database(row: &[String]) -> Option<Database> {
    let [oid, name, owner, encoding, collate, ctype, size] = row else { return None };
    Some(Database {
        oid: Oid(oid.parse().ok()?),
        name: name.clone(),
        owner: owner.clone(),
        encoding: encoding.clone(),
        collate: collate.clone(),
        ctype: ctype.clone(),
        size: Bytes(size.parse().ok()?),
    })
}

/// A snapshot that others can take up, as long as this lives.
pub(super) struct Exported {
    _session: Session,
    pub(super) name: String,
    pub(super) lsn: Lsn,
    pub(super) at: Timestamp,
    pub(super) since: Instant,
    pub(super) roles: Vec<String>,
}

/// What is dumped is one moment of one database.
pub(super) async fn export(
    site: &Site,
    database: &str,
    role: Role,
) -> Result<(Exported, Vec<String>), WorkError> {
    let what = "a snapshot";
    let mut session = connect(site, database).await?;
    let mut warnings = Vec::new();
    if role == Role::Standby && value(&mut session, UNLOGGED, what).await? != "0" {
        warnings.push(format!(
            "unlogged tables of {database:?} are empty in the dump, as they are on every standby"
        ));
    }
    // Before the snapshot: what was committed until then is in it for certain.
    let position = match role {
        Role::Primary => "select pg_current_wal_insert_lsn()",
        Role::Standby => "select pg_last_wal_replay_lsn()",
    };
    let lsn = value(&mut session, position, what).await?;
    let begin = "begin transaction isolation level repeatable read, read only";
    let (at, since) = (Timestamp::now(), Instant::now());
    session.run(begin, QUESTION).await.map_err(|source| WorkError::Ask { what, source })?;
    let name = value(&mut session, "select pg_export_snapshot()", what).await?;
    let roles = rows(&mut session, ROLES, what).await?.into_iter().flatten().collect();
    let lsn = Lsn::parse(&lsn).map_err(|_| WorkError::TooLittle { what })?;
    Ok((Exported { _session: session, name, lsn, at, since, roles }, warnings))
}

/// What the largest tables take, as many as are dumped at once. As last counted: to ask for the size
/// itself would wait for whoever has locked a table.
pub(super) async fn largest(site: &Site, database: &str, jobs: u32) -> Result<Bytes, WorkError> {
    let what = "the size of tables";
    let sql = format!(
        "select coalesce(sum(pages), 0)::int8 * current_setting('block_size')::int8 from (select \
         c.relpages::int8 + coalesce(t.relpages, 0) as pages from pg_class c left join pg_class t \
         on t.oid = c.reltoastrelid where c.relkind in ('r', 'm') order by 1 desc limit {jobs}) as l"
    );
    let mut session = connect(site, database).await?;
    let size = value(&mut session, &sql, what).await?;
    size.parse().map(Bytes).map_err(|_| WorkError::TooLittle { what })
}

/// Whether there is a database of this name, and whose it is.
pub(super) async fn owner(
    session: &mut Session,
    database: &str,
) -> Result<Option<String>, WorkError> {
    let sql = format!(
        "select pg_get_userbyid(datdba) from pg_database where datname = {}",
        literal(database)
    );
    Ok(rows(session, &sql, "a database").await?.into_iter().flatten().next())
}

pub(super) async fn value(
    session: &mut Session,
    sql: &str,
    what: &'static str,
) -> Result<String, WorkError> {
    session.value(sql, QUESTION).await.map_err(|source| WorkError::Ask { what, source })
}

pub(super) async fn rows(
    session: &mut Session,
    sql: &str,
    what: &'static str,
) -> Result<Vec<Vec<String>>, WorkError> {
    let sets = session.ask(sql, QUESTION).await;
    let sets = sets.map_err(|source| WorkError::Ask { what, source })?;
    let text =
        |row: &SimpleQueryRow, at| row.try_get(at).ok().flatten().unwrap_or_default().to_owned();
    let rows = sets.into_iter().flatten();
    Ok(rows.map(|row| (0..row.len()).map(|at| text(&row, at)).collect()).collect())
}
