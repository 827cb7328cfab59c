//! Tells why a cluster does not do what one would expect of it, and what to do about it.
//!
//! Never guesses a cause: each line is a fact that some agent or the supervisor stated.

use crate::control::{AgentView, InstanceView, View};
use crate::hint;
use crate::schedule;
use crate::summary;
use pgherd_api::agent::Role;
use pgherd_api::console::{self, COMMITS_WAIT, Fact, no_primary};
use pgherd_core::wishes::{Shall, Wish};
use serde::Serialize;

/// Everything that stands in the way, most important first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub sentence: String,
    pub facts: Vec<Fact>,
}

pub fn explain(view: &View) -> Explanation {
    let mut facts = cluster_facts(view);
    for instance in &view.instances {
        facts.extend(instance_fact(view, instance));
    }
    let addressed = |text: &mut String| *text = hint::addressed(text, &view.folder);
    for fact in &mut facts {
        addressed(&mut fact.what);
        fact.fix.as_mut().map(addressed);
    }
    Explanation { sentence: sentence(view, facts.len()), facts }
}

fn sentence(view: &View, facts: usize) -> String {
    let name = &view.cluster;
    match (view.shall, view.primary(), &view.record) {
        (Shall::Rest, ..) => format!("cluster {name} is being stopped"),
        (Shall::Run, Some(primary), _) if facts == 0 => {
            format!("{} serves writes, and nothing is waiting", primary.name)
        }
        (Shall::Run, Some(primary), _) if summary::waiting(view).is_some() => {
            format!("{} is the primary, and {COMMITS_WAIT}", primary.name)
        }
        (Shall::Run, Some(primary), _) => {
            format!("{} serves writes, and something is waiting", primary.name)
        }
        (Shall::Run, None, None) => format!("cluster {name} has not been initialised yet"),
        (Shall::Run, None, Some(record)) => no_primary(record),
    }
}

fn cluster_facts(view: &View) -> Vec<Fact> {
    let about = || "cluster".to_owned();
    let mut facts = Vec::new();
    if view.paused {
        let what = "failover, restart and rejoin are paused".to_owned();
        facts.push(Fact { about: about(), what, fix: Some("pgherd local resume".to_owned()) });
    }
    if let Some(commits) = summary::waiting(view) {
        facts.push(Fact { about: about(), what: console::commits(commits), fix: None });
    }
    for what in summary::archive_complaints(view) {
        facts.push(Fact { about: about(), what, fix: None });
    }
    for view in &view.schedules {
        let told = schedule::complaint(view).into_iter().chain(schedule::hindrance(view));
        facts.extend(told.map(|what| Fact { about: about(), what, fix: None }));
    }
    for cut in &view.cuts {
        let to = cut.to.as_ref().map_or_else(|| "the record".to_owned(), ToString::to_string);
        let what = format!("nothing that {} sends reaches {to}", cut.from);
        facts.push(Fact { about: about(), what, fix: Some("pgherd local heal".to_owned()) });
    }
    facts
}

/// What keeps an instance from doing what it is for; nothing when it does.
fn instance_fact(view: &View, instance: &InstanceView) -> Option<Fact> {
    if summary::is_ready(view, instance) {
        return None;
    }
    let summary = summary::of(view, instance);
    let number = instance.name.serial();
    let fix = match (&instance.agent, instance.wish) {
        (_, Wish::Lost | Wish::Stopped) => Some(format!("pgherd local start {number}")),
        _ if instance.fenced => Some(format!("pgherd local unfence {number}")),
        _ if instance.frozen > 0 => Some(format!("pgherd local thaw {number}")),
        (AgentView::Restarting { .. }, _) => Some(format!("pgherd local logs {number}")),
        (
            AgentView::Running { .. }
            | AgentView::Frozen { .. }
            | AgentView::Ending { .. }
            | AgentView::Absent,
            Wish::Running | Wish::Leaving,
        ) => None,
    };
    let server = instance.status.as_ref().map(|status| match status.role {
        Role::Primary => "open for writing",
        Role::Standby => "a standby",
        Role::Starting => "starting",
        Role::Stopped => "stopped",
        Role::Absent => "without data",
        Role::Unknown => "not looked at yet",
    });
    let server = server.map(|server| format!(" (its PostgreSQL is {server})")).unwrap_or_default();
    let what = format!("{}: {}{server}", summary.state, summary.reason);
    Some(Fact { about: instance.name.to_string(), what, fix })
}
