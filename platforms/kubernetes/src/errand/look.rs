//! Gathers what the next step is decided from: the cluster, its agents and the report of who does it.
//!
//! Never asks more agents than it needs to: work that goes on concerns one alone.

use super::{Archive, Work, order, status};
use crate::cluster::reach::{self, Reach, Said};
use crate::run::Context;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use pgherd_api::agent::Status;
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_api::errand::Going;
use pgherd_core::backup::course::{Before, Heard, Home, Sight, Stage};
use pgherd_core::backup::taker::{Candidate, NoTaker, Prefer, named, taker};
use pgherd_core::names::InstanceName;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Looked<E: Work> {
    pub(super) cluster: Option<Arc<Cluster>>,
    /// None: the cluster does not exist, or its manifest is refused.
    pub(super) reach: Option<Reach>,
    behind: Option<String>,
    candidates: Vec<Candidate>,
    prefer: Prefer,
    /// Who alone may take it.
    named: Option<InstanceName>,
    /// Why the log is not archived.
    failing: Option<String>,
    attempt: u32,
    stage: Known,
    /// What the agent says that does it.
    pub(super) report: Option<E::Report>,
}

enum Known {
    Waiting { turn: Duration },
    Begun { silent: Option<Duration>, is_gone: bool, at: Before },
}

pub(super) async fn look<E: Work>(context: &Context, errand: &E, now: Timestamp) -> Looked<E> {
    let namespace = errand.meta().namespace.as_deref().unwrap_or_default();
    let named = ObjectRef::new(errand.cluster()).within(namespace);
    let cluster = context.clusters.get(&named);
    let reach = cluster.as_deref().and_then(|cluster| reach::reach(context, cluster));
    let all = E::store(context).state();
    let behind = order::behind(errand, all.iter().map(|it| &**it));
    let behind = behind.map(|name| format!("{} {name}", E::SINGULAR));
    let usual = reach.as_ref().map(|reach| reach.checked.backup_target).unwrap_or_default();
    let prefer = match errand.target().unwrap_or(usual) {
        BackupTarget::Primary => Prefer::Primary,
        BackupTarget::PreferStandby => Prefer::Standby,
    };
    let (attempt, before) = (order::attempt(errand), errand.going());
    let mut looked = Looked {
        cluster,
        reach,
        behind,
        candidates: Vec::new(),
        prefer,
        named: errand.instance(),
        failing: None,
        attempt,
        stage: Known::Waiting { turn: status::turn(&before, now) },
        report: None,
    };
    if let Some(instance) = before.taker() {
        looked.hear(context, errand, (&instance, &before)).await;
    }
    let asks_nobody = match &looked.stage {
        Known::Waiting { .. } => looked.behind.is_some(),
        // What was never heard may be asked of another one.
        Known::Begun { silent, at, .. } => {
            looked.report.is_some() || silent.is_some() || *at == Before::End
        }
    };
    if !asks_nobody {
        looked.consider().await;
    }
    looked
}

impl<E: Work> Looked<E> {
    async fn hear(
        &mut self,
        context: &Context,
        errand: &E,
        (instance, before): (&InstanceName, &Going),
    ) {
        let uid = errand.meta().uid.as_deref().unwrap_or_default();
        let at = if before.started_at.is_some() { Before::End } else { Before::Begin };
        let is_gone = self.reach.as_ref().is_some_and(|reach| !reach.belongs(instance));
        let named = E::named(order::name(errand.meta(), self.attempt));
        let said: Said<Option<E::Report>> = match &self.reach {
            Some(reach) => reach.ask((instance, E::READ), &named, WITHIN).await,
            None => Said::Silent,
        };
        let silent = match said {
            Said::Answered(report) => {
                context.silences.forget(uid);
                self.report = report;
                None
            }
            Said::Refused(_) | Said::Silent => Some(context.silences.lasts(uid, Instant::now())),
        };
        self.stage = Known::Begun { silent, is_gone, at };
    }

    /// Asks everybody how they are.
    async fn consider(&mut self) {
        let Some(reach) = &self.reach else { return };
        let statuses = reach.statuses().await;
        self.candidates = statuses.values().map(Status::candidate).collect();
        let archiving = statuses.values().find_map(|status| status.archive.as_ref());
        let failing = archiving.and_then(|archive| archive.failing.as_ref());
        self.failing = failing.map(|failing| failing.why.clone());
    }

    pub(super) fn sight(&self) -> Sight<'_> {
        Sight { behind: self.behind.as_deref(), home: self.home(), stage: self.stage() }
    }

    fn home(&self) -> Home<'_> {
        let Some(reach) = &self.reach else {
            return if self.cluster.is_some() { Home::Refused } else { Home::Missing };
        };
        if reach.checked.postgres.archive.is_none() {
            Home::WithoutArchive
        } else if reach.is_asleep() {
            Home::Asleep
        } else {
            let taker = match &self.named {
                Some(name) if !reach.belongs(name) => Err(NoTaker::Stranger { name: name.clone() }),
                Some(name) => named(name, &self.candidates),
                None => taker(self.prefer, &self.candidates),
            };
            Home::There { taker, failing: self.failing.as_deref().filter(|_| E::NEEDS_LOG) }
        }
    }

    fn stage(&self) -> Stage<'_> {
        let attempt = self.attempt;
        match &self.stage {
            Known::Waiting { turn } => Stage::Waiting { turn: *turn, attempt },
            Known::Begun { silent, is_gone, at } => {
                let heard = match (&self.report, silent) {
                    (Some(report), _) => E::heard(report),
                    (None, _) if *is_gone => Heard::Gone,
                    (None, Some(since)) => Heard::Silent { since: *since },
                    (None, None) => Heard::Nothing(*at),
                };
                Stage::Begun { attempt, heard }
            }
        }
    }

    /// What is written before an agent is asked.
    pub(super) fn begun(
        &self,
        errand: &E,
        (before, instance, attempt): (E::Status, &InstanceName, u32),
        now: Timestamp,
    ) -> E::Status {
        let store = self.cluster.as_deref().and_then(|cluster| Some(cluster.archive()?.1));
        let told = self.reach.as_ref().and_then(|reach| reach.checked.postgres.archive.as_ref());
        let pod = self.reach.as_ref().and_then(|reach| reach.pod(instance)).map(|pod| &**pod);
        let instance = status::instance((instance, pod), order::name(errand.meta(), attempt));
        E::addressed(status::begun(before, instance, now), &Archive { store, told })
    }
}
