//! What each command changes: the wishes, the network, or processes at once.
//!
//! Never waits for what follows from it, and never changes anything for a request it refuses.

use super::{Leave, Supervisor};
use crate::control::{Care, Done, Effect, Request};
use crate::failure::{Failure, Kind};
use crate::wishes;
use pgherd_api::agent::{Role, Status};
use pgherd_core::fleet::fence::{Harm, harm};
use pgherd_core::names::InstanceName;
use pgherd_core::wishes::{Shall, Wish};
use std::collections::BTreeSet;

impl Supervisor {
    pub(super) async fn asked(&mut self, request: Request) -> Result<Done, Failure> {
        match request {
            // Answered aside; see `view`.
            Request::View => Ok(Done::default()),
            Request::Apply { manifest, instances } => self.apply(manifest, instances).await,
            Request::Down => self.go_down(),
            Request::Start { instances } => self.start(&instances).await,
            Request::Stop { instances } => self.stop(&instances),
            Request::Kill { instance, part } => self.kill(&instance, part).await,
            Request::Freeze { instance, part } => self.freeze(&instance, part),
            Request::Thaw { instance } => self.thaw(instance.as_deref()),
            Request::Partition { instance, from, ways, reach } => {
                self.partition(&instance, from.as_deref(), (ways, reach)).await
            }
            Request::Heal { instance } => self.heal(instance.as_deref()).await,
            Request::Switchover { target } => self.switch_over(target.as_deref()),
            Request::Restart { instances } => self.restart(&instances).await,
            Request::Reload => self.reload(),
            Request::Fence { instance, care } => self.fence(&instance, care).await,
            Request::Unfence { instance } => self.unfence(&instance),
            Request::Pause => self.set_paused(Hold::Paused),
            Request::Resume => self.set_paused(Hold::Running),
            Request::Backup { order, target, instance } => {
                self.back_up(order, target, instance.as_deref()).await
            }
            Request::FinishLog => self.finish_log().await,
            Request::RestorePoint { name } => self.restore_point(name).await,
            Request::ReadBackup { instance, name } => self.read_backup(&instance, name).await,
            Request::CancelBackup { instance, name } => self.cancel_backup(&instance, name).await,
            Request::Dump { order, target, instance } => {
                self.dump(order, target, instance.as_deref()).await
            }
            Request::RestoreDump { order } => self.restore_dump(order).await,
            Request::CancelDump { instance, name } => self.cancel_dump(&instance, name).await,
        }
    }

    fn go_down(&mut self) -> Result<Done, Failure> {
        self.register(self.registration.with_shall(Shall::Rest))?;
        self.leave = Leave::WhenDown;
        // What is frozen cannot stop.
        self.thaw(None)?;
        self.publish()?;
        Ok(about(self.wishes.instances.keys().cloned().collect()))
    }

    async fn start(&mut self, given: &[String]) -> Result<Done, Failure> {
        if self.shall() == Shall::Rest {
            let what = format!("cluster {} is down", self.folder.name());
            return Err(Failure::new(Kind::Refused, what).fix("pgherd local up"));
        }
        let names = self.named(given)?;
        let mut wishes = self.wishes.clone();
        for name in &names {
            wishes::start(&mut wishes, name)?;
        }
        self.refuse_taken_ports(names.iter())?;
        let effect = if wishes == self.wishes { Effect::Unchanged } else { Effect::Changed };
        self.wishes = wishes;
        for name in &names {
            self.of(name).forgive();
        }
        self.publish()?;
        self.push_network().await?;
        Ok(Done { effect, ..about(names) })
    }

    fn stop(&mut self, given: &[String]) -> Result<Done, Failure> {
        let names = self.named(given)?;
        let mut wishes = self.wishes.clone();
        for name in &names {
            wishes::stop(&mut wishes, name)?;
        }
        let effect = if wishes == self.wishes { Effect::Unchanged } else { Effect::Changed };
        self.wishes = wishes;
        self.publish()?;
        Ok(Done { effect, ..about(names) })
    }

