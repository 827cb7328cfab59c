//! Keeps the agents of a cluster at the program of this operator, and their PostgreSQL running.
//!
//! Never ends a pod for it, and never gives it to two agents of a cluster at a time.

mod known;

use super::calls;
use super::manifests::Blueprint;
use super::observe::{Seen, is_ready};
use super::wanted::Wanted;
use crate::run::Context;
use crate::settings::AgentUpdates;
use futures_util::future::join_all;
use known::{Known, Said};
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_agent::http::file::Opened;
use pgherd_agent::http::refusal::Outcome;
use pgherd_agent::program::{self, RUNNING};
use pgherd_api::agent::{Status, names};
use pgherd_core::fleet::{self, agents};
use pgherd_core::names::InstanceName;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::{info, warn};

const ASK_WITHIN: Duration = Duration::from_secs(2);
const GIVE_WITHIN: Duration = Duration::from_secs(30);
/// Until an agent that was given a program can be heard with it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long an operator leads before it gives its program to anybody: while operators are replaced,
/// the lead may go to one of the old ones for a moment, and agents would become its program and
/// another one again.
const SETTLED_AFTER: Duration = Duration::from_mins(1);
/// While somebody does not answer, or refuses.
const LOOK_LATER: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum GiveError {
    #[error("reading this program")]
    Read(#[source] io::Error),
    #[error("giving this program to an agent")]
    Send(#[source] CallError),
}

/// This operator's program, and what is known of those of all agents.
pub struct Programs {
    own: String,
    /// When the lead is settled; none where nobody is elected.
    settled: Option<Instant>,
    known: Mutex<BTreeMap<(String, InstanceName), Known>>,
}

/// What goes on with the agents of one cluster, for people.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    /// What is to be told as the reason, while there is something to do.
    pub(super) reason: Option<String>,
    /// When to look at it again.
    pub(super) look_again: Option<Duration>,
}

/// An agent that can be called.
struct Callee {
    key: (String, InstanceName),
    pod: String,
    endpoint: Endpoint,
}

impl Programs {
    /// Reads what this process runs.
    pub fn of_this_process() -> io::Result<Self> {
        let own = program::digest(Path::new(RUNNING))?;
        info!(digest = %own, "this operator's program");
        Ok(Self { own, settled: None, known: Mutex::default() })
    }

    /// The same for an operator that leads since now.
    pub fn leading(self, now: Instant) -> Self {
        Self { settled: Some(now + SETTLED_AFTER), ..self }
    }

    /// For how long nobody is given this program yet.
    fn unsettled(&self, now: Instant) -> Option<Duration> {
        let left = self.settled?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// The SHA-256 of this operator's program.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// Works with what is known of one agent's pod.
    fn with<T>(
        &self,
        (key, pod): (&(String, InstanceName), &str),
        work: impl FnOnce(&mut Known) -> T,
    ) -> T {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(key.clone()).or_insert_with(|| Known::nothing(pod));
        if known.pod != pod {
            *known = Known::nothing(pod);
        }
        work(known)
    }
}

/// Asks those agents of which it is not known what they run, and gives one the program.
pub(super) async fn keep(
    context: &Context,
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &fleet::Plan),
    now: SystemTime,
) -> Upgrade {
    match blueprint.settings.agent_updates {
        // A pod that is replaced has it from the start.
        AgentUpdates::InPlace if plan.steps.is_empty() => {}
        AgentUpdates::InPlace | AgentUpdates::ByReplacement => return Upgrade::default(),
    }
    let unsettled = context.programs.unsettled(Instant::now());
    if unsettled.is_some() {
        return Upgrade { look_again: unsettled, ..Upgrade::default() };
    }
    let callees: Vec<Callee> =
        seen.pods.keys().filter_map(|it| callee(blueprint, seen, it)).collect();
    let programs = &context.programs;
    let agent =
        |it: &Callee| programs.with((&it.key, &it.pod), |known| known.agent(Instant::now()));
    if callees.iter().all(|callee| agent(callee) == agents::Agent::Current) {
        return Upgrade::default();
    }
    let client = match calls::client(blueprint, (seen, wanted), now) {
        Ok(client) => client,
        Err(error) => {
            warn!(cluster = blueprint.name(), error = %chain(&error), "agents are not asked");
            return Upgrade { look_again: Some(LOOK_LATER), ..Upgrade::default() };
        }
    };
    let due = callees.iter().filter(|callee| agent(callee) != agents::Agent::Current);
    join_all(due.map(|callee| ask(programs, &client, callee))).await;
    let known = callees.iter().map(|callee| (callee.key.1.clone(), agent(callee))).collect();
    let next = agents::plan(&agents::Sight {
        wishes: &wanted.wishes,
        record: seen.record.as_ref(),
        places: &seen.places,
        agents: &known,
    });
    let chosen = callees.iter().find(|callee| next.next.as_ref() == Some(&callee.key.1));
    if let Some(callee) = chosen {
        give(programs, &client, callee).await;
    }
    let is_behind = |callee: &&Callee| next.behind.contains(&callee.key.1);
    let why = callees.iter().filter(is_behind).filter_map(|callee| {
        let refusal = programs.with((&callee.key, &callee.pod), |known| known.refusal.clone())?;
        Some(format!("{} goes on with its program: {refusal}", callee.key.1))
    });
    upgrade(&next, &why.collect::<Vec<_>>(), &known)
}

fn upgrade(
    plan: &agents::Plan,
    refusals: &[String],
    known: &BTreeMap<InstanceName, agents::Agent>,
) -> Upgrade {
    let moves = plan.next.is_some() || known.values().any(|it| *it == agents::Agent::Given);
    let is_settled = known.values().all(|it| *it == agents::Agent::Current);
    let look_again = match (moves, is_settled) {
        (true, _) => Some(LOOK_AGAIN),
        (false, false) => Some(LOOK_LATER),
        (false, true) => None,
    };
    let listed: Vec<String> = plan.behind.iter().map(ToString::to_string).collect();
    let given = format!("to be given the operator's program: {}", listed.join(", "));
    let all: Vec<&str> =
        std::iter::once(given.as_str()).chain(refusals.iter().map(String::as_str)).collect();
    Upgrade { reason: (!listed.is_empty()).then(|| all.join("; ")), look_again }
}

fn callee(blueprint: &Blueprint<'_>, seen: &Seen, instance: &InstanceName) -> Option<Callee> {
    let pod = seen.pods.get(instance).filter(|pod| is_ready(pod))?;
    Some(Callee {
        key: (blueprint.namespace.to_owned(), instance.clone()),
        pod: pod.metadata.uid.clone()?,
        endpoint: calls::endpoint(seen, instance)?,
    })
}

async fn ask(programs: &Programs, client: &Client, callee: &Callee) {
    let asked = client.call::<_, Status>(&callee.endpoint, names::STATUS, &(), ASK_WITHIN).await;
    let said = match asked {
        Ok(Status { executable: Some(digest), version, .. }) if digest == programs.own => {
            info!(instance = %callee.key.1, %version, "its agent runs this operator's program");
            Said::Own
        }
        Ok(Status { executable: Some(_), .. }) => Said::Other,
        Ok(Status { executable: None, .. }) => Said::Nothing,
        Err(error) => {
            warn!(instance = %callee.key.1, error = %chain(&error), "its agent does not say what it runs");
            Said::Nothing
        }
    };
    programs.with((&callee.key, &callee.pod), |known| known.hear(said, Instant::now()));
}

async fn give(programs: &Programs, client: &Client, callee: &Callee) {
    let instance = &callee.key.1;
    info!(%instance, "its agent is given this operator's program");
    let given = send(programs, client, callee).await;
    let now = Instant::now();
    programs.with((&callee.key, &callee.pod), |known| match given {
        Ok(()) => known.give(now),
        Err(GiveError::Send(error)) if error.outcome() == Outcome::Unknown => {
            // It may have become the other one before its answer was on its way.
            info!(%instance, error = %chain(&error), "no answer to the program");
            known.give(now);
        }
        Err(error) => {
            warn!(%instance, error = %chain(&error), "the program is not taken");
            known.refuse(chain(&error).to_string(), now);
        }
    });
}

async fn send(programs: &Programs, client: &Client, callee: &Callee) -> Result<(), GiveError> {
    let own = File::open(RUNNING).and_then(Opened::whole).map_err(GiveError::Read)?;
    let name = format!("{}/{}", names::PROGRAM, programs.own);
    let sent = client.upload((&callee.endpoint, &name), own, GIVE_WITHIN).await;
    sent.map_err(GiveError::Send)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agents::Agent;
    use expect_test::expect;
    use pgherd_core::names::ClusterName;

    #[test]
    fn an_operator_that_has_only_just_begun_to_lead_gives_its_program_to_nobody() {
        let now = Instant::now();
        let alone = Programs { own: String::new(), settled: None, known: Mutex::default() };
        assert_eq!(alone.unsettled(now), None);
        let leads = alone.leading(now);
        assert_eq!(leads.unsettled(now + SETTLED_AFTER / 4), Some(SETTLED_AFTER / 4 * 3));
        assert_eq!(leads.unsettled(now + SETTLED_AFTER), None);
    }

    #[test]
    fn what_is_to_be_done_is_told_until_it_is_done() {
        let cluster = ClusterName::parse("db").unwrap();
        let instance = |serial| InstanceName::new(&cluster, serial);
        let told = |next: Option<u32>, behind: &[u32], refusals: &[&str], known: [Agent; 2]| {
            let plan = agents::Plan {
                next: next.map(instance),
                behind: behind.iter().map(|serial| instance(*serial)).collect(),
            };
            let refusals: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            let known = (1..).map(instance).zip(known).collect();
            let Upgrade { reason, look_again } = upgrade(&plan, &refusals, &known);
            format!("{} ({look_again:?})\n", reason.unwrap_or_default())
        };
        let refusal = "db-2 goes on with its program: no space";
        expect![[r#"
            to be given the operator's program: db-1, db-2 (Some(1s))
            to be given the operator's program: db-1, db-2 (Some(1s))
            to be given the operator's program: db-1, db-2; db-2 goes on with its program: no space (Some(30s))
             (Some(30s))
             (None)
        "#]]
        .assert_eq(
            &[
                told(Some(2), &[1, 2], &[], [Agent::Other; 2]),
                told(None, &[1, 2], &[], [Agent::Other, Agent::Given]),
                told(None, &[1, 2], &[refusal], [Agent::Other, Agent::Refuses]),
                told(None, &[], &[], [Agent::Current, Agent::Unknown]),
                told(None, &[], &[], [Agent::Current; 2]),
            ]
            .concat(),
        );
    }
}
