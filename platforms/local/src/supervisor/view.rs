//! Puts together what commands show, from what the supervisor knows and what agents answer.
//!
//! Never holds up the loop: agents are asked aside.

use super::Supervisor;
use super::agents::Statuses;
use super::instance::Instance;
use crate::control::{AgentView, Answer, InstanceView, View};
use crate::keeper;
use crate::processes::{Life, Part};
use pgherd_agent::metrics;
use pgherd_api::agent::Specification;
use pgherd_core::intent::Durability;
use pgherd_core::names::InstanceName;
use pgherd_core::units::Bytes;
use pgherd_core::wishes::Wish;
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Supervisor {
    pub(super) fn answer_view(&mut self, answer: oneshot::Sender<Answer>) {
        let (mut view, inquiry) = (self.view(), self.inquiry(|_| true));
        let looking = async move {
            fill(&mut view, inquiry.ask().await);
            // A command that is gone meanwhile needs no answer.
            let _gone = answer.send(Answer::View(Box::new(view)));
        };
        // As many as there are connections to the socket, which has a bound.
        self.tasks.spawn("look for a command", looking);
    }

    fn view(&self) -> View {
        let specification = self.specification.borrow();
        let last = specification.as_ref();
        let initdb = last.map(|last| last.postgres.initdb.clone()).unwrap_or_default();
        let asynchronous = Durability::Asynchronous { max_lag: Bytes(u64::MAX) };
        let names = self.wishes.instances.iter();
        View {
            cluster: self.folder.name().clone(),
            folder: self.folder.root().to_owned(),
            supervisor: std::process::id(),
            bindir: self.registration.bindir.clone(),
            major: self.registration.major,
            tls: self.tls,
            shall: self.shall(),
            paused: last.is_some_and(|last| last.intent.paused),
            durability: last.map_or(asynchronous, |last| last.intent.durability),
            database: initdb.database,
            owner: initdb.owner,
            specification: last.map_or(0, |last| last.number),
            configuration: self.wishes.configuration,
            record: self.record.clone(),
            instances: names.map(|(name, wish)| self.instance_view(name, *wish, last)).collect(),
            cuts: self.cuts.iter().cloned().collect(),
            schedules: self.schedule_views(),
            warnings: self.manifest.as_ref().map(|it| it.warnings.clone()).unwrap_or_default(),
        }
    }

    fn instance_view(
        &self,
        name: &InstanceName,
        wish: Wish,
        last: Option<&Specification>,
    ) -> InstanceView {
        let instance = self.instances.get(name);
        let processes = instance.and_then(|instance| instance.processes().ok()).unwrap_or_default();
        let own = processes.iter().find(|process| process.part == Part::Agent);
        let life = own.map_or(Life::Running, |process| process.life);
        InstanceView {
            name: name.clone(),
            port: self.registration.ports.postgres(name),
            metrics: last.map(|last| self.metrics_address(name, last)),
            wish,
            fenced: last.is_some_and(|last| last.intent.fenced.contains(name)),
            agent: instance.map_or(AgentView::Absent, |instance| agent_view(instance, life)),
            frozen: Instance::frozen(&processes),
            status: None,
        }
    }

    fn metrics_address(&self, name: &InstanceName, last: &Specification) -> String {
        let port = self.registration.ports.metrics(name);
        format!("{}://127.0.0.1:{port}{}", last.metrics.way.scheme(), metrics::PATH)
    }
}

fn agent_view(instance: &Instance, life: Life) -> AgentView {
    let now = Instant::now();
    match (instance.pid(), instance.agent(now)) {
        (Some(pid), _) if life == Life::Frozen => AgentView::Frozen { pid },
        (Some(pid), keeper::Agent::Ends { .. }) => AgentView::Ending { pid },
        (Some(pid), keeper::Agent::Lives | keeper::Agent::Absent { .. }) => {
            AgentView::Running { pid }
        }
        (None, _) if instance.failures.count() > 0 || !instance.last.is_empty() => {
            let wait = instance.wait(now).as_millis();
            AgentView::Restarting {
                failures: instance.failures.count(),
                wait_milliseconds: u64::try_from(wait).unwrap_or(u64::MAX),
                last: instance.last.clone(),
            }
        }
        (None, _) => AgentView::Absent,
    }
}

fn fill(view: &mut View, mut statuses: Statuses) {
    for instance in &mut view.instances {
        instance.status = statuses.remove(&instance.name).flatten();
    }
}
