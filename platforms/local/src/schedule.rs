//! Remembers what came of schedules, and says what is next about each.
//!
//! Never asks anybody, and never reads the clock: what is known of agents is handed in. What it says is
//! kept before anybody acts upon it.

use jiff::Timestamp;
use pgherd_api::schedule::planned::Planned;
use pgherd_api::schedule::{Begins, made_name};
use pgherd_core::backup::course::{self, Before, Wait};
use pgherd_core::backup::schedule::{self, Last};
use pgherd_core::names::InstanceName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of each schedule, by its key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book(BTreeMap<String, Page>);

/// What is known of one schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Page {
    /// When something was due last, or the schedule was seen first.
    pub checked: Option<Timestamp>,
    /// What was due and is not over.
    pub errand: Option<Errand>,
    /// How the last one ended.
    pub last: Option<Ended>,
}

/// One backup or dump that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Errand {
    /// What its first attempt is asked for under.
    pub name: String,
    pub due: Timestamp,
    /// Counted from one.
    pub attempt: u32,
    /// Since when it is its turn.
    pub since: Timestamp,
    /// Who was asked for this attempt.
    pub instance: Option<InstanceName>,
    /// Whether that one said that it had begun.
    #[serde(default)]
    pub begun: bool,
    /// What is in the way of it.
    pub waits: Option<String>,
}

/// One that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// What it was asked for under.
    pub name: String,
    pub due: Timestamp,
    pub at: Timestamp,
    pub instance: Option<InstanceName>,
    /// Its id in the repository.
    pub id: Option<String>,
    /// None: it is completed.
    pub failure: Option<String>,
    /// What is wrong although it is completed.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What whoever was asked says of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether it has begun.
    pub begun: bool,
    pub id: Option<String>,
    pub warnings: Vec<String>,
}

/// A schedule as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// `backup` or `dump`.
    pub kind: String,
    pub name: String,
    /// When, as its author wrote it.
    pub schedule: String,
    pub suspended: bool,
    /// When something is due next; nothing is while it is suspended.
    pub next: Option<Timestamp>,
    /// What is due now.
    pub errand: Option<Errand>,
    pub last: Option<Ended>,
}

/// What is wrong: the last one failed.
pub fn complaint(view: &ScheduleView) -> Option<String> {
    let last = view.last.as_ref()?;
    let (why, due) = (last.failure.as_ref()?, last.due.strftime("%Y-%m-%d %H:%M:%SZ"));
    Some(format!("{}/{} of {due} failed: {why}", view.kind, last.name))
}

/// What one that is due waits for.
pub fn hindrance(view: &ScheduleView) -> Option<String> {
    let errand = view.errand.as_ref()?;
    let (why, due) = (errand.waits.as_ref()?, errand.due.strftime("%Y-%m-%d %H:%M:%SZ"));
    Some(format!("{}/{} of {due} waits: {why}", view.kind, errand.name))
}

impl Errand {
    /// What this attempt is asked for under.
    pub fn session(&self) -> String {
        match self.attempt {
            0 | 1 => self.name.clone(),
            attempt => format!("{}.{attempt}", self.name),
        }
    }

    /// For how long it has been its turn.
    pub fn turn(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.since)).unwrap_or_default()
    }

    /// How far it is known to have come.
    pub fn at(&self) -> Before {
        if self.begun { Before::End } else { Before::Begin }
    }

    /// Who was asked, if anybody was, comes before whoever waits.
    fn place(&self) -> (course::Order, Timestamp) {
        let begun = self.instance.is_some();
        (if begun { course::Order::Begun } else { course::Order::Waits }, self.due)
    }

    fn waiting(self, wait: &Wait, now: Timestamp) -> Self {
        // Nobody waits for less because others were not done, or nobody was there.
        let counts = !matches!(wait, Wait::ForTurn { .. } | Wait::ForWaking);
        let since = if counts { self.since } else { now };
        Self { instance: None, begun: false, since, waits: Some(wait.to_string()), ..self }
    }

    fn ended(self, told: &Told, now: Timestamp, failure: Option<String>) -> Ended {
        let name = self.session();
        let (due, instance) = (self.due, self.instance);
        let (id, warnings) = (told.id.clone(), told.warnings.clone());
        Ended { name, due, at: now, instance, id, failure, warnings }
    }
}

