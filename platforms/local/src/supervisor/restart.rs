//! Takes the order to restart: which instances it is about, and why others are not.
//!
//! Never orders it for one that does not run: it would happen whenever that one comes back.

use super::Supervisor;
use super::agents::Statuses;
use super::requests::about;
use crate::control::Done;
use crate::failure::{Failure, Kind};
use pgherd_api::agent::Role;
use pgherd_core::names::InstanceName;
use pgherd_core::wishes::Wish;
use std::collections::BTreeSet;

/// Why an instance is not restarted, and what would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    Stopped,
    Lost,
    Leaving,
    Fenced,
    Silent,
    Down,
}

impl Idle {
    fn why(self) -> &'static str {
        match self {
            Self::Stopped => "it is stopped",
            Self::Lost => "it is lost",
            Self::Leaving => "it is being removed",
            Self::Fenced => "it is fenced",
            Self::Silent => "its agent does not answer",
            Self::Down => "its PostgreSQL does not run",
        }
    }

    fn fix(self, name: &InstanceName) -> String {
        match self {
            Self::Stopped | Self::Lost => format!("pgherd local start {}", name.serial()),
            Self::Fenced => format!("pgherd local unfence {}", name.serial()),
            Self::Leaving => "name another one".to_owned(),
            Self::Silent | Self::Down => {
                "pgherd local explain tells why; it starts by itself once it can".to_owned()
            }
        }
    }
}

impl Supervisor {
    pub(super) async fn restart(&mut self, given: &[String]) -> Result<Done, Failure> {
        let mut names = self.named(given)?;
        self.refuse_to_restart_paused()?;
        let statuses = self.inquiry(|_| true).ask().await;
        let idle = names.iter().filter_map(|it| Some((it.clone(), self.idle(it, &statuses)?)));
        let idle: Vec<(InstanceName, Idle)> = idle.collect();
        let refused = |(name, idle): &(InstanceName, Idle)| {
            let what = format!("{name} cannot be restarted: {}", idle.why());
            Failure::new(Kind::Refused, what).fix(idle.fix(name))
        };
        if let Some(first) = idle.first()
            && (!given.is_empty() || idle.len() == names.len())
        {
            return Err(refused(first));
        }
        names.retain(|name| idle.iter().all(|(other, _)| other != name));
        let passed =
            idle.iter().map(|(name, idle)| format!("{name} is passed over: {}", idle.why()));
        let warnings = passed.collect();
        let mut all = self.unfinished_restarts(&statuses);
        all.extend(names.iter().cloned());
        let number = self.wishes.restart(all);
        self.publish()?;
        Ok(Done { number: Some(number), warnings, ..about(names) })
    }

    /// What is paused is not started by anybody, so it would stay down.
    fn refuse_to_restart_paused(&self) -> Result<(), Failure> {
        if !self.specification.borrow().as_ref().is_some_and(|last| last.intent.paused) {
            return Ok(());
        }
        let what =
            format!("cluster {} is paused: what is restarted would stay down", self.folder.name());
        Err(Failure::new(Kind::Refused, what).fix("pgherd local resume"))
    }

    fn idle(&self, name: &InstanceName, statuses: &Statuses) -> Option<Idle> {
        match self.wishes.instances.get(name) {
            Some(Wish::Running) => {}
            Some(Wish::Stopped) => return Some(Idle::Stopped),
            Some(Wish::Lost) => return Some(Idle::Lost),
            Some(Wish::Leaving) | None => return Some(Idle::Leaving),
        }
        let specification = self.specification.borrow();
        if specification.as_ref().is_some_and(|last| last.intent.fenced.contains(name)) {
            return Some(Idle::Fenced);
        }
        let Some(status) = statuses.get(name).and_then(Option::as_ref) else {
            return Some(Idle::Silent);
        };
        match status.role {
            Role::Primary | Role::Standby => None,
            Role::Starting | Role::Stopped | Role::Absent | Role::Unknown => Some(Idle::Down),
        }
    }

    /// Those that the last order named and that have not begun: a new order replaces it.
    fn unfinished_restarts(&self, statuses: &Statuses) -> BTreeSet<InstanceName> {
        let Some(last) = &self.wishes.restart else { return BTreeSet::new() };
        let unfinished = |name: &&InstanceName| {
            let status = statuses.get(*name).and_then(Option::as_ref);
            self.idle(name, statuses).is_none()
                && status.is_some_and(|status| status.restart_done < last.number)
        };
        last.instances.iter().filter(unfinished).cloned().collect()
    }
}
