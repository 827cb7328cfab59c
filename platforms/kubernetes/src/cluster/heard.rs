//! Asks agents what Kubernetes does not know: the primary always, whether clients can write and how
//! archiving goes; all of them, whether they have taken up the newest settings and started again.
//!
//! Never asks again what is known, and never takes silence for an answer.

mod known;

pub use known::TakenUp;

use super::calls;
use super::manifests::Blueprint;
use super::observe::{Seen, is_ready};
use super::report::NOT_ENOUGH_SPACE;
use super::wanted::Wanted;
use crate::hindrance;
use crate::run::Context;
use crate::space::{self, Full};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use known::{Answers, Asked};
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_api::agent::{ArchiveStatus, RecoveryReport, Role, Status, names};
use pgherd_core::fleet::commits::{self, Commits};
use pgherd_core::fleet::settings::{self, Next};
use pgherd_core::fleet::{Plan, Verdict};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use pgherd_core::seen::Gate;
use pgherd_core::wishes::Shall;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use tracing::debug;

/// The status waits for it.
const WITHIN: Duration = Duration::from_secs(1);
/// Until agents have taken up what they were told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Until clients can write.
const LOOK_AGAIN_SOON: Duration = Duration::from_secs(2);
/// While all is well. What the record tells, too, wakes its cluster at once.
const LISTEN: Duration = Duration::from_secs(30);
/// Until somebody makes room.
const LOOK_LATER: Duration = Duration::from_secs(10);
/// For how long nobody answers by accident.
const UNREACHED_AFTER: Duration = Duration::from_secs(30);

/// What agents said, as far as it is worth telling.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Who has not taken up the newest settings.
    pub(super) late: Vec<InstanceName>,
    /// Who was asked for them and does not say.
    pub(super) silent: Vec<InstanceName>,
    /// Which settings wait for a restart of whom.
    pub(super) pending: BTreeMap<InstanceName, Vec<String>>,
    /// What of the settings the primary leaves out, and why.
    pub(super) refused: Vec<String>,
    /// Whose volumes are full.
    pub(super) full: Full,
    /// Who is to start again as it was asked to, or is not up again yet.
    pub(super) restarting: Vec<InstanceName>,
    /// The number of the last restart that each has begun.
    pub(super) restarted: BTreeMap<InstanceName, u64>,
    /// Nobody who serves has answered for too long.
    pub(super) unreached: bool,
    /// What the primary says of itself; none if it says nothing.
    pub(super) primary: Option<Primary>,
    pub(super) archive: Archive,
    /// How far the first instance is with the backup that it restores.
    pub(super) recovery: Option<RecoveryReport>,
}

/// How archiving goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Archive {
    /// There is no archive.
    #[default]
    None,
    /// The primary does not say.
    Unknown,
    Known(Box<ArchiveStatus>),
}

/// What clients get of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Primary {
    Serves,
    /// It holds the office, and lets nobody in: what it does, and why.
    IsNotOpen {
        name: InstanceName,
        doing: String,
        why: String,
    },
    /// Commits wait: of so many that have to confirm them so many are there.
    Waits {
        needed: usize,
        there: usize,
    },
}

/// Whether an instance serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Ready,
    Unready,
}

