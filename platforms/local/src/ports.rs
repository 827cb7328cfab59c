//! Hands out loopback ports: a few that people see, and a block that nobody needs to know.
//!
//! Never hands out a port of another cluster, up or down, nor one that something listens on. Of a
//! cluster in another folder it knows what that has claimed, so only while it is up.

use crate::claims;
use pgherd_core::names::InstanceName;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const FIRST_BASE: u16 = 5500;
const BASES: u16 = 100;
// Names of instances end in 1 to 9, and so do their ports.
const BASE_STEP: u16 = 10;
// Below the range that Linux takes ports for outgoing connections from (32768).
const FIRST_BLOCK: u16 = 15_000;
const BLOCKS: u16 = 80;
const BLOCK_STEP: u16 = 200;

#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    #[error(
        "port {port}, which {instance} needs, is taken by another program: stop that program, or choose other ports with `pgherd local up --port N`"
    )]
    Taken { port: u16, instance: InstanceName },
    #[error(
        "port {port}, which {instance} needs, belongs to cluster {cluster}: choose other ports with `pgherd local up --port N`"
    )]
    OfCluster { port: u16, instance: InstanceName, cluster: String },
    #[error(
        "port {port} belongs to another cluster that is up: stop that cluster (pgherd local list shows those of one folder), or make this one anew with `pgherd local up --port N`"
    )]
    Claimed { port: u16 },
    #[error("claiming port {port}")]
    Claim { port: u16, source: io::Error },
    #[error("{port} leaves no room for nine instances: choose a --port from 1024 to 65526")]
    Range { port: u16 },
    #[error(
        "no ten free ports in a row are left from {FIRST_BASE} on: choose some with --port, or destroy a cluster"
    )]
    NoBase,
    #[error(
        "no {BLOCK_STEP} free ports in a row are left from {FIRST_BLOCK} on: destroy a cluster that is not needed"
    )]
    NoBlock,
}

/// The ports of one cluster. Each follows from these two numbers, so that an agent that outlived
/// its supervisor is found where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The PostgreSQL of instance N listens on `base` + N.
    base: u16,
    /// Agents, relays, the record and metrics.
    block: u16,
}

/// The two ends of a way between instances, and what goes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Agent,
    Postgres,
}

impl Ports {
    pub fn postgres(self, instance: &InstanceName) -> u16 {
        self.base + serial(instance)
    }

    pub fn agent(self, instance: &InstanceName) -> u16 {
        self.block + serial(instance)
    }

    pub fn record(self) -> u16 {
        self.block
    }

    /// Where `from` dials the record.
    pub fn relay_to_record(self, from: &InstanceName) -> u16 {
        self.block + 10 + serial(from)
    }

    /// Where `from` dials that service of `to`.
    pub fn relay(self, from: &InstanceName, to: &InstanceName, service: Service) -> u16 {
        let offset = match service {
            Service::Agent => 20,
            Service::Postgres => 110,
        };
        self.block + offset + 9 * (serial(from) - 1) + serial(to) - 1
    }

    /// Where metrics of the instance are asked for.
    pub fn metrics(self, instance: &InstanceName) -> u16 {
        self.block + 190 + serial(instance)
    }

    /// All that people do not see.
    pub fn hidden(self) -> impl Iterator<Item = u16> {
        self.block..self.block + BLOCK_STEP
    }

    /// Those by which clusters know each other: the first of the block stands for all of it.
    pub fn claimed(self) -> impl Iterator<Item = u16> {
        (1..=9).map(move |n| self.base + n).chain([self.block])
    }

    pub fn base(self) -> u16 {
        self.base
    }
}

fn serial(instance: &InstanceName) -> u16 {
    u16::try_from(instance.serial()).unwrap_or(u16::MAX).min(9)
}

/// Ports of other clusters on this machine, with their names.
pub type Others<'a> = &'a [(String, Ports)];

/// The lowest base from which nine ports are free and nobody else's.
pub fn choose_base(others: Others<'_>, is_free: impl Fn(u16) -> bool) -> Result<u16, PortsError> {
    let candidates = (0..BASES).map(|n| FIRST_BASE + n * BASE_STEP);
    let mut free = candidates.filter(|base| {
        others.iter().all(|(_, ports)| ports.base.abs_diff(*base) >= BASE_STEP)
            && (1..=9).all(|n| is_free(base + n))
    });
    free.next().ok_or(PortsError::NoBase)
}

