//! What people have asked of a cluster since it was made: each request changes this and nothing
//! else, and everybody acts on it.
//!
//! Never does anything itself, and never accepts a request that names what does not exist.

use crate::failure::{Failure, Kind};
use crate::ports::MOST_INSTANCES;
use pgherd_core::intent::{Restart, Switchover};
use pgherd_core::names::{ClusterName, InstanceName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// To be removed with its folder, once no member of the cluster needs it.
    Leaving,
}

impl Wishes {
    /// The instances that belong to the cluster, up or not.
    pub fn belonging(&self) -> BTreeSet<InstanceName> {
        let stay = self.instances.iter().filter(|(_, wish)| **wish != Wish::Leaving);
        stay.map(|(name, _)| name.clone()).collect()
    }

    /// The instance that is called so, if there is one.
    pub fn find(&self, cluster: &ClusterName, given: &str) -> Result<InstanceName, Failure> {
        let name = instance(cluster, given)?;
        if self.instances.contains_key(&name) {
            return Ok(name);
        }
        let all: Vec<String> = self.instances.keys().map(ToString::to_string).collect();
        let what = format!("instance {name} not found in cluster {cluster}");
        Err(Failure::new(Kind::NotFound, what).fix(format!("choose one of {}", all.join(", "))))
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
        // One that is on its way out has its folder still: its number is not free yet.
        let free = all.filter(|name| !self.instances.contains_key(name)).take(lacking);
        for name in free.collect::<Vec<_>>() {
            self.instances.insert(name, Wish::Running);
        }
    }

    /// Lets a stopped or lost instance come back.
    pub fn start(&mut self, name: &InstanceName) -> Result<(), Failure> {
        self.change(name, Wish::Running)
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

    pub fn stop(&mut self, name: &InstanceName) -> Result<(), Failure> {
        self.change(name, Wish::Stopped)
    }

    pub fn lose(&mut self, name: &InstanceName) -> Result<(), Failure> {
        self.change(name, Wish::Lost)
    }

    fn change(&mut self, name: &InstanceName, to: Wish) -> Result<(), Failure> {
        if self.instances.get(name) == Some(&Wish::Leaving) {
            let what = format!("instance {name} is being removed");
            return Err(Failure::new(Kind::Refused, what)
                .fix("wait for its end, then ask for more instances with `pgherd local up`"));
        }
        self.instances.insert(name.clone(), to);
        Ok(())
    }

    pub fn switch_over(&mut self, target: Option<InstanceName>) -> u64 {
        let number = self.switchover.as_ref().map_or(0, |last| last.number) + 1;
        self.switchover = Some(Switchover { number, target });
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

/// What people call an instance: `CLUSTER-N`, `CLUSTER/N`, or N alone.
pub fn instance(cluster: &ClusterName, given: &str) -> Result<InstanceName, Failure> {
    if let Ok(serial) = given.parse() {
        return Ok(InstanceName::new(cluster, serial));
    }
    let parsed = InstanceName::parse(&given.replacen('/', "-", 1));
    parsed.map_err(|_| {
        Failure::new(Kind::Usage, format!("{given:?} is not the name of an instance"))
            .fix(format!("write its number, or its name, for example 1 or {cluster}-1"))
    })
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
    fn instances_go_by_name_or_number() {
        let three = wishes(3);
        let found = |given| three.find(&db(), given).map(|name| name.to_string());
        assert_eq!(found("2"), Ok("db-2".to_owned()));
        assert_eq!(found("db-2"), Ok("db-2".to_owned()));
        assert_eq!(found("db/2"), Ok("db-2".to_owned()));
        assert_eq!(found("shop-2").unwrap_err().kind, Kind::NotFound);
        let unknown = found("7").unwrap_err();
        assert_eq!(unknown.what, "instance db-7 not found in cluster db");
        assert_eq!(unknown.fix.as_deref(), Some("choose one of db-1, db-2, db-3"));
        assert_eq!(unknown.kind, Kind::NotFound);
        assert_eq!(found("db").unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn what_is_leaving_cannot_be_called_back() {
        let mut two = wishes(2);
        let second = InstanceName::new(&db(), 2);
        two.lose(&second).unwrap();
        two.start(&second).unwrap();
        two.scale(&db(), 1, None);
        assert_eq!(two.start(&second).unwrap_err().what, "instance db-2 is being removed");
    }

    #[test]
    fn requests_are_numbered() {
        let mut one = wishes(1);
        assert_eq!((one.switch_over(None), one.switch_over(None)), (1, 2));
        assert_eq!((one.restart(one.belonging()), one.reload(), one.reload()), (1, 1, 2));
    }
}
