//! Accepts the callers of a relay, up to its limit, and refuses all while it resets.
//!
//! Never gives its port up while it refuses.

use super::pool::Pool;
use super::{Traffic, carry};
use rustix::net::Shutdown;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

const BACKLOG: u16 = 1024;
// Out of file descriptors, most likely: somebody has to close one first.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// A listening socket that can stop listening and keep its port.
pub(super) struct Door {
    socket: OwnedFd,
    // Registered anew each time: a runtime takes a socket that hung up once for hung up for ever.
    listener: Option<TcpListener>,
    address: SocketAddr,
}

/// Whom a door leads to, and how many at a time.
pub(super) struct Guard {
    pub(super) target: SocketAddr,
    pub(super) limit: usize,
    pub(super) open: Arc<AtomicUsize>,
}

impl Door {
    pub(super) fn open(wanted: SocketAddr) -> io::Result<Self> {
        let reserved = bound(wanted)?;
        let address = reserved.local_addr()?;
        // A port the kernel chose is given up when the socket stops listening, one that was asked
        // for is not. So it is asked for, while the first socket still holds it.
        let socket = if wanted.port() == 0 { bound(address)? } else { reserved };
        let listener = socket.listen(u32::from(BACKLOG))?;
        let socket = listener.as_fd().try_clone_to_owned()?;
        Ok(Self { socket, listener: Some(listener), address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn admit(mut self, guard: Guard, mut traffic: watch::Receiver<Traffic>) {
        let pool = Arc::new(Pool::default());
        let mut connections = JoinSet::new();
        loop {
            let resets = traffic.borrow_and_update().is_reset();
            if resets == self.listener.is_some() {
                let turned = if resets { self.close() } else { self.reopen() };
                if let Err(error) = turned {
                    warn!(%error, address = %self.address, "closing or opening a relay failed");
                }
            }
            tokio::select! {
                changed = traffic.changed() => if changed.is_err() { return },
                accepted = accept(self.listener.as_ref()) => match accepted {
                    Ok((caller, _)) if connections.len() >= guard.limit => {
                        debug!(address = %self.address, limit = guard.limit, "relay full");
                        carry::reset(caller);
                    }
                    Ok((caller, _)) => {
                        let carried =
                            carry::carry(caller, guard.target, traffic.clone(), Arc::clone(&pool));
                        connections.spawn(carried);
                    }
                    Err(error) => {
                        warn!(%error, address = %self.address, "accepting a connection failed");
                        tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
                    }
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    warn!(%error, address = %self.address, "carrying a connection broke");
                },
            }
            guard.open.store(connections.len(), Ordering::Relaxed);
        }
    }

    /// Linux takes a listening socket that is shut down for reading back to merely bound: who
    /// dials is refused by the kernel, as where nothing listens.
    fn close(&mut self) -> io::Result<()> {
        self.listener = None;
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Read)?)
    }

    fn reopen(&mut self) -> io::Result<()> {
        rustix::net::listen(&self.socket, i32::from(BACKLOG))?;
        self.listener = Some(TcpListener::from_std(self.socket.try_clone()?.into())?);
        Ok(())
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Dials a relay's target.
pub(super) async fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
