//! Answers on one address: accepts, authenticates, and bounds what a caller can take.
//!
//! Never answers a caller without a certificate of the cluster unless it was opened to anybody, and never stops accepting because
//! one caller misbehaves.

use super::Stream;
use super::patience::Patient;
use super::refusal::{Kind, Refusal};
use super::routes::{Answer, Routes, refused};
use super::socket::{self, Socket};
use crate::chain::chain;
use crate::durable::Access;
use crate::tls::certificate::Certificate;
use crate::tls::identity::Identity;
use crate::tls::peer::{self, Peer};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

// Out of file descriptors, most likely: somebody has to close one first.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);
// Requests are small; the default of 400 KiB per connection is what an idle peer would cost.
const BUFFER_LIMIT: usize = 32 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listening on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("listening on the socket {path:?}")]
    ListenLocally { path: PathBuf, source: io::Error },
}

/// What a server grants its callers.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The largest question, in bytes.
    pub body: usize,
    /// From the first byte of a connection to a verified certificate.
    pub handshake: Duration,
    /// From the end of one question, or the handshake, to the end of the next one's header.
    pub idle: Duration,
    /// From a header to the answer.
    pub answer: Duration,
    /// From a header to the answer for a caller that sends a file.
    pub file: Duration,
    /// How long a caller may stop reading while it is sent something.
    pub stall: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// From the request to stop until unfinished answers are given up.
    pub stop: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            handshake: Duration::from_secs(2),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(10),
            file: Duration::from_mins(2),
            stall: Duration::from_secs(10),
            connections: 256,
            stop: Duration::from_secs(2),
        }
    }
}

/// A bound address, not answering yet.
pub struct Server {
    door: Door,
    bounds: Bounds,
}

enum Door {
    Certified { listener: TcpListener, identity: Arc<Identity> },
    Open { listener: TcpListener, shown: Shown },
    Plain(TcpListener),
    Local(Socket),
}

/// What callers are shown on the next connection.
type Shown = Box<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

enum Caller {
    Certified(TcpStream, Arc<Identity>),
    Unnamed(TcpStream, Arc<ServerConfig>),
    Plain(TcpStream),
    Local(UnixStream),
}

impl Server {
    /// Answers holders of a certificate of the cluster, on TCP.
    pub async fn certified(
        address: SocketAddr,
        identity: Arc<Identity>,
        bounds: Bounds,
    ) -> Result<Self, ServerError> {
        let listener = listen(address).await?;
        Ok(Self { door: Door::Certified { listener, identity }, bounds })
    }

    /// Answers anybody, on TCP and encrypted: for what is no secret.
    pub async fn open(
        address: SocketAddr,
        identity: Arc<Identity>,
        bounds: Bounds,
    ) -> Result<Self, ServerError> {
        let listener = listen(address).await?;
        let shown: Shown = Box::new(move || identity.open_server());
        Ok(Self { door: Door::Open { listener, shown }, bounds })
    }

    /// The same with a certificate that need not name who takes part in a cluster.
    pub async fn open_as(
        address: SocketAddr,
        certificate: Certificate,
        bounds: Bounds,
    ) -> Result<Self, ServerError> {
        let listener = listen(address).await?;
        let shown: Shown = Box::new(move || certificate.server());
        Ok(Self { door: Door::Open { listener, shown }, bounds })
    }

    /// Answers anybody, on TCP and in the clear: for what anybody may read, and programs that are not
    /// ours ask for.
    pub async fn plain(address: SocketAddr, bounds: Bounds) -> Result<Self, ServerError> {
        Ok(Self { door: Door::Plain(listen(address).await?), bounds })
    }

    /// Answers processes of this machine that may open the socket at `path`.
    pub fn local(path: &Path, access: Access, bounds: Bounds) -> Result<Self, ServerError> {
        let socket = socket::listen(path, access)
            .map_err(|source| ServerError::ListenLocally { path: path.to_owned(), source })?;
        Ok(Self { door: Door::Local(socket), bounds })
    }

