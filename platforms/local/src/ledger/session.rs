//! One connection to one server, dialled with deadlines.
//!
//! Never reads an answer into silence: a lost connection is an outcome of its own.

use super::address::{Address, Host, Transport};
use super::tls::{self, Handshake, TlsError};
use rustls::ClientConfig;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("preparing TLS")]
    PrepareTls(#[source] TlsError),
    #[error("reaching {host}")]
    Reach { host: Host, source: io::Error },
    #[error("logging in at {host}")]
    LogIn { host: Host, source: tokio_postgres::Error },
    #[error("asking {host} whether it can be written to")]
    AskWritable { host: Host, source: tokio_postgres::Error },
    #[error("{host} is open for reading only")]
    ReadOnly { host: Host },
    #[error("{host} did not answer within {within:?}")]
    Silent { host: Host, within: Duration },
}

/// Which servers are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    ReadWrite,
    Any,
}

/// Dials hosts of one address.
pub(super) struct Dialer {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    within: Duration,
    name: &'static str,
}

impl Dialer {
    pub(super) fn new(
        address: Address,
        within: Duration,
        name: &'static str,
    ) -> Result<Self, DialError> {
        let tls = match &address.transport {
            Transport::Plain => None,
            Transport::Verified { authorities } => Some(tls::settings(authorities)),
        };
        let tls = tls.transpose().map_err(DialError::PrepareTls)?;
        Ok(Self { address, tls, within, name })
    }

    pub(super) fn hosts(&self) -> &[Host] {
        &self.address.hosts
    }

    /// Dials one host, all steps within one deadline.
    pub(super) async fn dial(&self, host: &Host, target: Target) -> Result<Session, DialError> {
        let silent = || DialError::Silent { host: host.clone(), within: self.within };
        timeout(self.within, self.open(host, target)).await.map_err(|_| silent())?
    }

    async fn open(&self, host: &Host, target: Target) -> Result<Session, DialError> {
        let reaching = |source| DialError::Reach { host: host.clone(), source };
        let logging_in = |source| DialError::LogIn { host: host.clone(), source };
        let stream = TcpStream::connect((host.name.as_str(), host.port)).await.map_err(reaching)?;
        stream.set_nodelay(true).map_err(reaching)?;
        let config = self.config();
        let mut session = match &self.tls {
            None => {
                let opened = config.connect_raw(stream, NoTls).await.map_err(logging_in)?;
                Session::new(opened.0, opened.1)
            }
            Some(settings) => {
                let tls = Handshake::with(settings, host).map_err(DialError::PrepareTls)?;
                let opened = config.connect_raw(stream, tls).await.map_err(logging_in)?;
                Session::new(opened.0, opened.1)
            }
        };
        if target == Target::ReadWrite {
            // The same question that libpq asks for target_session_attrs=read-write.
            let asking = |source| DialError::AskWritable { host: host.clone(), source };
            let answer = session.text("select current_setting('transaction_read_only')").await;
            if answer.map_err(asking)?.as_deref() != Some("off") {
                return Err(DialError::ReadOnly { host: host.clone() });
            }
        }
        Ok(session)
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.user(&self.address.user).password(self.address.password());
        config.dbname(&self.address.database).application_name(self.name);
        config.ssl_mode(match self.address.transport {
            Transport::Plain => SslMode::Disable,
            Transport::Verified { .. } => SslMode::Require,
        });
        config
    }
}

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One connection. It makes progress only while something is asked of it.
pub(super) struct Session {
    client: Client,
    driver: Driver,
    warned: Arc<AtomicBool>,
}

impl Session {
    fn new<S, T>(client: Client, mut connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let warned = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&warned);
        let driver = Box::pin(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if matches!(message, AsyncMessage::Notice(_)) {
                    heard.store(true, Ordering::Release);
                }
            }
        });
        Self { client, driver, warned }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the server warned since this was asked last.
    pub(super) fn take_warned(&self) -> bool {
        self.warned.swap(false, Ordering::AcqRel)
    }

    /// Does something with the connection, and moves its bytes meanwhile.
    pub(super) async fn with<'a, T, F>(&'a mut self, work: impl FnOnce(&'a Client) -> F) -> T
    where
        F: Future<Output = T> + 'a,
    {
        let mut work = std::pin::pin!(work(&self.client));
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = &mut self.driver => {}
        }
        // The driver has dropped all it had; whatever still waits learns of it at once.
        self.driver = Box::pin(std::future::pending());
        work.await
    }

    /// The first column of the first row, as text.
    pub(super) async fn text(
        &mut self,
        query: &str,
    ) -> Result<Option<String>, tokio_postgres::Error> {
        let row = self.with(|client| client.query_typed_opt(query, &[])).await?;
        row.map(|row| row.try_get(0)).transpose()
    }
}