/// The base for which `first` is the port of instance 1, if these `instances` can have theirs.
pub fn accept_base(
    first: u16,
    instances: &[InstanceName],
    others: Others<'_>,
    is_free: impl Fn(u16) -> bool,
) -> Result<u16, PortsError> {
    if !(1024..=u16::MAX - 9).contains(&first) {
        return Err(PortsError::Range { port: first });
    }
    let base = first - 1;
    let ports = Ports { base, block: 0 };
    for instance in instances {
        let port = ports.postgres(instance);
        let owner = others.iter().find(|(_, other)| {
            (other.base + 1..=other.base + 9).contains(&port) || other.block_holds(port)
        });
        if let Some((cluster, _)) = owner {
            let (instance, cluster) = (instance.clone(), cluster.clone());
            return Err(PortsError::OfCluster { port, instance, cluster });
        }
        if !is_free(port) {
            return Err(PortsError::Taken { port, instance: instance.clone() });
        }
    }
    Ok(base)
}

/// A block for the ports that people do not see.
pub fn choose_block(
    base: u16,
    others: Others<'_>,
    is_free: impl Fn(u16) -> bool,
) -> Result<Ports, PortsError> {
    let candidates = (0..BLOCKS).map(|n| FIRST_BLOCK + n * BLOCK_STEP);
    let mut free = candidates.filter(|block| {
        let apart = |other: &u16| other.abs_diff(*block) >= BLOCK_STEP;
        let clear = base.abs_diff(*block) > BLOCK_STEP;
        clear
            && others.iter().all(|(_, ports)| apart(&ports.block))
            && (0..BLOCK_STEP).all(|n| is_free(block + n))
    });
    free.next().map(|block| Ports { base, block }).ok_or(PortsError::NoBlock)
}

impl Ports {
    fn block_holds(self, port: u16) -> bool {
        (self.block..self.block + BLOCK_STEP).contains(&port)
    }
}

/// Whether nothing listens there now, and no cluster that is up may want to.
pub fn is_free(port: u16) -> bool {
    !claims::is_claimed(port) && is_silent(port)
}

/// Whether nothing listens there now.
pub fn is_silent(port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::ClusterName;
    use pgherd_core::wishes::MOST_INSTANCES;
    use std::collections::BTreeSet;

    fn instance(serial: u32) -> InstanceName {
        InstanceName::new(&ClusterName::parse("db").unwrap(), serial)
    }

    #[test]
    fn every_port_of_a_cluster_is_another_one() {
        let ports = Ports { base: 5500, block: 15_000 };
        let mut all = vec![ports.record()];
        for from in 1..=MOST_INSTANCES {
            let from = instance(from);
            all.extend([ports.postgres(&from), ports.agent(&from), ports.relay_to_record(&from)]);
            all.push(ports.metrics(&from));
            for to in 1..=MOST_INSTANCES {
                let to = instance(to);
                all.push(ports.relay(&from, &to, Service::Agent));
                all.push(ports.relay(&from, &to, Service::Postgres));
            }
        }
        let inside = |port: &&u16| (15_000..15_200).contains(*port) || (5501..5510).contains(*port);
        assert!(all.iter().all(|port| inside(&port)));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn clusters_stay_apart_and_keep_away_from_strangers() {
        let free = |port| port != 5503 && port != 15_007;
        let base = choose_base(&[], free).unwrap();
        let first = choose_block(base, &[], free).unwrap();
        assert_eq!((first.base, first.block), (5510, 15_200));
        let others = [("db".to_owned(), first)];
        let base = choose_base(&others, |_| true).unwrap();
        let second = choose_block(base, &others, |_| true).unwrap();
        assert_eq!((second.base, second.block), (5500, 15_000));
        assert!(matches!(choose_base(&[], |_| false), Err(PortsError::NoBase)));
        assert!(matches!(choose_block(5500, &[], |_| false), Err(PortsError::NoBlock)));
    }

    #[test]
    fn ports_that_were_asked_for_are_given_or_the_reason_is_told() {
        let three = [1, 2, 3].map(instance);
        let others = [("shop".to_owned(), Ports { base: 6000, block: 15_000 })];
        let accept = |first| {
            accept_base(first, &three, &others, |port| port != 7003)
                .map_err(|error| error.to_string())
        };
        assert_eq!(accept(6100), Ok(6099));
        let refusals = [80, 7001, 6008, 15_100].map(|first| accept(first).unwrap_err());
        expect_test::expect![[r"
            80 leaves no room for nine instances: choose a --port from 1024 to 65526
            port 7003, which db-3 needs, is taken by another program: stop that program, or choose other ports with `pgherd local up --port N`
            port 6008, which db-1 needs, belongs to cluster shop: choose other ports with `pgherd local up --port N`
            port 15100, which db-1 needs, belongs to cluster shop: choose other ports with `pgherd local up --port N`"]]
        .assert_eq(&refusals.join("\n"));
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }
}