pub(super) async fn hear(
    context: &Context,
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    now: SystemTime,
) -> Heard {
    let uid = blueprint.cluster.metadata.uid.as_deref().unwrap_or_default();
    let asked = Asked::of(&wanted.specification.intent);
    let is_so = context.taken_up.is_so(uid, &asked);
    let doubt = if is_so { Doubt::None } else { Doubt::Some };
    let whom = |doubt| due(blueprint, (seen, wanted), (doubt, Timestamp::now()));
    let mut due = whom(doubt);
    let archiving = blueprint.checked.postgres.archive.is_some();
    let nothing = || Heard {
        archive: if archiving { Archive::Unknown } else { Archive::None },
        ..Heard::default()
    };
    if seen.record.is_none() {
        let recovery = recovered(blueprint, (seen, wanted), now).await;
        return Heard { recovery, ..nothing() };
    }
    let Some(record) = seen.record.as_ref().filter(|_| !due.is_empty()) else {
        return nothing();
    };
    let client = match calls::client(blueprint, (seen, wanted), now) {
        Ok(client) => client,
        Err(error) => {
            debug!(cluster = blueprint.name(), error = %chain(&error), "agents are not asked");
            return nothing();
        }
    };
    let mut said = ask_all(&client, seen, &due).await;
    if doubt == Doubt::None && said.iter().all(|(.., said)| said.is_none()) {
        // Only one was asked, perhaps: that nobody answers is to be seen from all.
        let others = whom(Doubt::Some).into_iter().filter(|one| !due.contains(one));
        let others: Vec<_> = others.collect();
        said.extend(ask_all(&client, seen, &others).await);
        due.extend(others);
    }
    let archived = archived(&said, record).filter(|_| archiving);
    let mut heard = gather(said.into_iter(), &asked, record);
    let all_serve = due.len() == wanted.wishes.belonging().len()
        && due.iter().all(|(_, service)| *service == Service::Ready);
    if all_serve && heard.awaits_nobody() {
        context.taken_up.note(uid, asked);
    }
    let unheard = context.taken_up.unheard(uid, heard.answers(), Instant::now());
    heard.unreached = unheard >= UNREACHED_AFTER;
    heard.archive = archived.map_or_else(|| nothing().archive, |it| Archive::Known(Box::new(it)));
    heard
}

/// Why instances that serve are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// It is not known that they have done what they were asked for.
    Some,
}

/// Whom to ask: the primary; who serves, while there is doubt or a disk was full; and who has not
/// been ready for longer than it takes to begin.
fn due(
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    (doubt, now): (Doubt, Timestamp),
) -> Vec<(InstanceName, Service)> {
    let Some(record) = seen.record.as_ref().filter(|_| wanted.shall == Shall::Run) else {
        return Vec::new();
    };
    let status = blueprint.cluster.status.as_ref();
    let was_full = status.and_then(|it| it.phase.as_deref()) == Some(NOT_ENOUGH_SPACE);
    let is_fenced = |name: &InstanceName| wanted.specification.intent.is_fenced(name);
    let belonging = wanted.wishes.belonging().into_iter();
    let due = belonging.filter_map(|name| {
        let pod = seen.pods.get(&name)?;
        let is_going = pod.metadata.deletion_timestamp.is_some();
        let service = if is_ready(pod) { Service::Ready } else { Service::Unready };
        let is_due = match service {
            // Of one that shall be down it is known why nobody can write.
            _ if name == record.holder.instance => !is_fenced(&name),
            Service::Ready => was_full || doubt == Doubt::Some,
            Service::Unready => has_begun_long_ago(pod, now),
        };
        (!is_going && is_due).then_some((name, service))
    });
    due.collect()
}

fn has_begun_long_ago(pod: &Pod, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    started.is_some_and(|started| hindrance::is_slow(started, now))
}

type Said = (InstanceName, Service, Option<Status>);

async fn ask_all(client: &Client, seen: &Seen, due: &[(InstanceName, Service)]) -> Vec<Said> {
    let said = due.iter().map(|(name, service)| async {
        let endpoint = calls::endpoint(seen, name)?;
        Some((name.clone(), *service, ask(client, &endpoint, name).await))
    });
    join_all(said).await.into_iter().flatten().collect()
}

async fn ask(client: &Client, endpoint: &Endpoint, name: &InstanceName) -> Option<Status> {
    let said = client.call::<_, Status>(endpoint, names::STATUS, &(), WITHIN).await;
    said.inspect_err(|error| debug!(instance = %name, error = %chain(error), "it says nothing"))
        .ok()
}