impl Page {
    /// Whether something is due now. If so, it is on the page from then on.
    pub fn look(&mut self, planned: &Planned, now: Timestamp) -> Option<schedule::Step> {
        let last = match (&self.errand, &self.last) {
            (Some(_), _) => Last::Goes,
            (None, Some(last)) if last.failure.is_some() => Last::Failed,
            (None, Some(_)) => Last::Succeeded,
            (None, None) => Last::None,
        };
        let step =
            schedule::next(&planned.schedule.sight(planned.begins, (self.checked, now), last))?;
        match step {
            schedule::Step::Rest | schedule::Step::WaitForLast | schedule::Step::Wait { .. } => {}
            schedule::Step::Note { .. } | schedule::Step::NoteAnew { .. } => {
                self.checked = Some(now);
            }
            schedule::Step::Take { due, .. } => {
                let due = Timestamp::from_microsecond(due.0).unwrap_or(now);
                self.checked = Some(now);
                self.errand = Some(Errand {
                    name: made_name(&planned.name, due),
                    due,
                    attempt: 1,
                    since: now,
                    instance: None,
                    begun: false,
                    waits: None,
                });
            }
        }
        Some(step)
    }

    /// Notes what is done about what is due.
    pub fn note(&mut self, (step, told): (&course::Step, &Told), now: Timestamp) {
        let Some(errand) = self.errand.take() else { return };
        self.errand = match step {
            course::Step::Wait(Wait::ForPause { .. }) => Some(errand),
            course::Step::Wait(wait) => Some(errand.waiting(wait, now)),
            course::Step::Begin { instance, attempt } => {
                let (instance, attempt) = (Some(instance.clone()), *attempt);
                Some(Errand { instance, attempt, begun: false, waits: None, ..errand })
            }
            course::Step::Follow => {
                Some(Errand { begun: errand.begun || told.begun, waits: None, ..errand })
            }
            course::Step::Anew { attempt, lost, pause } => {
                let waits = Some(format!("begun anew in {} s, because {lost}", pause.as_secs()));
                let attempt = *attempt;
                Some(Errand { attempt, since: now, instance: None, begun: false, waits, ..errand })
            }
            course::Step::Complete => {
                self.last = Some(errand.ended(told, now, None));
                None
            }
            course::Step::Fail(why) => {
                self.last = Some(errand.ended(told, now, Some(why.clone())));
                None
            }
        };
    }
}

impl Book {
    pub fn page(&self, key: &str) -> Option<&Page> {
        self.0.get(key)
    }

    pub fn open(&mut self, key: &str) -> &mut Page {
        self.0.entry(key.to_owned()).or_default()
    }

    /// Forgets schedules that are not declared any more.
    pub fn keep_only(&mut self, planned: &[Planned]) {
        self.0.retain(|key, _| planned.iter().any(|one| one.key() == *key));
    }

    /// Nobody was there to do anything: that time does not count.
    pub fn wake(&mut self, now: Timestamp) {
        let waiting = self.0.values_mut().filter_map(|page| page.errand.as_mut());
        waiting.for_each(|errand| errand.since = now);
    }

    /// What of the same kind comes before this one and is not over.
    pub fn behind(&self, planned: &Planned) -> Option<String> {
        let (own, noun) = (planned.key(), planned.order.noun());
        let place = (self.page(&own)?.errand.as_ref()?.place(), own.as_str());
        let others = self.0.iter().filter(|(key, _)| **key != own);
        let others = others.filter(|(key, _)| key.split_once('/').is_some_and(|it| it.0 == noun));
        let before = others.filter_map(|(key, page)| {
            let errand = page.errand.as_ref()?;
            let theirs = (errand.place(), key.as_str());
            (theirs < place).then_some((theirs, &errand.name))
        });
        before.min().map(|(_, name)| format!("{noun} {name}"))
    }

    /// All that are declared, as people see them.
    pub fn views(&self, planned: &[Planned], now: Timestamp) -> Vec<ScheduleView> {
        let view = |one: &Planned| {
            let page = self.page(&one.key()).cloned().unwrap_or_default();
            let suspended = one.begins == Begins::Suspended;
            let is_over = one.begins == Begins::Once
                && page.last.as_ref().is_some_and(|last| last.failure.is_none());
            let due = page.checked.and_then(|checked| one.schedule.after(checked));
            let next = due.filter(|due| *due > now).or_else(|| one.schedule.after(now));
            ScheduleView {
                kind: one.order.noun().to_owned(),
                name: one.name.clone(),
                schedule: one.written.clone(),
                suspended,
                next: next.filter(|_| !suspended && !is_over),
                errand: page.errand,
                last: page.last,
            }
        };
        planned.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests;
