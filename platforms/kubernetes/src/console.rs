//! What people are shown of a cluster, and what they may ask of it: plain facts from its objects.
//!
//! Never takes what it may not read for absent: each such part is named, with the right it takes.

pub mod ask;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod inside;
pub mod read;
mod reported;
pub mod summary;

use crate::cluster::manifests::labels;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use pgherd_api::agent::{Role, Specification, Status};
use pgherd_api::cluster::annotations::{Care, Fenced, Hibernation};
use pgherd_api::cluster::{Checked, Cluster};
use pgherd_api::history::End;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::record::{Phase, Record};
use pgherd_core::seen::Gate;
use pgherd_core::units::Epoch;
use pgherd_core::wishes::Wishes;
use std::collections::{BTreeMap, BTreeSet};

/// A cluster as its objects tell it at one moment.
#[derive(Debug, Clone)]
pub struct View {
    pub namespace: String,
    pub name: ClusterName,
    pub cluster: Cluster,
    /// What the manifest means; none if it cannot be carried out.
    pub checked: Option<Checked>,
    /// Why it cannot.
    pub problems: Vec<String>,
    pub pods: BTreeMap<InstanceName, Pod>,
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    pub record: Option<Record>,
    /// When its terms began, as far as that was noted beside it.
    pub began: BTreeMap<Epoch, Timestamp>,
    /// How they came to their ends, as far as that was.
    pub ended: BTreeMap<Epoch, End>,
    pub specification: Option<Specification>,
    pub wishes: Option<Wishes>,
    pub route: Option<Route>,
    pub warnings: Vec<Warned>,
    /// What the agents say of themselves, as far as they could be asked.
    pub agents: BTreeMap<InstanceName, Status>,
    /// What could not be read, and why.
    pub hidden: BTreeMap<Part, String>,
}

/// Why a part is hidden whose right is missing.
const FORBIDDEN: &str = "it may not be read";

/// Where the service for writing leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub epoch: Option<Epoch>,
    pub address: Option<String>,
}

/// Something that Kubernetes, or a controller, warned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warned {
    pub at: Timestamp,
    /// `pod/db-1`.
    pub about: String,
    /// Of that object: a later one of its name is another one.
    pub uid: Option<String>,
    pub reason: String,
    pub what: String,
}

/// A part of the picture that takes a right of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Record,
    Pods,
    Route,
    Specification,
    Claims,
    Events,
    Agents,
}

impl Part {
    /// The verb and the resource that show it.
    pub fn right(self) -> &'static str {
        match self {
            Self::Record => "get leases.coordination.k8s.io",
            Self::Pods => "list pods",
            Self::Route => "get endpointslices.discovery.k8s.io",
            Self::Specification => "get configmaps",
            Self::Claims => "list persistentvolumeclaims",
            Self::Events => "list events",
            Self::Agents => "create pods/exec",
        }
    }

    /// What is missing without it.
    pub fn shows(self) -> &'static str {
        match self {
            Self::Record => "who holds the office, and under which rule commits count",
            Self::Pods => "whether instances run",
            Self::Route => "where clients are led",
            Self::Specification => "what agents are told",
            Self::Claims => "the volumes",
            Self::Events => "what Kubernetes warned of",
            Self::Agents => "what agents say: positions, lag, pending restarts",
        }
    }
}

impl View {
    /// What was left out: one sentence on all that may not be read, and one each on the rest.
    pub fn notes(&self) -> Vec<String> {
        let is_forbidden = |part: &&Part| self.hidden.get(part).is_some_and(|it| it == FORBIDDEN);
        let (forbidden, others): (Vec<&Part>, Vec<&Part>) =
            self.hidden.keys().partition(is_forbidden);
        let forbidden = match forbidden.as_slice() {
            [] => None,
            [part] => self.note(**part),
            parts => {
                let shows: Vec<_> = parts.iter().map(|part| part.shows()).collect();
                let rights: Vec<_> = parts.iter().map(|part| part.right()).collect();
                let (shows, rights) = (shows.join("; "), rights.join(", "));
                Some(format!(
                    "not shown: {shows}: they may not be read (it takes the rights to {rights} in {})",
                    self.namespace
                ))
            }
        };
        forbidden.into_iter().chain(others.into_iter().filter_map(|it| self.note(*it))).collect()
    }

    /// Why this part was left out, if it was.
    pub fn note(&self, part: Part) -> Option<String> {
        let (why, shows) = (self.hidden.get(&part)?, part.shows());
        if why != FORBIDDEN {
            return Some(format!("not shown: {shows}: {why}"));
        }
        let (right, namespace) = (part.right(), &self.namespace);
        Some(format!("not shown: {shows}: {why} (it takes the right to {right} in {namespace})"))
    }