/// What the primary says of its archive.
fn archived(said: &[Said], record: &Record) -> Option<ArchiveStatus> {
    let (.., said) = said.iter().find(|(name, ..)| *name == record.holder.instance)?;
    said.as_ref()?.archive.clone()
}

/// What the first instance says of the backup that it restores.
async fn recovered(
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    now: SystemTime,
) -> Option<RecoveryReport> {
    blueprint.checked.postgres.recovery.as_ref()?;
    let first = wanted.specification.intent.first.as_ref()?;
    let client = calls::client(blueprint, (seen, wanted), now).ok()?;
    ask(&client, &calls::endpoint(seen, first)?, first).await?.recovery
}

fn gather(said: impl Iterator<Item = Said>, asked: &Asked, record: &Record) -> Heard {
    let configuration = asked.configuration;
    let mut heard = Heard::default();
    for (name, service, said) in said {
        let Some(said) = said else {
            if service == Service::Ready {
                heard.silent.push(name);
            }
            continue;
        };
        if name == record.holder.instance && said.holds == Some(record.epoch) {
            heard.primary = Some(primary(&name, &said));
            heard.refused.clone_from(&said.refused_settings);
        }
        let looked_at = said.pending_restart_of.unwrap_or(configuration);
        let is_late = said.configuration_done.min(looked_at) < configuration;
        if service == Service::Ready && is_late {
            heard.late.push(name.clone());
        }
        let number = asked.restart_of(&name).unwrap_or_default();
        let is_to_begin = said.restart_done < number;
        if service == Service::Ready && (is_to_begin || (number > 0 && !is_up(said.role))) {
            heard.restarting.push(name.clone());
        }
        heard.restarted.insert(name.clone(), said.restart_done);
        if let Some(full) = space::of(&said.server) {
            heard.full.insert(name.clone(), full);
        }
        if !said.pending_restart.is_empty() {
            heard.pending.insert(name, said.pending_restart);
        }
    }
    heard
}

fn primary(name: &InstanceName, said: &Status) -> Primary {
    let server = &said.server;
    if said.role != Role::Primary || server.gate == Some(Gate::Closed) {
        let (name, doing) = (name.clone(), said.verdict.state.clone());
        return Primary::IsNotOpen { name, doing, why: said.verdict.reason.clone() };
    }
    let rule = server.obeys.as_ref().and_then(|obeyed| obeyed.pair.as_ref());
    match commits::commits(rule, |name| commits::streams(&server.senders, name)) {
        Commits::Waiting { needed, there } => Primary::Waits { needed, there },
        Commits::Alone | Commits::Unconfirmed | Commits::Confirmed { .. } => Primary::Serves,
    }
}

fn is_up(role: Role) -> bool {
    match role {
        Role::Primary | Role::Standby => true,
        Role::Starting | Role::Stopped | Role::Absent | Role::Unknown => false,
    }
}

impl Heard {
    /// All who were asked have said that they did all they were asked for.
    fn awaits_nobody(&self) -> bool {
        let has_all = self.late.is_empty() && self.silent.is_empty() && self.pending.is_empty();
        has_all && self.full.is_empty() && self.restarting.is_empty()
    }

    fn answers(&self) -> Answers {
        let is_mute = !self.silent.is_empty() && self.restarted.is_empty();
        if is_mute { Answers::None } else { Answers::Some }
    }