    fn switch_over(&mut self, target: Option<&str>) -> Result<Done, Failure> {
        let target = target.map(|target| self.find(target)).transpose()?;
        let holder = self.record.as_ref().map(|record| record.holder.instance.clone());
        if target.is_some() && target == holder {
            let what = format!("{} is the primary already", given(target.as_ref()));
            return Err(Failure::new(Kind::Refused, what).fix("name a standby"));
        }
        if let Some(name) = &target
            && (self.wishes.instances.get(name) != Some(&Wish::Running)
                || self.wishes.fenced.contains(name))
        {
            let what = format!("{name} cannot become the primary: it is stopped, lost or fenced");
            return Err(Failure::new(Kind::Refused, what).fix(format!(
                "pgherd local start {0}, or pgherd local unfence {0}",
                name.serial()
            )));
        }
        let epoch = self.record.as_ref().map(|record| record.epoch);
        let number = self.wishes.switch_over(target.clone(), epoch);
        self.publish()?;
        let instances = target.into_iter().collect();
        Ok(Done { number: Some(number), ..about(instances) })
    }

    fn reload(&mut self) -> Result<Done, Failure> {
        let number = self.wishes.reload();
        self.publish()?;
        Ok(Done { number: Some(number), ..about(self.wishes.belonging()) })
    }

    async fn fence(&mut self, given: &str, care: Care) -> Result<Done, Failure> {
        let name = self.find(given)?;
        let effect = if self.wishes.fenced.contains(&name) {
            Effect::Unchanged
        } else {
            if care == Care::Usual {
                self.refuse_harm(&name).await?;
            }
            self.wishes.fenced.insert(name.clone());
            self.publish()?;
            Effect::Changed
        };
        Ok(Done { effect, ..about(BTreeSet::from([name])) })
    }

    /// Of the last healthy one, and of one without which commits would wait.
    async fn refuse_harm(&mut self, name: &InstanceName) -> Result<(), Failure> {
        let statuses = self.inquiry(|_| true).ask().await;
        let healthy = |status: &Status| match status.role {
            Role::Primary => true,
            Role::Standby => status.server.streaming == Some(true),
            Role::Starting | Role::Stopped | Role::Absent | Role::Unknown => false,
        };
        let healthy: BTreeSet<InstanceName> = statuses
            .iter()
            .filter(|(it, status)| {
                !self.wishes.fenced.contains(*it) && status.as_ref().is_some_and(healthy)
            })
            .map(|(it, _)| it.clone())
            .collect();
        if !healthy.contains(name) {
            return Ok(());
        }
        let role = |it: &InstanceName| statuses.get(it)?.as_ref().map(|status| status.role);
        let primary = healthy.iter().find(|it| role(it) == Some(Role::Primary));
        let durability = self.specification.borrow().as_ref().map(|it| it.intent.durability);
        let what = match harm(&healthy, (primary, durability), |it| it != name) {
            None => return Ok(()),
            Some(Harm::Service) => {
                format!("{name} is the last healthy instance: fencing it would end all service")
            }
            Some(Harm::Commits { .. }) => {
                format!("{name} is needed to confirm commits: while it is fenced they would wait")
            }
        };
        Err(Failure::new(Kind::Refused, what)
            .fix("bring another one back first (pgherd local status), or add --force"))
    }

    fn unfence(&mut self, given: &str) -> Result<Done, Failure> {
        let name = self.find(given)?;
        let was = self.wishes.fenced.remove(&name);
        self.publish()?;
        let effect = if was { Effect::Changed } else { Effect::Unchanged };
        Ok(Done { effect, ..about(BTreeSet::from([name])) })
    }

    fn set_paused(&mut self, hold: Hold) -> Result<Done, Failure> {
        let paused = hold == Hold::Paused;
        let effect = if self.wishes.paused == paused { Effect::Unchanged } else { Effect::Changed };
        self.wishes.paused = paused;
        self.publish()?;
        Ok(Done { effect, ..about(self.wishes.belonging()) })
    }

    pub(super) fn find(&self, given: &str) -> Result<InstanceName, Failure> {
        wishes::find(&self.wishes, self.folder.name(), given)
    }

    pub(super) fn named(&self, given: &[String]) -> Result<BTreeSet<InstanceName>, Failure> {
        if given.is_empty() {
            return Ok(self.wishes.belonging());
        }
        given.iter().map(|given| self.find(given)).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Paused,
    Running,
}

fn given(name: Option<&InstanceName>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn about(instances: BTreeSet<InstanceName>) -> Done {
    Done { instances, ..Done::default() }
}
