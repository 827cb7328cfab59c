//! What an agent in a pod needs of its Kubernetes: the record, what is wanted, its peers, the route.
//!
//! Never reads or writes an object of another cluster, and never a secret: those are mounted.

pub mod lease;
pub mod peers;
mod probes;
mod request;
pub mod route;
mod surroundings;
mod unlisted;
mod wanted;
pub mod whose;

use crate::cluster::manifests::services;
use futures_util::FutureExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, Config};
use lease::LeaseCoordinator;
use peers::Sought;
use pgherd_agent::config::{AgentConfig, Folder, PeerAddress};
use pgherd_agent::log::Destination;
use pgherd_agent::platform::{Answer, Lent, Platform, SilentError};
use pgherd_agent::postgres::install::{self, InstallError};
use pgherd_agent::run::{self, RunError, Setup};
use pgherd_agent::tasks::Tasks;
use pgherd_api::agent::Specification;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Record, Write};
use route::Here;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use surroundings::{Surroundings, SurroundingsError};
use tokio::sync::watch;
use tracing::info;
use wanted::Wanted;
use whose::Whose;

/// Where agents of other pods reach this one.
pub const AGENT_PORT: u16 = 8001;
/// Where clients and standbys reach PostgreSQL.
pub const POSTGRES_PORT: u16 = 5432;
/// Where the kubelet asks how this pod is.
pub const STATUS_PORT: u16 = 8000;
/// Where metrics are asked for.
pub const METRICS_PORT: u16 = 9187;

/// A pod that is deleted leaves the services for reading at once. kube-proxy takes up one change a
/// second: that one within the first second, and the route to the successor, written 0.3 s after
/// the handover begins, in the moment it comes.
const HEADWAY: Duration = Duration::from_millis(1800);
/// Until every node leads clients to the successor; kube-proxy gathers changes for a second.
const LINGER: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(2);
/// A watch on which not even a bookmark arrives for so long is on a dead connection; they come
/// about once a minute.
const SILENCE: Duration = Duration::from_secs(150);

#[derive(Debug, thiserror::Error)]
pub enum PodError {
    #[error("finding out which pod this is")]
    LookAround(#[source] SurroundingsError),
    #[error("finding PostgreSQL in the image")]
    FindPostgres(#[source] InstallError),
    #[error("finding the API server")]
    FindKubernetes(#[source] kube::config::InClusterError),
    #[error("running the agent")]
    Run(#[source] RunError),
}

/// Runs the agent of the pod that this process is in, until SIGTERM.
pub fn run() -> Result<(), PodError> {
    let surroundings = Surroundings::find().map_err(PodError::LookAround)?;
    let installation = install::find(None).map_err(PodError::FindPostgres)?;
    let kubernetes = patient(Config::incluster_env().map_err(PodError::FindKubernetes)?);
    let config = surroundings.agent_config(installation.bindir);
    let setup = Setup { config, file: None, log: Destination::Output };
    run::run(setup, |lent| {
        let pod = Pod::new(&surroundings, kubernetes, &lent)?;
        Ok(Arc::new(pod))
    })
    .map_err(PodError::Run)
}

/// The cluster of the pod that this process is in, and where its agent keeps what it knows.
pub fn own() -> Result<(ClusterName, Folder), PodError> {
    let surroundings = Surroundings::find().map_err(PodError::LookAround)?;
    let folder = surroundings.agent_config(PathBuf::new()).folder();
    Ok((surroundings.cluster, folder))
}

/// How the API server is asked from here. Whoever asks has a deadline, and asks again by itself:
/// a second asker below would only use up the time.
pub(crate) fn patient(mut config: Config) -> Config {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config
}

/// The platform of an agent in a pod.
struct Pod {
    lease: LeaseCoordinator,
    wanted: Wanted,
    _tasks: Tasks,
}

impl Pod {
    /// Begins to watch, to lead clients here while this instance serves, and to answer probes.
    fn new(surroundings: &Surroundings, kubernetes: Config, lent: &Lent) -> kube::Result<Self> {
        let client = Client::try_from(kubernetes)?;
        let (namespace, cluster) = (&surroundings.namespace, &surroundings.cluster);
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
        let mut tasks = Tasks::default();

        let (wanted, watching) = wanted::watch(maps, cluster);
        tasks.spawn("watching what is wanted", watching);

        let (told_addresses, addresses) = watch::channel(peers::Addresses::default());
        let (told_route, seen_route) = watch::channel(None);
        let told = peers::Told { addresses: told_addresses, route: told_route };
        let sought = Sought { cluster: cluster.clone(), own: surroundings.address };
        tasks.spawn("learning addresses", peers::learn(slices.clone(), sought, told));
        let me = surroundings.instance.clone();
        tasks.spawn("passing addresses on", pass_on(addresses, lent.config.clone(), me));

        let service = services::of_primary(cluster);
        let when = (lent.serves.clone(), seen_route);
        let whose = Whose::default();
        let here = Here { address: surroundings.address, whose: whose.clone() };
        let keep = route::keep(slices, service, here, when);
        tasks.spawn("leading clients here", keep);

        let address = SocketAddr::new(surroundings.listen(), STATUS_PORT);
        tasks.spawn("answering probes", probes::answer(address, lent));
        let lease = LeaseCoordinator::new(leases, cluster.as_str(), whose);
        Ok(Self { lease, wanted, _tasks: tasks })
    }
}

impl Platform for Pod {
    fn read_record(&self) -> Answer<'_, Result<Option<Record>, CoordinatorError>> {
        self.lease.read().boxed()
    }

    fn write_record(&self, write: Write) -> Answer<'_, Result<Written, CoordinatorError>> {
        async move { self.lease.write(&write).await }.boxed()
    }

    fn specification(&self, after: u64) -> Answer<'_, Result<Option<Specification>, SilentError>> {
        self.wanted.after(after).boxed()
    }

    fn headway(&self) -> Duration {
        HEADWAY
    }

    fn linger(&self) -> Duration {
        LINGER
    }
}

/// Tells the agent where its peers are, whenever that changes.
async fn pass_on(
    mut addresses: watch::Receiver<peers::Addresses>,
    config: watch::Sender<Arc<AgentConfig>>,
    me: InstanceName,
) {
    loop {
        let others = addresses.borrow_and_update().clone();
        let others = others.into_iter().filter(|(name, _)| *name != me);
        let peers = others.map(|(name, address)| {
            let at = |port| SocketAddr::new(address, port);
            (name, PeerAddress { agent: at(AGENT_PORT), postgres: at(POSTGRES_PORT) })
        });
        let peers = peers.collect();
        config.send_if_modified(|present| {
            let changed = present.peers != peers;
            if changed {
                info!(peers = peers.len(), "new addresses");
                *present = Arc::new(AgentConfig { peers, ..AgentConfig::clone(present) });
            }
            changed
        });
        if addresses.changed().await.is_err() {
            return;
        }
    }
}