    pub fn sees(&self, part: Part) -> bool {
        !self.hidden.contains_key(&part)
    }

    /// Whether all can be seen that tells who serves.
    pub fn sees_what_serves(&self) -> bool {
        [Part::Record, Part::Pods, Part::Route].into_iter().all(|part| self.sees(part))
    }

    /// The command that does this to this cluster.
    pub fn command(&self, verb: &str) -> String {
        format!("pgherd {verb} {} -n {}", self.name, self.namespace)
    }

    /// The same about one instance.
    pub fn command_for(&self, verb: &str, instance: &InstanceName) -> String {
        format!("pgherd {verb} {} {instance} -n {}", self.name, self.namespace)
    }

    /// What ends a hibernation.
    pub fn waking(&self) -> String {
        format!(
            "kubectl annotate clusters.postgresql.cnpg.io {} -n {} --overwrite cnpg.io/hibernation=off",
            self.name, self.namespace
        )
    }

    /// The instances that belong to the cluster, as far as anything tells.
    pub fn instances(&self) -> BTreeSet<InstanceName> {
        let wanted = self.wishes.as_ref().map(Wishes::belonging).unwrap_or_default();
        let members = self.record.iter().flat_map(|record| &record.members).cloned();
        let reported = self.cluster.status.iter().flat_map(|status| &status.instance_names);
        let reported = reported.filter_map(|name| InstanceName::parse(name).ok());
        wanted.into_iter().chain(members).chain(reported).chain(self.pods.keys().cloned()).collect()
    }

    /// Who serves writes: who holds the office, and is where clients are led.
    pub fn primary(&self) -> Option<InstanceName> {
        let Some(record) = &self.record else {
            return reported::serving(self).filter(|name| self.may_serve(name));
        };
        let holder = &record.holder.instance;
        let leads_there = match &self.route {
            Some(route) => route.epoch == Some(record.epoch),
            None => !self.sees(Part::Route),
        };
        let serves = record.phase == Phase::Serving && leads_there && self.may_serve(holder);
        serves.then(|| holder.clone())
    }

    /// Whether nothing says that its PostgreSQL is not open.
    fn may_serve(&self, holder: &InstanceName) -> bool {
        let runs = !self.sees(Part::Pods) || self.is_ready(holder);
        // The kubelet looks only now and then.
        let is_open = match self.agents.get(holder) {
            Some(agent) => agent.role == Role::Primary && agent.server.gate != Some(Gate::Closed),
            None => !self.is_fenced(holder),
        };
        runs && is_open
    }

    pub fn is_ready(&self, instance: &InstanceName) -> bool {
        self.pods.get(instance).is_some_and(summary::is_ready)
    }

    pub fn is_fenced(&self, instance: &InstanceName) -> bool {
        match self.checked.as_ref().map(|checked| &checked.annotations.fenced) {
            Some(Fenced::All) => true,
            Some(Fenced::Instances(names)) => names.contains(instance),
            None => false,
        }
    }

    pub fn is_paused(&self) -> bool {
        let care = self.checked.as_ref().map(|checked| checked.annotations.care);
        care == Some(Care::Paused) || self.wishes.as_ref().is_some_and(|wishes| wishes.paused)
    }

    pub fn is_asleep(&self) -> bool {
        let rest = self.checked.as_ref().map(|checked| checked.annotations.hibernation);
        rest == Some(Hibernation::Asleep)
    }

    pub fn is_member(&self, instance: &InstanceName) -> bool {
        self.record.as_ref().is_some_and(|record| record.members.contains(instance))
    }

    /// The instance that is called so: `CLUSTER-N`, `CLUSTER/N`, or N alone.
    pub fn find(&self, given: &str) -> Result<InstanceName, ask::Refusal> {
        let name = match given.parse() {
            Ok(serial) => Some(InstanceName::new(&self.name, serial)),
            Err(_) => InstanceName::parse(&given.replacen('/', "-", 1)).ok(),
        };
        let all = self.instances();
        name.filter(|name| all.contains(name)).ok_or_else(|| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            ask::Refusal::Unknown {
                what: format!("instance {given:?} not found in cluster {}", self.name),
                fix: format!("choose one of {}", all.join(", ")),
            }
        })
    }
}

/// The instance of `cluster` that an object belongs to.
fn instance_of(
    labelled: Option<&BTreeMap<String, String>>,
    cluster: &ClusterName,
) -> Option<InstanceName> {
    let name = InstanceName::parse(labelled?.get(labels::INSTANCE)?).ok()?;
    (name.cluster() == cluster).then_some(name)
}
