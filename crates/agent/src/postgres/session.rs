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
    pub async fn open(site: &Site, database: &str, within: Duration) -> Result<Self, SessionError> {
        let mut config = Config::new();
        config
            .host_path(&site.sockets)
            .port(site.port)
            .user(SUPERUSER)
            .dbname(database)
            .application_name(APPLICATION)
            // Ours must not wait where a client's may: a rule for commits would block it.
            .options("-c synchronous_commit=local -c client_min_messages=error");
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
