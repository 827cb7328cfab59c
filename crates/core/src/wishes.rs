//! What people have asked of a cluster since it was made: each request changes this and nothing
//! else, and everybody acts on it.
//!
//! Never does anything itself, and never asks whether a cluster has what a request names: whoever
//! took the request did.

use crate::intent::{Restart, Switchover};
use crate::names::{ClusterName, InstanceName};
use crate::units::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most instances a cluster can have, numbered from 1: more could not agree in time.
pub const MOST_INSTANCES: u32 = 9;

/// Everything that was asked for, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wishes {
    /// The cluster was initialised once: nobody may do so again.
    pub exists: bool,
    pub paused: bool,
    pub instances: BTreeMap<InstanceName, Wish>,
    /// How many instances were asked for beside the manifest, which then does not count.
    pub count: Option<u32>,
    pub fenced: BTreeSet<InstanceName>,
    pub switchover: Option<Switchover>,
    pub restart: Option<Restart>,
    pub configuration: u64,
    /// The last mark by which a restart of all was asked for from outside: each counts once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
}

/// What one instance shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    Running,
    /// Cleanly stopped, after handing over its office.
    Stopped,
    /// As if its machine had been lost.
    Lost,
    /// To be removed with its data, once no member of the cluster needs it.
    Leaving,
}

/// Whether a cluster shall be up. A reboot does not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shall {
    Run,
    Rest,
}

impl Wishes {
    /// The instances that belong to the cluster, up or not.
    pub fn belonging(&self) -> BTreeSet<InstanceName> {
        let stay = self.instances.iter().filter(|(_, wish)| **wish != Wish::Leaving);
        stay.map(|(name, _)| name.clone()).collect()
    }

    /// Makes the cluster this large: new instances take the lowest free numbers, and the highest
    /// that is not `spared` goes first.
    pub fn scale(&mut self, cluster: &ClusterName, count: u32, spared: Option<&InstanceName>) {
        let count = count.min(MOST_INSTANCES);
        let belonging = self.belonging();
        let surplus = belonging.len().saturating_sub(count as usize);
        let going = belonging.iter().rev().filter(|name| Some(*name) != spared).take(surplus);
        for name in going {
            self.instances.insert(name.clone(), Wish::Leaving);
            self.fenced.remove(name);
        }
        let lacking = (count as usize).saturating_sub(belonging.len());
        let all = (1..=MOST_INSTANCES).map(|serial| InstanceName::new(cluster, serial));
        // One that is on its way out has its data still: its number is not free yet.
        let free = all.filter(|name| !self.instances.contains_key(name)).take(lacking);
        for name in free.collect::<Vec<_>>() {
            self.instances.insert(name, Wish::Running);
        }
    }

    /// A cluster that comes up comes up as a whole, whatever was stopped or lost before.
    pub fn start_all(&mut self) {
        for wish in self.instances.values_mut() {
            match wish {
                Wish::Stopped | Wish::Lost => *wish = Wish::Running,
                Wish::Running | Wish::Leaving => {}
            }
        }
    }

    /// Asked for in this epoch, if it is known.
    pub fn switch_over(&mut self, target: Option<InstanceName>, epoch: Option<Epoch>) -> u64 {
        let number = self.switchover.as_ref().map_or(0, |last| last.number) + 1;
        self.switchover = Some(Switchover { number, target, epoch });
        number
    }

    pub fn restart(&mut self, instances: BTreeSet<InstanceName>) -> u64 {
        let number = self.restart.as_ref().map_or(0, |last| last.number) + 1;
        self.restart = Some(Restart { number, instances });
        number
    }

    pub fn reload(&mut self) -> u64 {
        self.configuration += 1;
        self.configuration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db() -> ClusterName {
        ClusterName::parse("db").unwrap()
    }

    fn wishes(count: u32) -> Wishes {
        let mut wishes = Wishes::default();
        wishes.scale(&db(), count, None);
        wishes
    }

    fn shown(wishes: &Wishes) -> String {
        let shown = wishes.instances.iter().map(|(name, wish)| format!("{name} {wish:?}"));
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn scaling_spares_the_primary_and_fills_gaps() {
        let mut three = wishes(3);
        assert_eq!(shown(&three), "db-1 Running, db-2 Running, db-3 Running");
        let primary = InstanceName::new(&db(), 3);
        three.scale(&db(), 1, Some(&primary));
        assert_eq!(shown(&three), "db-1 Leaving, db-2 Leaving, db-3 Running");
        three.scale(&db(), 2, Some(&primary));
        assert_eq!(shown(&three), "db-1 Leaving, db-2 Leaving, db-3 Running, db-4 Running");
        three.instances.retain(|_, wish| *wish != Wish::Leaving);
        three.scale(&db(), 3, Some(&primary));
        assert_eq!(shown(&three), "db-1 Running, db-3 Running, db-4 Running");
        assert_eq!(wishes(50).belonging().len(), 9);
    }

    #[test]
    fn requests_are_numbered() {
        let mut one = wishes(1);
        assert_eq!((one.switch_over(None, None), one.switch_over(None, None)), (1, 2));
        assert_eq!((one.restart(one.belonging()), one.reload(), one.reload()), (1, 1, 2));
    }
}
