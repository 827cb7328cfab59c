//! Is a process of its own that carries all traffic between instances, and to the record, so that
//! it can be cut; it outlives its supervisor, because the instances must.
//!
//! Never changes anything by itself: it is what it was last told to be.

use crate::control::Cut;
use crate::folder::ClusterFolder;
use crate::ports::{self, Ports};
use crate::relay::RelayError;
use crate::relay::fabric::{Fabric, Party, Reach, Route, Service};
use pgherd_agent::durable::Access;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_agent::http::refusal::{Kind, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::{Bounds, Server, ServerError};
use pgherd_agent::tls::peer::Peer;
use pgherd_core::names::InstanceName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const SHALL_BE: &str = "network";
const SHOW: &str = "network/show";
const DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("starting the network's runtime")]
    Start { source: io::Error },
    #[error("answering on the network's socket")]
    Listen { source: ServerError },
    #[error("asking the network to change")]
    Change { source: CallError },
    #[error("asking the network what it is")]
    Show { source: CallError },
}

/// Everything the network of a cluster is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    pub ports: Ports,
    pub instances: BTreeSet<InstanceName>,
    pub cuts: BTreeSet<Cut>,
    /// Their machines are lost: nothing arrives, and nobody is told.
    pub isolated: BTreeSet<InstanceName>,
}

/// Runs the network of a cluster until SIGTERM.
pub fn run(folder: &ClusterFolder) -> Result<(), NetworkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NetworkError::Start { source })?;
    runtime.block_on(serve(folder))
}

async fn serve(folder: &ClusterFolder) -> Result<(), NetworkError> {
    let listen = |source| NetworkError::Listen { source };
    let server = Server::local(&folder.network_socket(), Access::PRIVATE, Bounds::default());
    let server = server.map_err(listen)?;
    let mut end =
        signal(SignalKind::terminate()).map_err(|source| NetworkError::Start { source })?;
    let here = Arc::new(Mutex::new(Here::default()));
    let shown = Arc::clone(&here);
    let routes = Routes::default()
        .call(SHALL_BE, move |_: Peer, network: Network| {
            let done = here.lock().unwrap_or_else(PoisonError::into_inner).become_(network);
            std::future::ready(done.map_err(|error| Refusal::new(Kind::Failed, text(&error))))
        })
        .call(SHOW, move |_: Peer, (): ()| {
            let here = shown.lock().unwrap_or_else(PoisonError::into_inner);
            std::future::ready(Ok(here.network.clone()))
        });
    let ended = async {
        let _signalled = end.recv().await;
    };
    server.serve(routes, ended).await;
    Ok(())
}

fn text(error: &RelayError) -> String {
    pgherd_agent::chain::chain(error).to_string()
}

/// The ways there are, and what they were told to be.
#[derive(Default)]
struct Here {
    fabric: Fabric,
    open: BTreeMap<Route, (SocketAddr, SocketAddr)>,
    network: Option<Network>,
}

impl Here {
    fn become_(&mut self, network: Network) -> Result<(), RelayError> {
        let ways = ways(&network);
        let known = self.network.iter().flat_map(|network| &network.instances);
        let gone: Vec<_> =
            known.filter(|name| !network.instances.contains(*name)).cloned().collect();
        for name in gone {
            self.fabric.remove(&name);
        }
        self.open.retain(|route, ends| ways.get(route) == Some(ends));
        for (route, (listen, target)) in ways {
            if !self.open.contains_key(&route) {
                self.fabric.open(route.clone(), listen, target)?;
                self.open.insert(route, (listen, target));
            }
        }
        disturb(&mut self.fabric, &network);
        self.network = Some(network);
        Ok(())
    }
}

/// Makes exactly these disturbances. Nothing runs in between, so that what stays cut is not open
/// for a moment.
fn disturb(fabric: &mut Fabric, network: &Network) {
    fabric.heal_all();
    for cut in &network.cuts {
        let to = cut.to.clone().map_or(Party::Record, Party::Instance);
        fabric.cut(&Party::Instance(cut.from.clone()), &to);
        if cut.to.is_none() {
            // Whoever cannot ask the record hears nothing from it either.
            fabric.cut(&Party::Record, &Party::Instance(cut.from.clone()));
        }
    }
    for name in &network.isolated {
        fabric.isolate(name, Reach::Everybody);
    }
}

/// Every way of the network: where it is dialled, and where it leads.
fn ways(network: &Network) -> BTreeMap<Route, (SocketAddr, SocketAddr)> {
    let ports = network.ports;
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut ways = BTreeMap::new();
    for from in &network.instances {
        let ends = (at(ports.relay_to_record(from)), at(ports.record()));
        ways.insert(Route::ToRecord { from: from.clone() }, ends);
        for to in network.instances.iter().filter(|to| *to != from) {
            for (service, port, target) in [
                (Service::Agent, ports::Service::Agent, ports.agent(to)),
                (Service::Postgres, ports::Service::Postgres, ports.postgres(to)),
            ] {
                let route = Route::Between { from: from.clone(), to: to.clone(), service };
                ways.insert(route, (at(ports.relay(from, to, port)), at(target)));
            }
        }
    }
    ways
}

/// How the supervisor talks to the network's process.
pub struct Remote {
    client: Client,
    endpoint: Endpoint,
}

impl Remote {
    pub fn of(folder: &ClusterFolder) -> Self {
        Self {
            client: Client::local(),
            endpoint: Endpoint::Local { path: folder.network_socket() },
        }
    }

    /// Makes it what it shall be; all of it holds when this returns.
    pub async fn change(&self, network: &Network) -> Result<(), NetworkError> {
        let changed = self.client.call(&self.endpoint, SHALL_BE, network, DEADLINE).await;
        changed.map_err(|source| NetworkError::Change { source })
    }

    /// What it was last told to be; `None` when it has just been started.
    pub async fn show(&self) -> Result<Option<Network>, NetworkError> {
        let shown = self.client.call(&self.endpoint, SHOW, &(), DEADLINE).await;
        shown.map_err(|source| NetworkError::Show { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::ClusterName;

    #[test]
    fn everybody_reaches_everybody_over_a_way_of_its_own() {
        let cluster = ClusterName::parse("db").unwrap();
        let base = ports::accept_base(5501, &[], &[], |_| true).unwrap();
        let network = Network {
            ports: ports::choose_block(base, &[], |_| true).unwrap(),
            instances: (1..=3).map(|serial| InstanceName::new(&cluster, serial)).collect(),
            cuts: BTreeSet::new(),
            isolated: BTreeSet::new(),
        };
        let ways = ways(&network);
        assert_eq!(ways.len(), 3 + 2 * 3 * 2);
        let dialled: BTreeSet<_> = ways.values().map(|(listen, _)| *listen).collect();
        assert_eq!(dialled.len(), ways.len());
        let led: BTreeSet<_> = ways.values().map(|(_, target)| *target).collect();
        assert_eq!(led.len(), 1 + 3 * 2);
    }
}