    /// The TCP address, with the port that was chosen if none was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.door {
            Door::Certified { listener, .. }
            | Door::Open { listener, .. }
            | Door::Plain(listener) => listener.local_addr().ok(),
            Door::Local(_) => None,
        }
    }

    /// Answers until `stop`, then lets answers in progress finish within the bound for it.
    pub async fn serve(self, routes: Routes, stop: impl Future<Output = ()>) {
        let routes = Arc::new(routes);
        let (open, closing) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.door.accept() => match accepted {
                    // Beyond the bound the newest goes: the others have proven who they are, or
                    // are about to run out of time to do so.
                    Ok(_) if connections.len() >= self.bounds.connections => {
                        debug!(limit = self.bounds.connections, "connection refused: too many");
                    }
                    Ok(caller) => {
                        let routes = Arc::clone(&routes);
                        connections.spawn(converse(caller, routes, self.bounds, closing.clone()));
                    }
                    Err(error) => {
                        warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
                    }
                },
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "answering a caller ended abnormally");
                    }
                }
            }
        }
        drop((self.door, open));
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(self.bounds.stop, drained).await.is_err() {
            connections.shutdown().await;
        }
    }
}

impl Door {
    async fn accept(&self) -> io::Result<Caller> {
        match self {
            Self::Certified { listener, identity } => {
                let (stream, _) = listener.accept().await?;
                Ok(Caller::Certified(stream, Arc::clone(identity)))
            }
            Self::Open { listener, shown } => {
                let (stream, _) = listener.accept().await?;
                Ok(Caller::Unnamed(stream, shown()))
            }
            Self::Plain(listener) => Ok(Caller::Plain(listener.accept().await?.0)),
            Self::Local(socket) => Ok(Caller::Local(socket.listener.accept().await?.0)),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServerError::Listen { address, source })
}

async fn converse(
    caller: Caller,
    routes: Arc<Routes>,
    bounds: Bounds,
    mut closing: watch::Receiver<()>,
) {
    let (stream, peer) = match timeout(bounds.handshake, authenticate(caller)).await {
        Ok(Ok(authenticated)) => authenticated,
        Ok(Err(error)) => return debug!(error = %chain(&error), "caller refused"),
        Err(_) => return debug!("caller refused: no handshake in time"),
    };
    let service = service_fn(|request| {
        let answer = answer(Arc::clone(&routes), peer.clone(), request, bounds);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle)
        .max_buf_size(BUFFER_LIMIT)
        .serve_connection(TokioIo::new(Patient::new(stream, bounds.stall)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender says nothing; it is dropped when the server stops.
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, error = %chain(&error), "connection ended");
    }
}

async fn answer(
    routes: Arc<Routes>,
    peer: Peer,
    request: Request<Incoming>,
    bounds: Bounds,
) -> Answer {
    let within = if request.method() == Method::PUT { bounds.file } else { bounds.answer };
    let answered = timeout(within, routes.answer(peer, request, bounds.body)).await;
    answered.unwrap_or_else(|_| {
        refused(&Refusal::new(Kind::Late, format!("no answer within {within:?}")))
    })
}

async fn authenticate(caller: Caller) -> io::Result<(Stream, Peer)> {
    match caller {
        Caller::Certified(stream, identity) => {
            socket::configure(&stream)?;
            let stream = TlsAcceptor::from(identity.server()).accept(stream).await?;
            let (_, session) = stream.get_ref();
            let peer = peer::certified(session.peer_certificates()).map_err(io::Error::other)?;
            Ok((Box::new(stream), peer))
        }
        Caller::Unnamed(stream, shown) => {
            socket::configure(&stream)?;
            let stream = TlsAcceptor::from(shown).accept(stream).await?;
            Ok((Box::new(stream), Peer::Unnamed))
        }
        Caller::Plain(stream) => {
            socket::configure(&stream)?;
            Ok((Box::new(stream), Peer::Unnamed))
        }
        Caller::Local(stream) => {
            let peer = Peer::Local { user: stream.peer_cred()?.uid() };
            Ok((Box::new(stream), peer))
        }
    }
}
