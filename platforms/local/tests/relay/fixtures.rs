//! Callers, a target, and words between them.
//!
//! Never leaves a socket behind.

use pgherd_local::relay::{Flow, Relay, Traffic};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough for a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for bytes that are not held to arrive on loopback many times over.
pub(crate) const SILENCE: Duration = Duration::from_millis(60);
pub(crate) const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(crate) const PASS: Traffic = both(Flow::Pass);
pub(crate) const CUT: Traffic = both(Flow::Cut);
pub(crate) const CUT_THERE: Traffic = Traffic { there: Flow::Cut, back: Flow::Pass };
pub(crate) const CUT_BACK: Traffic = Traffic { there: Flow::Pass, back: Flow::Cut };

pub(crate) const fn both(flow: Flow) -> Traffic {
    Traffic { there: flow, back: flow }
}

pub(crate) struct Line {
    pub(crate) relay: Relay,
    pub(crate) target: TcpListener,
}

impl Line {
    pub(crate) async fn new() -> Self {
        Self::limited(100).await
    }

    pub(crate) async fn limited(limit: usize) -> Self {
        let target = TcpListener::bind(ANYWHERE).await.unwrap();
        let relay = Relay::start(ANYWHERE, target.local_addr().unwrap(), limit).unwrap();
        Self { relay, target }
    }

    pub(crate) async fn dial(&self) -> TcpStream {
        dial(self.relay.address()).await
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        soon("the target to be dialled", self.target.accept()).await.unwrap().0
    }

    /// Both ends of a new connection that works.
    pub(crate) async fn connect(&self) -> (TcpStream, TcpStream) {
        let (near, far) = tokio::join!(self.dial(), self.accept());
        (near, far)
    }

    pub(crate) async fn is_not_dialled(&self) {
        let dialled = timeout(SILENCE, self.target.accept()).await;
        assert!(dialled.is_err(), "the target was dialled");
    }

    pub(crate) async fn has_connections(&self, count: usize) {
        let reached = async {
            while self.relay.connections() != count {
                tokio::task::yield_now().await;
            }
        };
        soon("connections to end", reached).await;
    }
}

pub(crate) async fn dial(address: SocketAddr) -> TcpStream {
    soon("a connection", TcpStream::connect(address)).await.unwrap()
}

pub(crate) async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) async fn say(stream: &mut TcpStream, word: &str) {
    soon("room to write", stream.write_all(word.as_bytes())).await.unwrap();
}

pub(crate) async fn hear(stream: &mut TcpStream, word: &str) {
    let mut heard = vec![0; word.len()];
    soon(word, stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), word);
}

/// Neither a byte nor an end comes.
pub(crate) async fn hears_nothing(stream: &mut TcpStream) {
    let heard = timeout(SILENCE, stream.read_u8()).await;
    assert!(heard.is_err(), "heard {heard:?}");
}

pub(crate) async fn hears_the_end(stream: &mut TcpStream) {
    assert_eq!(soon("the end", stream.read(&mut [0])).await.unwrap(), 0);
}

pub(crate) async fn is_reset(stream: &mut TcpStream) {
    let error = soon("a reset", stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// Closes as a crashing kernel does.
pub(crate) fn break_off(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}
