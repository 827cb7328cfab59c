//! One turn: look at what lives, decide for each instance, do it, and tell the agents.
//!
//! Never decides here: `keeper` does for processes, `Specification::next` for what agents are
//! told.

use super::instance::{Instance, InstanceError};
use super::startup::{SPECIFICATION, WISHES};
use super::{Ended, Leave, Supervisor};
use crate::credentials::CredentialsError;
use crate::failure::{Failure, Kind};
use crate::keeper::{self, Act, Membership, Sight};
use crate::network::Network;
use crate::ports::Service;
use crate::processes::Part;
use pgherd_agent::chain::chain;
use pgherd_agent::config::{AgentConfig, PeerAddress, PostgresAddress, RecordAddress, VERSION};
use pgherd_agent::durable::{self, Access, DurableError};
use pgherd_api::agent::Specification;
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use pgherd_core::wishes::{Shall, Wish};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tracing::{info, warn};

/// Before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Between looks for certificates that run out; they are renewed a week before.
const RENEWAL: Duration = Duration::from_hours(1);
/// Beyond what a clean stop may take, for the agent to say that it is done.
const SLACK: Duration = Duration::from_secs(30);
/// How long a clean stop may take when there is no manifest to say so.
const STOP_DELAY: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("keeping its processes")]
    Keep { source: InstanceError },
    #[error("making its folders and certificates")]
    Equip { source: CredentialsError },
    #[error("turning its configuration into JSON")]
    Encode { source: serde_json::Error },
    #[error("writing its configuration")]
    Configure { source: DurableError },
    #[error("keeping what was asked for")]
    Remember { source: Failure },
}

fn keep(done: Result<(), InstanceError>) -> Result<(), TurnError> {
    done.map_err(|source| TurnError::Keep { source })
}

impl Supervisor {
    /// Brings the cluster one step nearer to what it shall be; returns when to look again.
    pub(super) async fn turn(&mut self) -> Duration {
        self.look_at_processes();
        let mut look_again = self.tend_network().await;
        self.ask_the_ending();
        for name in self.wishes.instances.keys().cloned().collect::<Vec<_>>() {
            look_again = look_again.min(self.tend(&name));
        }
        self.renew_certificates();
        self.tell_schedules();
        look_again
    }

    pub(super) fn look_at_processes(&mut self) {
        for name in self.wishes.instances.keys() {
            let instance = self
                .instances
                .entry(name.clone())
                .or_insert_with(|| Instance::new(&self.folder, name));
            match instance.processes() {
                Ok(found) => instance.look(&found, &self.wakes),
                Err(error) => warn!(instance = %name, error = %chain(&error), "not looked at"),
            }
        }
    }

    async fn tend_network(&mut self) -> Duration {
        if self.shall() == Shall::Rest && !self.network.lives() {
            return Duration::MAX;
        }
        let changed = self.push_network().await;
        match changed {
            Ok(()) => Duration::MAX,
            Err(failure) => {
                warn!(%failure, "network not as it shall be");
                RETRY
            }
        }
    }

    /// Makes the network what it shall be; it is when this returns.
    pub(super) async fn push_network(&mut self) -> Result<(), Failure> {
        let lost = self.wishes.instances.iter().filter(|(_, wish)| **wish == Wish::Lost);
        let network = Network {
            ports: self.registration.ports,
            instances: self.wishes.instances.keys().cloned().collect(),
            cuts: self.cuts.clone(),
            isolated: lost.map(|(name, _)| name.clone()).collect(),
        };
        let changed = self.network.change(network, &self.wakes).await;
        changed.map_err(|error| Failure::from_error(Kind::Failed, &error))
    }

    fn tend(&mut self, name: &InstanceName) -> Duration {
        let now = Instant::now();
        let Some(sight) = self.sight(name, now) else { return RETRY };
        match keeper::next(&sight) {
            Act::Nothing => Duration::MAX,
            Act::Wait(wait) => wait,
            act => match self.perform(name, act, now) {
                Ok(()) => Duration::from_millis(20),
                Err(error) => {
                    warn!(instance = %name, ?act, error = %chain(&error), "not done");
                    if let Some(instance) = self.instances.get_mut(name) {
                        instance.last = chain(&error).to_string();
                    }
                    RETRY
                }
            },
        }
    }