    /// How the primary is to take up what waits for a restart, once all have taken up the rest.
    pub(super) fn next(
        &self,
        blueprint: &Blueprint<'_>,
        (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    ) -> Next {
        let has_all = self.late.is_empty() && self.silent.is_empty();
        let is_well = has_all && plan.verdict == Verdict::Healthy;
        let Some(record) = seen.record.as_ref().filter(|_| is_well) else {
            return Next::Nothing;
        };
        let restarted = self.restarted.get(&record.holder.instance);
        settings::next(&settings::Sight {
            intent: &wanted.specification.intent,
            record,
            pending: &self.pending.keys().cloned().collect(),
            restarted: restarted.copied().unwrap_or_default(),
            primary_update: blueprint.primary_update(),
        })
    }

    /// When to ask again; none while there is nothing to wait for.
    pub(super) fn look_again(&self) -> Option<Duration> {
        let waits = [self.silent.is_empty(), self.full.is_empty(), self.pending.is_empty()];
        if !self.late.is_empty() || !self.restarting.is_empty() || self.recovery.is_some() {
            return Some(LOOK_AGAIN);
        }
        match self.primary {
            Some(Primary::IsNotOpen { .. } | Primary::Waits { .. }) => Some(LOOK_AGAIN_SOON),
            Some(Primary::Serves) | None if waits.contains(&false) => Some(LOOK_LATER),
            Some(Primary::Serves) if self.archive.is_failing() => Some(LOOK_LATER),
            Some(Primary::Serves) => Some(LISTEN),
            None => None,
        }
    }
}

impl Archive {
    fn is_failing(&self) -> bool {
        match self {
            Self::Known(status) => status.failing.is_some() || status.alarm.is_some(),
            Self::None | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::intent::Restart;
    use pgherd_core::names::ClusterName;
    use pgherd_core::record::{Holder, Pair, WriteId};
    use pgherd_core::seen::{Obeyed, Sender};
    use pgherd_core::units::{Epoch, Lsn, SystemId, Timeline};
    use serde_json::json;

    fn name(serial: u32) -> InstanceName {
        InstanceName::new(&ClusterName::parse("db").unwrap(), serial)
    }

    /// The first holds the office.
    fn record() -> Record {
        let holder = Holder { instance: name(1), volume: 1, incarnation: 1 };
        Record::first(holder, SystemId(7), Timeline(1), WriteId::default())
    }

    /// Runs with this configuration, and looked at what waits for a restart under that one.
    fn status(serial: u32, done: u64, looked_at: Option<u64>) -> Status {
        let at = "2027-01-15T08:00:00Z";
        let verdict = json!({"state": "serving", "reason": "", "because": null, "since": at});
        let status = json!({
            "cluster": "db", "me": {"instance": name(serial), "volume": 1, "incarnation": 1},
            "at": at, "started": at, "pid": 1, "version": "0.1.0", "role": "primary",
            "verdict": verdict, "known": {"epoch": 1, "promise": 1}, "server": {},
            "specification": 1, "switchoverDone": 0, "restartDone": 3, "configurationDone": done,
            "pendingRestartOf": looked_at, "happenings": [],
        });
        serde_json::from_value(status).unwrap()
    }

    fn told(said: Vec<(u32, Service, Option<Status>)>) -> String {
        let said = said.into_iter().map(|(serial, service, said)| (name(serial), service, said));
        let restart = Restart { number: 3, instances: [name(1), name(2)].into() };
        let asked = Asked { configuration: 7, restart: Some(restart) };
        let heard = gather(said, &asked, &record());
        let listed = |names: &[InstanceName]| {
            names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let full: Vec<InstanceName> = heard.full.keys().cloned().collect();
        let (late, full, pending) = (listed(&heard.late), listed(&full), &heard.pending);
        let pending: Vec<_> = pending.iter().map(|(name, all)| format!("{name} {all:?}")).collect();
        let again = heard.look_again();
        let told = format!("late [{late}] full [{full}] pending [{}]", pending.join(" "));
        format!("{told} restarting [{}] {again:?}\n", listed(&heard.restarting))
    }

    #[test]
    fn who_was_asked_to_start_again_is_told_until_it_is_up() {
        let (ready, unready) = (Service::Ready, Service::Unready);
        let of = |serial, restart_done, role| {
            let known = status(serial, 7, Some(7));
            Some(Status { restart_done, role, ..known })
        };
        let told = [
            told(vec![(1, ready, of(1, 2, Role::Primary)), (2, ready, of(2, 3, Role::Standby))]),
            told(vec![(1, ready, of(1, 3, Role::Stopped)), (2, ready, of(2, 3, Role::Standby))]),
            told(vec![(1, ready, of(1, 3, Role::Primary)), (3, ready, of(3, 0, Role::Starting))]),
            told(vec![(1, unready, of(1, 2, Role::Stopped))]),
        ];
        expect![[r"
            late [] full [] pending [] restarting [db-1] Some(1s)
            late [] full [] pending [] restarting [db-1] Some(1s)
            late [] full [] pending [] restarting [] None
            late [] full [] pending [] restarting [] None
        "]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn who_has_taken_up_everything_is_not_asked_again() {
        let (ready, unready) = (Service::Ready, Service::Unready);
        let mut waits = status(1, 7, Some(7));
        waits.pending_restart = vec!["max_connections".to_owned()];
        let mut full = status(1, 6, Some(6));
        full.server.disk_full = true;
        let told = [
            told(vec![(1, ready, Some(status(1, 7, Some(7)))), (2, unready, None)]),
            told(vec![(1, ready, Some(status(1, 6, Some(6)))), (2, ready, None)]),
            told(vec![(1, ready, Some(status(1, 7, Some(7)))), (2, ready, None)]),
            // What waits for a restart is that of the settings before.
            told(vec![(1, ready, Some(status(1, 7, Some(6))))]),
            // An older agent does not say.
            told(vec![(1, ready, Some(status(1, 7, None)))]),
            told(vec![(1, ready, Some(waits))]),
            told(vec![(1, unready, Some(full))]),
        ];
        expect![[r#"
            late [] full [] pending [] restarting [] None
            late [db-1] full [] pending [] restarting [] Some(1s)
            late [] full [] pending [] restarting [] Some(10s)
            late [db-1] full [] pending [] restarting [] Some(1s)
            late [] full [] pending [] restarting [] None
            late [] full [] pending [db-1 ["max_connections"]] restarting [] Some(10s)
            late [] full [db-1] pending [] restarting [] Some(10s)
        "#]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn whether_clients_can_write_is_for_the_primary_to_say() {
        let holds = |epoch| Status { holds: Some(Epoch(epoch)), ..status(1, 7, Some(7)) };
        let rule = |needed| Obeyed {
            pair: Some(Pair { voters: [name(2), name(3)].into(), acks: needed }),
            since: Lsn(0),
        };
        let mut serves = holds(1);
        serves.server.obeys = Some(rule(1));
        let sender = |streaming| Sender { flushed: Lsn(0), streaming };
        serves.server.senders = [(name(2), sender(true)), (name(3), sender(false))].into();
        let mut waits = serves.clone();
        waits.server.obeys = Some(rule(2));
        let mut closed = serves.clone();
        closed.server.gate = Some(Gate::Closed);
        "opening".clone_into(&mut closed.verdict.state);
        "nobody has confirmed yet".clone_into(&mut closed.verdict.reason);
        let down = Status { role: Role::Stopped, ..holds(1) };
        let told = [serves, waits, closed, down, holds(0), status(1, 7, Some(7))].map(|said| {
            let said = [(name(1), Service::Ready, Some(said))].into_iter();
            let heard = gather(said, &Asked { configuration: 7, restart: None }, &record());
            format!("{:?} {:?}\n", heard.primary, heard.look_again())
                .replace("InstanceName { cluster: ClusterName(\"db\"), ", "{ ")
        });
        expect![[r#"
            Some(Serves) Some(30s)
            Some(Waits { needed: 2, there: 1 }) Some(2s)
            Some(IsNotOpen { name: { serial: 1 }, doing: "opening", why: "nobody has confirmed yet" }) Some(2s)
            Some(IsNotOpen { name: { serial: 1 }, doing: "serving", why: "" }) Some(2s)
            None None
            None None
        "#]].assert_eq(&told.concat());
    }
}
