//! Does to instances and their network what accidents do, on request.
//!
//! Never touches a process that is not of the instance.

use super::Supervisor;
use super::instance::InstanceError;
use super::requests::about;
use crate::control::{Cut, Done, Effect, Part, Reach, Ways};
use crate::failure::{Failure, Kind};
use crate::processes::{Act, Life, Part as ProcessPart, Process};
use crate::wishes;
use pgherd_core::names::InstanceName;
use std::collections::BTreeSet;

/// PostgreSQL may have started a process while the others were being frozen.
const FREEZES: usize = 5;

impl Supervisor {
    pub(super) async fn kill(&mut self, given: &str, part: Part) -> Result<Done, Failure> {
        let name = self.find(given)?;
        if part == Part::Everything {
            wishes::lose(&mut self.wishes, &name)?;
            self.keep_wishes()?;
            // The network goes first, as it would: nobody is told that the machine is gone.
            self.push_network().await?;
            self.of(&name).kill().map_err(|error| acted(&error))?;
            return Ok(about(BTreeSet::from([name])));
        }
        let meant = move |process: &Process| match part {
            Part::Agent => process.part == ProcessPart::Agent,
            Part::Postgres | Part::Everything => process.part == ProcessPart::Postmaster,
        };
        let killed = self.of(&name).act(Act::Kill, meant).map_err(|error| acted(&error))?;
        some_or_refused(killed, name, part)
    }

    pub(super) fn freeze(&mut self, given: &str, part: Part) -> Result<Done, Failure> {
        let name = self.find(given)?;
        let meant = |process: &Process| process.life == Life::Running && is_of(part, process);
        let mut frozen = 0;
        for _ in 0..FREEZES {
            let more = self.of(&name).act(Act::Freeze, meant).map_err(|error| acted(&error))?;
            frozen += more;
            if more == 0 {
                break;
            }
        }
        let of_part = self.of(&name).processes().map_err(|error| acted(&error))?;
        if frozen == 0 && of_part.iter().any(|process| is_of(part, process)) {
            return Ok(Done { effect: Effect::Unchanged, ..about(BTreeSet::from([name])) });
        }
        some_or_refused(frozen, name, part)
    }

    pub(super) fn thaw(&mut self, given: Option<&str>) -> Result<Done, Failure> {
        let names = match given {
            Some(given) => BTreeSet::from([self.find(given)?]),
            None => self.wishes.instances.keys().cloned().collect(),
        };
        let mut thawed = 0;
        for name in &names {
            let frozen = |process: &Process| process.life == Life::Frozen;
            thawed += self.of(name).act(Act::Thaw, frozen).map_err(|error| acted(&error))?;
        }
        let effect = if thawed == 0 { Effect::Unchanged } else { Effect::Changed };
        Ok(Done { effect, ..about(names) })
    }

    pub(super) async fn partition(
        &mut self,
        given: &str,
        from: Option<&str>,
        (ways, reach): (Ways, Reach),
    ) -> Result<Done, Failure> {
        let name = self.find(given)?;
        let other = from.map(|from| self.find(from)).transpose()?;
        if other.as_ref() == Some(&name) {
            let what = format!("{name} cannot be cut off from itself");
            return Err(Failure::new(Kind::Usage, what).fix("name another instance with --from"));
        }
        let others: Vec<_> = match (reach, other) {
            (Reach::RecordOnly, _) => Vec::new(),
            (Reach::Everything, Some(other)) => vec![other],
            (Reach::Everything, None) => {
                self.wishes.instances.keys().filter(|other| **other != name).cloned().collect()
            }
        };
        let alone = from.is_none();
        let before = self.cuts.clone();
        for other in others {
            let there = Cut { from: name.clone(), to: Some(other.clone()) };
            let back = Cut { from: other, to: Some(name.clone()) };
            self.cuts.insert(there);
            if ways == Ways::Both {
                self.cuts.insert(back);
            }
        }
        if alone {
            self.cuts.insert(Cut { from: name.clone(), to: None });
        }
        self.push_network().await?;
        let effect = if before == self.cuts { Effect::Unchanged } else { Effect::Changed };
        Ok(Done { effect, ..about(BTreeSet::from([name])) })
    }

    pub(super) async fn heal(&mut self, given: Option<&str>) -> Result<Done, Failure> {
        let before = self.cuts.len();
        let names = if let Some(given) = given {
            let name = self.find(given)?;
            self.cuts.retain(|cut| cut.from != name && cut.to.as_ref() != Some(&name));
            BTreeSet::from([name])
        } else {
            self.cuts.clear();
            self.wishes.instances.keys().cloned().collect()
        };
        self.push_network().await?;
        let effect = if before == self.cuts.len() { Effect::Unchanged } else { Effect::Changed };
        Ok(Done { effect, ..about(names) })
    }
}

/// Something was done to so many processes; to none is a refusal.
fn some_or_refused(count: usize, name: InstanceName, part: Part) -> Result<Done, Failure> {
    if count > 0 {
        return Ok(about(BTreeSet::from([name])));
    }
    let what = match part {
        Part::Agent => format!("{name} has no running agent"),
        Part::Postgres => format!("{name} has no running PostgreSQL"),
        Part::Everything => format!("{name} has no running process"),
    };
    Err(Failure::new(Kind::Refused, what).fix(format!("pgherd local start {}", name.serial())))
}

fn is_of(part: Part, process: &Process) -> bool {
    match part {
        Part::Everything => true,
        Part::Agent => process.part == ProcessPart::Agent,
        Part::Postgres => process.part != ProcessPart::Agent,
    }
}

fn acted(error: &InstanceError) -> Failure {
    Failure::from_error(Kind::Failed, error)
}