    fn sight(&mut self, name: &InstanceName, now: Instant) -> Option<Sight> {
        let (shall, record) = (self.shall(), self.record.as_ref());
        let wish = *self.wishes.instances.get(name)?;
        let stop_delay = self.manifest.as_ref().map_or(STOP_DELAY, |it| it.checked.stop_delay);
        let instance = self.instances.get_mut(name)?;
        let others = instance.processes().ok()?;
        let others = others.iter().filter(|process| process.part != Part::Agent).count();
        let ends = shall == Shall::Rest || wish != Wish::Running;
        instance.ending = if ends { instance.ending.or(Some(now)) } else { None };
        Some(Sight {
            shall,
            wish,
            agent: instance.agent(now),
            others,
            server: instance.server,
            membership: membership(record, name),
            ending_for: instance.ending.map_or(Duration::ZERO, |since| now - since),
            stop_delay: stop_delay.saturating_add(SLACK),
        })
    }

    fn perform(&mut self, name: &InstanceName, act: Act, now: Instant) -> Result<(), TurnError> {
        match act {
            Act::Nothing | Act::Wait(_) => Ok(()),
            Act::Start => self.start_agent(name),
            Act::Terminate => keep(self.of(name).ask_to_end(now)),
            Act::Kill => keep(self.of(name).kill()),
            Act::Remove => self.remove(name),
        }
    }

    pub(super) fn of(&mut self, name: &InstanceName) -> &mut Instance {
        let folder = &self.folder;
        self.instances.entry(name.clone()).or_insert_with(|| Instance::new(folder, name))
    }

    fn start_agent(&mut self, name: &InstanceName) -> Result<(), TurnError> {
        let equipped = self.credentials.equip(name, SystemTime::now());
        equipped.map_err(|source| TurnError::Equip { source })?;
        self.equip_archive(name)?;
        self.write_config(name)?;
        let config = self.folder.agent_config(name);
        keep(self.of(name).start(&config))
    }

    fn equip_archive(&self, name: &InstanceName) -> Result<(), TurnError> {
        let kept = self.manifest.as_ref();
        let own = kept.map(|kept| kept.keys.clone()).unwrap_or_default();
        let recovery = kept.map(|kept| kept.recovery_keys.clone()).unwrap_or_default();
        let equipped = self.credentials.equip_archives(name, &own, &recovery);
        equipped.map_err(|source| TurnError::Equip { source })?;
        // Only the first instance makes the cluster.
        let external = kept.filter(|_| name.serial() == 1).map(|kept| kept.external.clone());
        let equipped = self.credentials.equip_external(name, &external.unwrap_or_default());
        equipped.map_err(|source| TurnError::Equip { source })
    }

    fn write_config(&self, name: &InstanceName) -> Result<(), TurnError> {
        let ports = self.registration.ports;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let others = self.wishes.instances.keys().filter(|other| *other != name);
        let peers = others.map(|other| {
            let way = |service| at(ports.relay(name, other, service));
            let address =
                PeerAddress { agent: way(Service::Agent), postgres: way(Service::Postgres) };
            (other.clone(), address)
        });
        let config = AgentConfig {
            written_by: Some(VERSION.to_owned()),
            cluster: self.folder.name().clone(),
            instance: name.clone(),
            folder: self.folder.instance(name).root().to_owned(),
            bindir: self.registration.bindir.clone(),
            postgres: PostgresAddress {
                listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: ports.postgres(name),
            },
            listen: at(ports.agent(name)),
            peers: peers.collect(),
            record: Some(RecordAddress {
                server_name: "record".to_owned(),
                address: at(ports.relay_to_record(name)),
            }),
            run: None,
            identity: None,
            program: None,
            metrics: Some(at(ports.metrics(name))),
        };
        let text = serde_json::to_vec_pretty(&config);
        let text = text.map_err(|source| TurnError::Encode { source })?;
        let path = self.folder.agent_config(name);
        let configure = |source| TurnError::Configure { source };
        if durable::read(&path).map_err(configure)?.as_deref() == Some(&text) {
            return Ok(());
        }
        durable::write(&path, &text, Access::PRIVATE).map_err(configure)
    }

