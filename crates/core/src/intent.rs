//! What the user wants of a cluster, already checked.
//!
//! Never holds a value that still has to be refused.

use crate::names::{ClusterName, InstanceName};
use crate::timers::Timers;
use crate::units::{Bytes, Epoch, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub cluster: ClusterName,
    /// The instances that shall exist.
    pub instances: BTreeSet<InstanceName>,
    /// The one that initialises the cluster; none once it exists: then nobody may do so again,
    /// whatever is missing.
    pub first: Option<InstanceName>,
    pub durability: Durability,
    pub timers: Timers,
    /// How long a lost primary is waited for beyond its detection.
    pub failover_delay: Duration,
    /// How long a clean stop may take before it becomes an immediate one.
    pub stop_delay: Duration,
    /// No automatic failover, restart or rejoin: somebody is at work.
    pub paused: bool,
    /// Instances whose PostgreSQL shall stay down.
    pub fenced: BTreeSet<InstanceName>,
    /// Instances that shall hand over their office, if they hold it, and stop.
    pub leaving: BTreeSet<InstanceName>,
    /// The whole cluster shall come to a clean stop.
    pub stopped: bool,
    pub switchover: Option<Switchover>,
    /// Instances whose PostgreSQL shall be restarted; each restarts once per number.
    pub restart: Option<Restart>,
    /// Changes whenever the PostgreSQL configuration does; each instance then reloads.
    pub configuration: u64,
}

/// When a commit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// On the primary alone; a standby further behind than `max_lag` is never promoted.
    Asynchronous { max_lag: Bytes },
    /// On `acks` standbys, or not at all.
    Required { acks: usize },
    /// On `acks` standbys while there are any; alone otherwise, and the record says so.
    Preferred { acks: usize },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switchover {
    /// Distinguishes one request from the next.
    pub number: u64,
    /// None: the standby that is furthest.
    pub target: Option<InstanceName>,
    /// The epoch in which it was asked for, if that is known. Once somebody else has taken office,
    /// it is over: whoever asked meant another primary than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub number: u64,
    pub instances: BTreeSet<InstanceName>,
}

impl Intent {
    pub fn is_fenced(&self, instance: &InstanceName) -> bool {
        self.fenced.contains(instance)
    }

    /// When a takeover may begin, for a primary whose grant ran out at `lost`.
    pub fn failover_from(&self, lost: Time) -> Time {
        lost.after(self.failover_delay)
    }
}
