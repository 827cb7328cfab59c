//! Is the network of one cluster: every way between its parts, each of which can fail.
//!
//! Never lets a way be open in a direction in which the network was cut, whoever dialled.

use super::{Flow, Relay, RelayError, Traffic};
use pgherd_core::names::InstanceName;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections through one way at a time; PostgreSQL's default allows a hundred.
const MOST_CONNECTIONS: usize = 2048;

/// Somebody on the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Instance(InstanceName),
    /// The keeper of the cluster's record.
    Record,
    /// Everybody outside.
    Clients,
}

/// What is dialled on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    Agent,
    Postgres,
}

/// A way that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    Between { from: InstanceName, to: InstanceName, service: Service },
    ToRecord { from: InstanceName },
    FromClients { to: InstanceName },
}

/// Whom an isolated instance loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The other instances and the record; clients still reach it.
    Cluster,
    /// Everybody.
    Everybody,
}

/// A direction in which the network does not simply pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disturbance {
    pub from: Party,
    pub to: Party,
    pub flow: Flow,
}

/// A way and what is on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    pub route: String,
    pub address: SocketAddr,
    pub target: SocketAddr,
    pub traffic: Traffic,
    pub connections: usize,
}

/// All ways of one cluster. Dropping it closes them.
#[derive(Debug, Default)]
pub struct Fabric {
    relays: BTreeMap<Route, Relay>,
    flows: BTreeMap<(Party, Party), Flow>,
    isolated: BTreeMap<InstanceName, Reach>,
}

impl Fabric {
    /// Opens a way (port 0: any that is free), in the state the network is in; returns where to
    /// dial it. A way that is open already is replaced.
    pub fn open(
        &mut self,
        route: Route,
        listen: SocketAddr,
        target: SocketAddr,
    ) -> Result<SocketAddr, RelayError> {
        self.relays.remove(&route);
        let relay = Relay::start(listen, target, MOST_CONNECTIONS)?;
        let address = relay.address();
        relay.set(self.traffic(&route));
        self.relays.insert(route, relay);
        Ok(address)
    }

    /// Where to dial `route`.
    pub fn address(&self, route: &Route) -> Option<SocketAddr> {
        self.relays.get(route).map(Relay::address)
    }

    /// Closes every way from and to an instance and forgets what disturbed it.
    pub fn remove(&mut self, instance: &InstanceName) {
        let gone = Party::Instance(instance.clone());
        self.relays.retain(|route, _| route.from() != gone && route.to() != gone);
        self.flows.retain(|(from, to), _| *from != gone && *to != gone);
        self.isolated.remove(instance);
    }

    /// Sets what happens to everything `from` sends to `to`, on connections dialled by either.
    pub fn set(&mut self, from: &Party, to: &Party, flow: Flow) {
        let link = (from.clone(), to.clone());
        match flow {
            Flow::Pass => self.flows.remove(&link),
            Flow::Delay(_) | Flow::Cut | Flow::Reset => self.flows.insert(link, flow),
        };
        self.apply();
    }

    /// Nothing `from` sends reaches `to` any more.
    pub fn cut(&mut self, from: &Party, to: &Party) {
        self.set(from, to, Flow::Cut);
    }

    pub fn cut_both(&mut self, one: &Party, other: &Party) {
        self.cut(one, other);
        self.cut(other, one);
    }

    pub fn delay(&mut self, from: &Party, to: &Party, delay: Duration) {
        self.set(from, to, Flow::Delay(delay));
    }

    /// Cuts an instance off in both directions, also from instances that come later.
    pub fn isolate(&mut self, instance: &InstanceName, reach: Reach) {
        self.isolated.insert(instance.clone(), reach);
        self.apply();
    }

    /// Lets everything pass between the two, in both directions; isolation stays.
    pub fn heal(&mut self, one: &Party, other: &Party) {
        self.set(one, other, Flow::Pass);
        self.set(other, one, Flow::Pass);
    }

    /// Ends an instance's isolation and whatever else disturbed its ways.
    pub fn heal_instance(&mut self, instance: &InstanceName) {
        let healed = Party::Instance(instance.clone());
        self.isolated.remove(instance);
        self.flows.retain(|(from, to), _| *from != healed && *to != healed);
        self.apply();
    }

    /// Ends every disturbance.
    pub fn heal_all(&mut self) {
        self.isolated.clear();
        self.flows.clear();
        self.apply();
    }

    /// Every direction that does not simply pass.
    pub fn disturbances(&self) -> Vec<Disturbance> {
        let ends = |route: &Route| {
            let (from, to) = (route.from(), route.to());
            [(from.clone(), to.clone()), (to, from)]
        };
        let links: BTreeSet<_> = self.relays.keys().flat_map(ends).collect();
        let links = links.into_iter().map(|(from, to)| {
            let flow = self.flow(&from, &to);
            Disturbance { from, to, flow }
        });
        links.filter(|link| link.flow != Flow::Pass).collect()
    }

    /// Every way, with its state and its connections.
    pub fn ways(&self) -> Vec<Way> {
        let way = |(route, relay): (&Route, &Relay)| Way {
            route: route.to_string(),
            address: relay.address(),
            target: relay.target(),
            traffic: relay.traffic(),
            connections: relay.connections(),
        };
        self.relays.iter().map(way).collect()
    }

    fn apply(&self) {
        for (route, relay) in &self.relays {
            relay.set(self.traffic(route));
        }
    }

    fn traffic(&self, route: &Route) -> Traffic {
        let (from, to) = (route.from(), route.to());
        Traffic { there: self.flow(&from, &to), back: self.flow(&to, &from) }
    }

    fn flow(&self, from: &Party, to: &Party) -> Flow {
        if self.is_isolated(from, to) || self.is_isolated(to, from) {
            return Flow::Cut;
        }
        self.flows.get(&(from.clone(), to.clone())).copied().unwrap_or_default()
    }

    fn is_isolated(&self, party: &Party, from: &Party) -> bool {
        let Party::Instance(instance) = party else { return false };
        match self.isolated.get(instance) {
            Some(Reach::Everybody) => true,
            Some(Reach::Cluster) => *from != Party::Clients,
            None => false,
        }
    }
}

impl Route {
    fn from(&self) -> Party {
        match self {
            Self::Between { from, .. } | Self::ToRecord { from } => Party::Instance(from.clone()),
            Self::FromClients { .. } => Party::Clients,
        }
    }

    fn to(&self) -> Party {
        match self {
            Self::Between { to, .. } | Self::FromClients { to } => Party::Instance(to.clone()),
            Self::ToRecord { .. } => Party::Record,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from(), self.to())?;
        match self {
            Self::Between { service: Service::Agent, .. } => f.write_str(" (agent)"),
            Self::Between { service: Service::Postgres, .. } => f.write_str(" (postgres)"),
            Self::ToRecord { .. } | Self::FromClients { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(name) => write!(f, "{name}"),
            Self::Record => f.write_str("record"),
            Self::Clients => f.write_str("clients"),
        }
    }
}

impl Serialize for Party {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
