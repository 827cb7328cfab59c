//! Asks agents how they are.
//!
//! Never waits for a silent one longer than it waits for all of them.

use super::{Supervisor, Wake};
use crate::keeper;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_agent::tls::holder::Holder;
use pgherd_api::agent::{Role, Status, names};
use pgherd_core::names::InstanceName;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// An agent answers from memory; one that takes longer is frozen or starved.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) type Statuses = BTreeMap<InstanceName, Option<Status>>;

/// Whom to ask, and where.
pub(super) struct Inquiry {
    client: Arc<Client>,
    agents: Vec<(InstanceName, Endpoint)>,
}

impl Inquiry {
    pub(super) fn of(client: Arc<Client>, agents: Vec<(InstanceName, Endpoint)>) -> Self {
        Self { client, agents }
    }

    pub(super) async fn ask(self) -> Statuses {
        let mut asking = JoinSet::new();
        let mut statuses: Statuses =
            self.agents.iter().map(|(name, _)| (name.clone(), None)).collect();
        for (name, endpoint) in self.agents {
            let client = Arc::clone(&self.client);
            asking.spawn(async move {
                let status = client.call(&endpoint, names::STATUS, &(), PATIENCE).await;
                (name, status.ok())
            });
        }
        while let Some(asked) = asking.join_next().await {
            if let Ok((name, status)) = asked {
                statuses.insert(name, status);
            }
        }
        statuses
    }
}

impl Supervisor {
    /// An inquiry among the agents that run and are `meant`.
    pub(super) fn inquiry(&self, meant: impl Fn(&InstanceName) -> bool) -> Inquiry {
        let agents = self.running().filter(|(name, _)| meant(name)).collect();
        Inquiry::of(Arc::clone(&self.client), agents)
    }

    /// The agents that run, and where they are reached.
    pub(super) fn running(&self) -> impl Iterator<Item = (InstanceName, Endpoint)> {
        let running = self.instances.values().filter(|instance| instance.pid().is_some());
        running.map(|instance| (instance.name.clone(), self.agent_at(&instance.name)))
    }

    /// Where the agent of that name is reached, if it runs.
    pub(super) fn agent_at(&self, name: &InstanceName) -> Endpoint {
        Endpoint::Certified {
            holder: Holder::Instance(name.clone()),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, self.registration.ports.agent(name))),
        }
    }

    /// Asks those that are on their way out whether their PostgreSQL is down.
    pub(super) fn ask_the_ending(&mut self) {
        let is_ending = |name: &InstanceName| {
            self.instances.get(name).is_some_and(|instance| instance.ending.is_some())
        };
        let inquiry = self.inquiry(is_ending);
        if inquiry.agents.is_empty() {
            return;
        }
        let wakes = self.wakes.clone();
        self.tasks.spawn_at_most(1, "ask the ending", async move {
            let statuses = inquiry.ask().await;
            // A loop that is gone asks nobody.
            let _gone = wakes.send(Wake::Heard(statuses)).await;
        });
    }

    pub(super) fn heard(&mut self, statuses: Statuses) {
        for (name, status) in statuses {
            if let Some(instance) = self.instances.get_mut(&name) {
                instance.server = status.map_or(keeper::Server::Unknown, |it| server(it.role));
            }
        }
    }
}

fn server(role: Role) -> keeper::Server {
    match role {
        Role::Primary | Role::Standby | Role::Starting => keeper::Server::Up,
        Role::Stopped | Role::Absent => keeper::Server::Down,
        Role::Unknown => keeper::Server::Unknown,
    }
}