    /// Tells every agent whom it can reach where; they notice that their file has changed.
    pub(super) fn write_configs(&self) {
        for name in self.wishes.instances.keys() {
            if self.folder.instance(name).root().is_dir()
                && let Err(error) = self.equip_archive(name).and_then(|()| self.write_config(name))
            {
                warn!(instance = %name, %error, "configuration not written");
            }
        }
    }

    fn remove(&mut self, name: &InstanceName) -> Result<(), TurnError> {
        keep(self.of(name).remove())?;
        self.wishes.instances.remove(name);
        self.instances.remove(name);
        self.cuts.retain(|cut| cut.from != *name && cut.to.as_ref() != Some(name));
        info!(instance = %name, "instance removed");
        self.keep_wishes().map_err(|source| TurnError::Remember { source })?;
        self.write_configs();
        Ok(())
    }

    pub(super) fn keep_wishes(&self) -> Result<(), Failure> {
        let kept = self.store.keep(WISHES, &self.wishes);
        kept.map_err(|error| Failure::from_error(Kind::Failed, &error))
    }

    /// Keeps what was asked for and tells the agents what it comes to.
    pub(super) fn publish(&mut self) -> Result<(), Failure> {
        self.keep_wishes()?;
        let Some(manifest) = &self.manifest else { return Ok(()) };
        let last = self.specification.borrow().clone();
        let next =
            Specification::next(last.as_ref(), &manifest.checked, &self.wishes, self.shall());
        if let Some(next) = next {
            let kept = self.store.keep(SPECIFICATION, &next);
            kept.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
            info!(number = next.number, "new specification");
            self.specification.send_replace(Some(next));
        }
        Ok(())
    }

    pub(super) fn read_record(&mut self) {
        match self.store.record() {
            Ok(record) => self.record = record,
            Err(error) => return warn!(error = %chain(&error), "record not read"),
        }
        if self.record.is_some() && !self.wishes.exists {
            self.wishes.exists = true;
            if let Err(failure) = self.publish() {
                warn!(%failure, "the cluster's existence is not kept");
            }
        }
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        match ended {
            Ended::Network => self.network.ended(),
            Ended::Agent { name, pid } => {
                if let Some(instance) = self.instances.get_mut(name)
                    && instance.is_agent(*pid)
                {
                    instance.ended();
                }
            }
        }
    }

    /// Stops everything because the machine does; the cluster shall be up again after it.
    pub(super) fn rest(&mut self) {
        info!("asked to end");
        self.leave = Leave::WhenDown;
        self.registration.shall = Shall::Rest;
        if let Err(failure) = self.publish() {
            warn!(%failure, "agents are not told to stop");
        }
    }

    /// Whether no process of any instance lives.
    pub(super) fn is_down(&self) -> bool {
        self.wishes.instances.keys().all(|name| {
            let instance = self.instances.get(name);
            instance.is_none_or(|instance| {
                instance.pid().is_none()
                    && instance.processes().is_ok_and(|processes| processes.is_empty())
            })
        })
    }

    fn renew_certificates(&mut self) {
        if self.renewed.elapsed() < RENEWAL {
            return;
        }
        self.renewed = Instant::now();
        let equipped = |name: &&InstanceName| self.folder.instance(name).tls().is_dir();
        let instances = self.wishes.instances.keys().filter(equipped);
        if let Err(error) = self.credentials.renew(instances, SystemTime::now()) {
            warn!(error = %chain(&error), "certificates not renewed");
        }
    }
}

fn membership(record: Option<&Record>, name: &InstanceName) -> Membership {
    let counts = record.is_some_and(|record| {
        record.members.contains(name)
            || record.grantors.contains(name)
            || record.holder.instance == *name
            || record.quorum.iter().any(|pair| pair.voters.contains(name))
    });
    if counts { Membership::Member } else { Membership::Stranger }
}
