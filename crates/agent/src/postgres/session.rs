//! A connection to the local server through its private socket.
//!
//! Never waits without a deadline; a session that missed one is never used again.

use crate::postgres::site::Site;
use std::time::Duration;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{
    Client, Config, Connection, NoTls, SimpleQueryMessage, SimpleQueryRow, Socket,
};

/// How the agent's own connections are recognised.
pub const APPLICATION: &str = "pgherd-agent";
pub const SUPERUSER: &str = "postgres";

/// Ours must not wait where a client's may: a rule for commits would block it.
const ALWAYS: &str = "-c synchronous_commit=local -c client_min_messages=error";
/// What holds in all of the agent's own sessions, whatever users set for theirs, a database or a role.
/// Such a session belongs to a superuser: the functions and operators that it names are those of
/// PostgreSQL, never of whoever owns a schema. It is not ended by limits that are meant for clients, and
/// loads nothing that would keep it from being opened.
const OWN: &str = "-c search_path=pg_catalog -c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 \
    -c session_preload_libraries= -c local_preload_libraries=";
/// A further limit since PostgreSQL 17.
const OWN_17: &str = "-c transaction_timeout=0";

/// Speaks the simple protocol only: one round trip per question, nothing prepared, no types.
pub struct Session {
    client: Client,
    connection: Connection<Socket, NoTlsStream>,
    state: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Usable,
    Broken,
}

/// One answer of a query with several statements.
pub type Rows = Vec<SimpleQueryRow>;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("connecting to PostgreSQL through its socket in {sockets:?}")]
    Connect { sockets: std::path::PathBuf, source: tokio_postgres::Error },
    #[error("asking PostgreSQL")]
    Ask { source: tokio_postgres::Error },
    #[error("PostgreSQL did not answer within {within:?}")]
    Deadline { within: Duration },
    #[error("the connection to PostgreSQL was closed")]
    Closed,
    #[error("PostgreSQL's answer lacks {what}")]
    Understand { what: &'static str },
}

impl SessionError {
    /// What the server itself said, when it did.
    pub fn server_error(&self) -> Option<&DbError> {
        match self {
            Self::Connect { source, .. } | Self::Ask { source } => source.as_db_error(),
            Self::Deadline { .. } | Self::Closed | Self::Understand { .. } => None,
        }
    }
}

impl Session {
    /// For the agent's own statements.
    pub async fn open(site: &Site, database: &str, within: Duration) -> Result<Self, SessionError> {
        let since_17 = if site.installation.version.major >= 17 { OWN_17 } else { "" };
        Self::begin(site, database, (&format!("{ALWAYS} {OWN} {since_17}"), within)).await
    }

    /// For statements of users: they mean what they would by psql.
    pub async fn open_for_users(
        site: &Site,
        database: &str,
        within: Duration,
    ) -> Result<Self, SessionError> {
        Self::begin(site, database, (ALWAYS, within)).await
    }

    async fn begin(
        site: &Site,
        database: &str,
        (options, within): (&str, Duration),
    ) -> Result<Self, SessionError> {
        let mut config = Config::new();
        config
            .host_path(&site.sockets)
            .port(site.port)
            .user(SUPERUSER)
            .dbname(database)
            .application_name(APPLICATION)
            .options(options.trim_end());
        let (client, connection) = tokio::time::timeout(within, config.connect(NoTls))
            .await
            .map_err(|_| SessionError::Deadline { within })?
            .map_err(|source| SessionError::Connect { sockets: site.sockets.clone(), source })?;
        Ok(Self { client, connection, state: Health::Usable })
    }

    pub fn is_usable(&self) -> bool {
        self.state == Health::Usable
    }

    /// The rows of each statement of `sql` that returns rows, in order.
    pub async fn ask(&mut self, sql: &str, within: Duration) -> Result<Vec<Rows>, SessionError> {
        if !self.is_usable() {
            return Err(SessionError::Closed);
        }
        // Until the answer is whole, nobody knows what the next one would belong to.
        self.state = Health::Broken;
        let answer = async {
            tokio::select! {
                biased;
                answer = self.client.simple_query(sql) => {
                    answer.map_err(|source| SessionError::Ask { source })
                }
                ended = &mut self.connection => Err(match ended {
                    Ok(()) => SessionError::Closed,
                    Err(source) => SessionError::Ask { source },
                }),
            }
        };
        let messages = tokio::time::timeout(within, answer)
            .await
            .map_err(|_| SessionError::Deadline { within })?;
        match messages {
            Ok(messages) => {
                self.state = Health::Usable;
                Ok(sets(messages))
            }
            Err(error) => {
                // A refused statement leaves the connection whole; a fatal error does not.
                let severity = error.server_error().and_then(DbError::parsed_severity);
                if severity == Some(Severity::Error) {
                    self.state = Health::Usable;
                }
                Err(error)
            }
        }
    }

    /// The only value of the only row.
    pub async fn value(&mut self, sql: &str, within: Duration) -> Result<String, SessionError> {
        let sets = self.ask(sql, within).await?;
        let row = sets.first().and_then(|rows| rows.first());
        let value = row.and_then(|row| row.try_get(0).ok().flatten());
        value.map(str::to_owned).ok_or(SessionError::Understand { what: "a value" })
    }

    /// For statements whose answer says nothing.
    pub async fn run(&mut self, sql: &str, within: Duration) -> Result<(), SessionError> {
        self.ask(sql, within).await.map(drop)
    }
}

fn sets(messages: Vec<SimpleQueryMessage>) -> Vec<Rows> {
    let mut sets: Vec<Rows> = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => sets.push(Vec::new()),
            SimpleQueryMessage::Row(row) => {
                if let Some(rows) = sets.last_mut() {
                    rows.push(row);
                }
            }
            _ => {}
        }
    }
    sets
}
