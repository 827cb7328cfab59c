//! One cluster's authority and identities, a server that runs, and a wire that can be held.
//!
//! Never leaves a task or a folder behind.

use pgherd_agent::durable::Access;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_agent::http::refusal::Refusal;
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::{Bounds, Server};
use pgherd_agent::tls::authority::Authority;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::holder::Holder;
use pgherd_agent::tls::identity::Identity;
use pgherd_agent::tls::peer::Peer;
use pgherd_core::names::{ClusterName, InstanceName};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// Long enough for a busy machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const ANYWHERE: SocketAddr = SocketAddr::new(LOOPBACK, 0);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) caller: String,
    pub(crate) word: String,
}

pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = ClusterName::parse("db").unwrap();
        let authority = Authority::open(folder.path(), &name, SystemTime::now()).unwrap();
        Self { folder, authority }
    }

    pub(crate) fn files(&self, holder: &Holder) -> IdentityFiles {
        let own = self.folder.path().join(holder.common_name());
        std::fs::create_dir_all(&own).unwrap();
        IdentityFiles::in_folder(&own)
    }

    pub(crate) fn issue(&self, holder: &Holder, now: SystemTime) -> IdentityFiles {
        let files = self.files(holder);
        let parts = self.authority.issue(holder, now).unwrap();
        files.write(&parts, Access::PRIVATE).unwrap();
        files
    }

    pub(crate) fn identity(&self, holder: &Holder) -> Arc<Identity> {
        Arc::new(Identity::open(self.issue(holder, SystemTime::now())).unwrap())
    }

    pub(crate) fn client(&self, holder: &Holder) -> Client {
        Client::certified(self.identity(holder))
    }

    /// A server of `holder` that runs until it is dropped or stopped.
    pub(crate) async fn serve(&self, holder: &Holder, routes: Routes, bounds: Bounds) -> Running {
        let identity = self.identity(holder);
        let server = Server::certified(ANYWHERE, identity, bounds).await.unwrap();
        let address = server.address().unwrap();
        Running::start(server, routes, holder.clone(), address)
    }
}

pub(crate) fn instance(name: &str) -> Holder {
    Holder::Instance(InstanceName::parse(name).unwrap())
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    holder: Holder,
    stop: Option<oneshot::Sender<()>>,
    task: JoinSet<()>,
}

impl Running {
    pub(crate) fn start(
        server: Server,
        routes: Routes,
        holder: Holder,
        address: SocketAddr,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(server.serve(routes, async move {
            // Also a dropped fixture stops it.
            let _stopped = stopped.await.is_ok();
        }));
        Self { address, holder, stop: Some(stop), task }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint_at(self.address)
    }

    pub(crate) fn endpoint_at(&self, address: SocketAddr) -> Endpoint {
        Endpoint::Certified { holder: self.holder.clone(), address }
    }

    pub(crate) fn ask_to_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(&mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next());
        ended.await.expect("the server did not stop").unwrap().unwrap();
    }
}

/// Answers `echo` with who asked and what was said.
pub(crate) fn echo() -> Routes {
    Routes::default().call("echo", |peer: Peer, word: String| async move {
        Ok::<_, Refusal>(Heard { caller: peer.to_string(), word })
    })
}

pub(crate) async fn say(client: &Client, to: &Endpoint, word: &str) -> Heard {
    client.call(to, "echo", word, PATIENCE).await.unwrap()
}

/// A wire to `target` that counts its connections and can hold every byte.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    pub(crate) hold: watch::Sender<bool>,
    /// How many connections the target closed.
    pub(crate) hang_ups: watch::Sender<usize>,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hold, held) = watch::channel(false);
        let (hang_ups, _) = watch::channel(0);
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, ends) = (Arc::clone(&connections), hang_ups.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut pairs = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                pairs.spawn(carry(near, target, held.clone(), ends.clone()));
            }
        });
        Self { address, hold, hang_ups, connections, _task: task }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn carry(
    mut near: TcpStream,
    target: SocketAddr,
    mut held: watch::Receiver<bool>,
    hang_ups: watch::Sender<usize>,
) {
    let mut far = TcpStream::connect(target).await.unwrap();
    loop {
        held.wait_for(|held| !held).await.unwrap();
        let (mut near_out, mut near_in) = near.split();
        let (mut far_out, mut far_in) = far.split();
        let there = tokio::io::copy(&mut near_out, &mut far_in);
        let back = async {
            let copied = tokio::io::copy(&mut far_out, &mut near_in).await;
            near_in.shutdown().await?;
            hang_ups.send_modify(|count| *count += 1);
            copied
        };
        tokio::select! {
            _ = async { tokio::try_join!(there, back) } => return,
            _ = held.changed() => {}
        }
    }
}
