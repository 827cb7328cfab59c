//! Remembers which instance of all clusters began to be replaced last, and lets others wait for it.
//!
//! Never lets two clusters begin at the same moment where one is to wait for the other.

use crate::settings::Settings;
use pgherd_core::fleet::Plan;
use pgherd_core::fleet::rollout::{Pace, Whose};
use pgherd_core::names::InstanceName;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last one of all clusters that this operator looks after.
#[derive(Debug)]
pub struct Rollouts {
    between_clusters: Duration,
    between_instances: Duration,
    last: Mutex<Option<Begun>>,
}

#[derive(Debug)]
struct Begun {
    /// The cluster's unique id.
    cluster: String,
    instance: InstanceName,
    at: Instant,
}

impl Rollouts {
    pub fn new(settings: &Settings) -> Self {
        Self {
            between_clusters: settings.clusters_rollout_delay,
            between_instances: settings.instances_rollout_delay,
            last: Mutex::default(),
        }
    }

    /// What is decided for a cluster at this pace. Whose replacement begins with it is the last one
    /// from now on.
    pub(super) fn plan(
        &self,
        cluster: &str,
        now: Instant,
        decide: impl FnOnce(Pace<'_>) -> Plan,
    ) -> Plan {
        let mut known = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.as_ref().map(|last| {
            let is_ours = last.cluster == cluster;
            let whose = if is_ours { Whose::Ours(&last.instance) } else { Whose::AnotherClusters };
            (whose, now.saturating_duration_since(last.at))
        });
        let plan = decide(Pace {
            last,
            between_clusters: self.between_clusters,
            between_instances: self.between_instances,
        });
        if let Some(instance) = plan.replaces() {
            let (cluster, instance) = (cluster.to_owned(), instance.clone());
            *known = Some(Begun { cluster, instance, at: now });
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::fleet::{Because, Step, Verdict, rollout};
    use pgherd_core::names::ClusterName;

    const SECOND: Duration = Duration::from_secs(1);

    /// After how many seconds which instance of which cluster is looked at, and how many seconds it
    /// is to wait then.
    #[test]
    fn who_begins_holds_up_the_others() {
        let (between_clusters, between_instances) = (60 * SECOND, 5 * SECOND);
        let rollouts = Rollouts { between_clusters, between_instances, last: Mutex::default() };
        let start = Instant::now();
        let wait = |after: u32, cluster: &str, serial: u32| {
            let instance = InstanceName::new(&ClusterName::parse(cluster).unwrap(), serial);
            let plan = rollouts.plan(cluster, start + after * SECOND, |pace| {
                if let Some(left) = rollout::wait(&pace, &instance) {
                    return Plan {
                        steps: Vec::new(),
                        verdict: Verdict::Delayed { instance, left },
                    };
                }
                let steps = vec![Step::EndPod { instance, because: Because::Outdated }];
                Plan { steps, verdict: Verdict::Healthy }
            });
            if let Verdict::Delayed { left, .. } = plan.verdict { left.as_secs() } else { 0 }
        };
        assert_eq!(wait(0, "a", 3), 0);
        assert_eq!(wait(1, "b", 3), 59);
        assert_eq!(wait(2, "a", 2), 3);
        assert_eq!(wait(5, "a", 2), 0);
        assert_eq!(wait(60, "b", 3), 5);
        assert_eq!(wait(65, "b", 3), 0);
        assert_eq!(wait(66, "a", 1), 59);
        // Its pod is not known to be gone yet.
        assert_eq!(wait(67, "b", 3), 0);
    }
}
