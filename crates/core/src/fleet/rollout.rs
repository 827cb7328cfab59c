//! Decides how long the next instance that works is kept from being replaced, so that not all
//! clusters of an operator are under way at once.
//!
//! Never holds up what was begun.

use crate::names::InstanceName;
use std::time::Duration;

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Pace<'a> {
    /// Which instance, of all clusters, began to be replaced last, and how long ago.
    pub last: Option<(Whose<'a>, Duration)>,
    pub between_clusters: Duration,
    pub between_instances: Duration,
}

/// An instance that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Of the cluster that is looked at.
    Ours(&'a InstanceName),
    AnotherClusters,
}

impl Pace<'_> {
    /// Nobody waits.
    pub const FREE: Self =
        Self { last: None, between_clusters: Duration::ZERO, between_instances: Duration::ZERO };
}

/// How much longer an instance has to wait; none if it need not.
pub fn wait(pace: &Pace<'_>, instance: &InstanceName) -> Option<Duration> {
    let (whose, ago) = pace.last?;
    let between = match whose {
        // Its pod may not be known to be gone yet.
        Whose::Ours(last) if last == instance => Duration::ZERO,
        Whose::Ours(_) => pace.between_instances,
        Whose::AnotherClusters => pace.between_clusters,
    };
    Some(between.saturating_sub(ago)).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;

    fn check(last: Option<(Whose<'_>, u64)>) -> Option<u64> {
        let pace = Pace {
            last: last.map(|(whose, ago)| (whose, Duration::from_secs(ago))),
            between_clusters: Duration::from_mins(1),
            between_instances: Duration::from_secs(5),
        };
        wait(&pace, &name(2)).map(|left| left.as_secs())
    }

    #[test]
    fn clusters_wait_longer_than_instances_and_the_first_of_all_does_not() {
        assert_eq!(check(None), None);
        assert_eq!(check(Some((Whose::AnotherClusters, 0))), Some(60));
        assert_eq!(check(Some((Whose::AnotherClusters, 59))), Some(1));
        assert_eq!(check(Some((Whose::AnotherClusters, 60))), None);
        assert_eq!(check(Some((Whose::Ours(&name(3)), 2))), Some(3));
        assert_eq!(check(Some((Whose::Ours(&name(3)), 5))), None);
    }

    #[test]
    fn what_was_begun_goes_on() {
        assert_eq!(check(Some((Whose::Ours(&name(2)), 0))), None);
    }

    #[test]
    fn without_delays_nobody_waits() {
        for whose in [Whose::Ours(&name(3)), Whose::AnotherClusters] {
            let pace = Pace { last: Some((whose, Duration::ZERO)), ..Pace::FREE };
            assert_eq!(wait(&pace, &name(2)), None);
        }
    }
}
