//! The list of what is proven on a Kubernetes: what is to be reached, and what others need.
//!
//! Never does anything: what happens in a scenario stands in the files beside.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// A manifest of users gives three streaming instances, by the names they know.
    Creation,
    PostmasterKilled,
    BackendKilled,
    PodDeleted,
    Switchover,
    NodeDrained,
    PodForceDeleted,
    NodeLost,
    /// The primary's node loses its power while there is no operator.
    NodeLostAlone,
    /// The only operator is on that node, too.
    NodeLostWithOperator,
    /// The primary's node stands still, and goes on after the takeover.
    Frozen,
    CutFromApi,
    ApiAway,
    /// The primary's node is cut from everything.
    Isolated,
    StandbyVolumeDeleted,
    PrimaryDataRemoved,
    /// A changed resource request replaces all pods, the primary's last.
    Rolled,
    /// A setting that only a restart brings.
    Reconfigured,
    /// The volumes grow while PostgreSQL runs.
    Grown,
    /// Three instances become five, then two.
    Scaled,
    /// The cluster is put to sleep and woken.
    Hibernated,
    /// A newer operator gives the agents its program.
    Upgraded,
    /// All nodes lose their power at once, and return in random order.
    AllNodesLost,
    /// As before, and commits wait for nobody.
    FrozenAsync,
    IsolatedAsync,
    /// The operators die at random moments of creation, scaling and deletion.
    OperatorKilled,
    /// The image comes from a catalog: without it nothing begins, another one replaces all pods.
    Catalog,
    /// The log is archived, backups are taken by hand and by schedule, and a new cluster is as the first
    /// one was before a mistake.
    BackedUp,
    /// The same with a key, and a backup of what has changed.
    Encrypted,
    /// Thirty clusters of one instance are created at once.
    Crowd,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    pub p50: Option<Duration>,
    pub max: Option<Duration>,
    /// No write may be refused or stay without an answer.
    pub none_fails: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.p50.map(|it| format!("p50 {} s", it.as_secs_f64())));
        words.extend(self.max.map(|it| format!("max {} s", it.as_secs_f64())));
        words.extend(self.none_fails.then(|| "none fails".to_owned()));
        f.write_str(&if words.is_empty() { "heals".to_owned() } else { words.join(", ") })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Scenario {
    pub fn target(self) -> Target {
        let of = |p50: u64, max: u64| Target {
            p50: Some(Duration::from_millis(p50)),
            max: Some(Duration::from_millis(max)),
            none_fails: false,
        };
        let most = |max: u64| Target { p50: None, ..of(0, max) };
        match self {
            Self::Creation => most(40_000),
            Self::PostmasterKilled | Self::BackendKilled => of(600, 1_200),
            Self::PodDeleted
            | Self::Switchover
            | Self::NodeDrained
            | Self::Rolled
            | Self::Reconfigured
            | Self::Catalog => most(1_000),
            Self::NodeLost | Self::NodeLostAlone => of(3_500, 4_000),
            Self::PodForceDeleted
            | Self::NodeLostWithOperator
            | Self::Isolated
            | Self::IsolatedAsync => most(4_000),
            Self::CutFromApi | Self::ApiAway | Self::Grown | Self::Scaled => {
                Target { none_fails: true, ..Target::default() }
            }
            Self::Crowd => most(80_000),
            Self::Frozen
            | Self::FrozenAsync
            | Self::StandbyVolumeDeleted
            | Self::PrimaryDataRemoved
            | Self::AllNodesLost
            | Self::Hibernated
            | Self::Upgraded
            | Self::BackedUp
            | Self::Encrypted
            | Self::OperatorKilled => Target::default(),
        }
    }

    /// CloudNativePG 1.30 in three instances on the same testbed, commits waiting for nobody.
    pub fn theirs(self) -> &'static str {
        match self {
            Self::Creation => "55 s",
            Self::PostmasterKilled => "8.9 s, 2 rows lost",
            Self::BackendKilled => "8.1 s: a failover",
            Self::PodDeleted | Self::NodeDrained => "up to 180 s without new connections",
            Self::Switchover => "7.5-7.9 s",
            Self::PodForceDeleted => "18.0 s",
            Self::NodeLost => "78.7 s, 1 row lost",
            Self::NodeLostAlone => "no failover",
            Self::NodeLostWithOperator => "380.8 s",
            Self::Isolated | Self::IsolatedAsync => "71.9 s, two writable primaries for 133 s",
            Self::Reconfigured => "a restart in place: about 10 s without new connections",
            Self::CutFromApi => "failover can block for ever",
            Self::ApiAway => "0 s",
            Self::Crowd => "119 s, 9784 requests, 44 a minute, 81 and 59 MB",
            Self::Frozen
            | Self::FrozenAsync
            | Self::StandbyVolumeDeleted
            | Self::PrimaryDataRemoved
            | Self::AllNodesLost
            | Self::Rolled
            | Self::Grown
            | Self::Scaled
            | Self::Hibernated
            | Self::Upgraded
            | Self::Catalog
            | Self::BackedUp
            | Self::Encrypted
            | Self::OperatorKilled => "not measured",
        }
    }

    /// How often, unless it is said otherwise.
    pub fn rounds(self) -> u32 {
        match self {
            Self::NodeLost | Self::NodeLostAlone => 10,
            Self::OperatorKilled => 20,
            Self::PostmasterKilled
            | Self::BackendKilled
            | Self::PodDeleted
            | Self::Switchover
            | Self::Isolated => 5,
            Self::NodeDrained
            | Self::PodForceDeleted
            | Self::NodeLostWithOperator
            | Self::Frozen
            | Self::FrozenAsync
            | Self::IsolatedAsync => 3,
            Self::Creation
            | Self::CutFromApi
            | Self::ApiAway
            | Self::StandbyVolumeDeleted
            | Self::PrimaryDataRemoved
            | Self::AllNodesLost
            | Self::Rolled
            | Self::Reconfigured
            | Self::Grown
            | Self::Scaled
            | Self::Hibernated
            | Self::Upgraded
            | Self::Catalog
            | Self::BackedUp
            | Self::Encrypted
            | Self::Crowd => 1,
        }
    }

    /// Whether it can only be gone through where nodes can be hurt.
    pub fn needs_testbed(self) -> bool {
        match self {
            Self::Creation
            | Self::PostmasterKilled
            | Self::BackendKilled
            | Self::PodDeleted
            | Self::Switchover
            | Self::PodForceDeleted
            | Self::StandbyVolumeDeleted
            | Self::PrimaryDataRemoved
            | Self::Rolled
            | Self::Reconfigured
            | Self::Grown
            | Self::Scaled
            | Self::Hibernated
            | Self::OperatorKilled => false,
            // Its nodes have to know one image by two names.
            Self::Catalog
            // Its object store is beside the control plane.
            | Self::BackedUp
            | Self::Encrypted
            | Self::Upgraded
            | Self::NodeDrained
            | Self::NodeLost
            | Self::NodeLostAlone
            | Self::NodeLostWithOperator
            | Self::Frozen
            | Self::FrozenAsync
            | Self::CutFromApi
            | Self::ApiAway
            | Self::Isolated
            | Self::IsolatedAsync
            | Self::AllNodesLost
            | Self::Crowd => true,
        }
    }
}
