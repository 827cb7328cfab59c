//! Has agents take what is due by a schedule, beside the supervisor's loop.
//!
//! Never asks one before it is kept what is asked, and never decides: `schedule` and `course` of the core
//! do.

mod said;

use super::Supervisor;
use super::agents::Inquiry;
use super::startup::SCHEDULES;
use crate::schedule::{Book, Errand, ScheduleView, Told};
use crate::store::Store;
use jiff::{SignedDuration, Timestamp};
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_api::agent::Status;
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_api::schedule::planned::{Order, Planned};
use pgherd_core::backup::course::{self, Heard, Home, Sight, Stage, Step};
use pgherd_core::backup::schedule;
use pgherd_core::backup::taker::{Candidate, NoTaker, Prefer, named, taker};
use pgherd_core::names::InstanceName;
use pgherd_core::units::Moment;
use pgherd_core::wishes::Shall;
use said::{Report, Said};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// A clock may jump, and a machine sleep.
const QUIET: Duration = Duration::from_secs(30);
/// While something is due.
const FOLLOW: Duration = Duration::from_secs(1);

/// What is to be known of the cluster.
#[derive(Debug, Clone, PartialEq)]
struct Around {
    /// None: there is no manifest that is understood.
    planned: Option<Vec<Planned>>,
    archive: bool,
    usual: BackupTarget,
    shall: Shall,
    instances: BTreeSet<InstanceName>,
    /// Those that run.
    agents: BTreeMap<InstanceName, Endpoint>,
}

/// The supervisor's side: it says what there is, and hears how it goes.
pub(super) struct Schedules {
    around: watch::Sender<Around>,
    book: watch::Receiver<Book>,
}

/// Keeps to the schedules.
pub(super) struct Keeper {
    client: Arc<Client>,
    store: Store,
    book: Book,
    around: watch::Receiver<Around>,
    told: watch::Sender<Book>,
    /// Since when whoever was asked has not been heard.
    silences: BTreeMap<String, Instant>,
}

impl Supervisor {
    pub(super) fn tell_schedules(&self) {
        let kept = self.manifest.as_ref();
        let around = Around {
            planned: kept.map(|kept| kept.schedules.clone()),
            archive: self.has_archive(),
            usual: kept.map(|kept| kept.checked.backup_target).unwrap_or_default(),
            // Nothing is due of a cluster that is not there yet, however long a restore takes.
            shall: if self.record.is_some() { self.shall() } else { Shall::Rest },
            instances: self.wishes.instances.keys().cloned().collect(),
            agents: self.running().collect(),
        };
        self.schedules.around.send_if_modified(|known| {
            let is_news = *known != around;
            *known = around;
            is_news
        });
    }

    pub(super) fn schedule_views(&self) -> Vec<ScheduleView> {
        let planned = self.manifest.as_ref().map(|kept| kept.schedules.as_slice());
        self.schedules.book.borrow().views(planned.unwrap_or_default(), Timestamp::now())
    }
}

impl Keeper {
    pub(super) fn new(client: Arc<Client>, store: Store, mut book: Book) -> (Schedules, Self) {
        book.wake(Timestamp::now());
        let (around, looked) = watch::channel(Around {
            planned: None,
            archive: false,
            usual: BackupTarget::default(),
            shall: Shall::Rest,
            instances: BTreeSet::new(),
            agents: BTreeMap::new(),
        });
        let (told, heard) = watch::channel(book.clone());
        let keeper = Self { client, store, book, around: looked, told, silences: BTreeMap::new() };
        (Schedules { around, book: heard }, keeper)
    }

    /// For as long as the supervisor lives.
    pub(super) async fn run(mut self) {
        loop {
            let around = self.around.borrow_and_update().clone();
            let wait = self.round(&around).await;
            tokio::select! {
                changed = self.around.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep(wait) => {}
            }
        }
    }

    /// Looks at all of them once; returns when to look again.
    async fn round(&mut self, around: &Around) -> Duration {
        let (Some(planned), Shall::Run) = (&around.planned, around.shall) else { return QUIET };
        self.change(|book| book.keep_only(planned));
        let mut wait = QUIET;
        for one in planned {
            wait = wait.min(self.look_at_clock(one, Timestamp::now()));
        }
        for one in planned {
            if let Some(errand) = self.errand(one) {
                self.go(one, &errand, around).await;
                wait = wait.min(FOLLOW);
            }
        }
        wait
    }

    fn errand(&self, one: &Planned) -> Option<Errand> {
        self.book.page(&one.key())?.errand.clone()
    }

    /// Notes what is due.
    fn look_at_clock(&mut self, one: &Planned, now: Timestamp) -> Duration {
        let (key, mut step) = (one.key(), None);
        if !self.change(|book| step = book.open(&key).look(one, now)) {
            return FOLLOW;
        }
        match step {
            None | Some(schedule::Step::Rest | schedule::Step::WaitForLast) => QUIET,
            Some(
                schedule::Step::Note { until }
                | schedule::Step::NoteAnew { until }
                | schedule::Step::Wait { until },
            ) => left(until, now),
            Some(schedule::Step::Take { due, .. }) => {
                info!(schedule = key, %due, "it is due");
                FOLLOW
            }
        }
    }

    /// Brings one that is due a step further.
    async fn go(&mut self, one: &Planned, errand: &Errand, around: &Around) {
        let looked = self.look(one, errand, around).await;
        let step = course::next(&looked.sight(one, errand, around));
        let told = looked.report.as_ref().map(Report::told).unwrap_or_default();
        if !self.note(one, (&step, &told)) {
            return;
        }
        if let Step::Begin { instance, .. } = &step {
            self.begin(one, instance, around).await;
        }
    }

    /// Asks for it. What is not heard is read later.
    async fn begin(&mut self, one: &Planned, instance: &InstanceName, around: &Around) {
        let (Some(errand), Some(agent)) = (self.errand(one), around.agents.get(instance)) else {
            return;
        };
        match said::begin(&self.client, agent, &one.order.named(errand.session())).await {
            Said::Answered(Some(report)) => {
                self.note(one, (&Step::Follow, &report.told()));
            }
            Said::Answered(None) | Said::Silent => {}
            Said::Refused(why) => {
                let step = course::refused(why, errand.turn(Timestamp::now()));
                self.note(one, (&step, &Told::default()));
            }
        }
    }

    /// Whether it is kept.
    fn note(&mut self, one: &Planned, (step, told): (&Step, &Told)) -> bool {
        let (key, now) = (one.key(), Timestamp::now());
        let name = self.errand(one).map(|errand| errand.session()).unwrap_or_default();
        let is_kept = self.change(|book| book.open(&key).note((step, told), now));
        if !matches!(step, Step::Wait(_) | Step::Follow) {
            self.silences.remove(&key);
        }
        match step {
            _ if !is_kept => {}
            Step::Wait(_) | Step::Follow => {}
            Step::Begin { instance, attempt } => {
                info!(schedule = key, %instance, attempt, "an agent is asked for it");
            }
            Step::Anew { lost, .. } => warn!(schedule = key, name, lost, "it is begun anew"),
            Step::Complete => info!(schedule = key, name, id = told.id, "it is completed"),
            Step::Fail(why) => warn!(schedule = key, name, why, "it failed"),
        }
        is_kept
    }

    /// Changes what is known, on disk before anywhere else.
    fn change(&mut self, change: impl FnOnce(&mut Book)) -> bool {
        let mut next = self.book.clone();
        change(&mut next);
        if next == self.book {
            return true;
        }
        if let Err(error) = self.store.keep(SCHEDULES, &next) {
            warn!(error = %chain(&error), "what is due by schedules is not kept, so nothing is begun");
            return false;
        }
        self.told.send_replace(next.clone());
        self.book = next;
        true
    }

    async fn look(&mut self, one: &Planned, errand: &Errand, around: &Around) -> Looked {
        let behind = self.book.behind(one);
        let mut looked = Looked { behind, ..Looked::default() };
        if let Some(instance) = &errand.instance {
            self.hear(&mut looked, (one, errand), around.agents.get(instance)).await;
        }
        // What was never heard may be asked of another one.
        let asks_nobody = match errand.instance {
            None => looked.behind.is_some(),
            Some(_) => looked.report.is_some() || looked.silent.is_some() || errand.begun,
        };
        if !asks_nobody {
            let agents = around.agents.iter().map(|(name, at)| (name.clone(), at.clone()));
            let statuses = Inquiry::of(Arc::clone(&self.client), agents.collect()).ask().await;
            let statuses: Vec<Status> = statuses.into_values().flatten().collect();
            looked.candidates = statuses.iter().map(Status::candidate).collect();
            let archives = statuses.iter().filter_map(|status| status.archive.as_ref());
            let mut failing = archives.filter_map(|archive| archive.failing.as_ref());
            looked.failing = failing.next().map(|failing| failing.why.clone());
        }
        looked
    }

    /// How whoever was asked says that it goes.
    async fn hear(
        &mut self,
        looked: &mut Looked,
        (one, errand): (&Planned, &Errand),
        agent: Option<&Endpoint>,
    ) {
        let said = match agent {
            Some(agent) => said::read(&self.client, agent, (&one.order, errand.session())).await,
            None => Said::Silent,
        };
        match said {
            Said::Answered(report) => {
                self.silences.remove(&one.key());
                looked.report = report;
            }
            Said::Refused(_) | Said::Silent => {
                let since = *self.silences.entry(one.key()).or_insert_with(Instant::now);
                looked.silent = Some(since.elapsed());
            }
        }
    }
}

/// What the next step is decided from.
#[derive(Default)]
struct Looked {
    behind: Option<String>,
    candidates: Vec<Candidate>,
    /// Why the log is not archived.
    failing: Option<String>,
    silent: Option<Duration>,
    report: Option<Report>,
}

impl Looked {
    fn sight<'a>(&'a self, one: &Planned, errand: &Errand, around: &'a Around) -> Sight<'a> {
        let attempt = errand.attempt;
        let stage = match &errand.instance {
            None => Stage::Waiting { turn: errand.turn(Timestamp::now()), attempt },
            Some(instance) => Stage::Begun {
                attempt,
                heard: match (&self.report, self.silent) {
                    (Some(report), _) => report.heard(),
                    (None, _) if !around.instances.contains(instance) => Heard::Gone,
                    (None, Some(since)) => Heard::Silent { since },
                    (None, None) => Heard::Nothing(errand.at()),
                },
            },
        };
        Sight { behind: self.behind.as_deref(), home: self.home(one, around), stage }
    }

    fn home(&self, one: &Planned, around: &Around) -> Home<'_> {
        if !around.archive {
            return Home::WithoutArchive;
        }
        let prefer = match one.target.unwrap_or(around.usual) {
            BackupTarget::Primary => Prefer::Primary,
            BackupTarget::PreferStandby => Prefer::Standby,
        };
        let taker = match &one.instance {
            Some(name) if !around.instances.contains(name) => {
                Err(NoTaker::Stranger { name: name.clone() })
            }
            Some(name) => named(name, &self.candidates),
            None => taker(prefer, &self.candidates),
        };
        // A dump is worth something without the log.
        let needs_log = matches!(one.order, Order::Backup(_));
        Home::There { taker, failing: self.failing.as_deref().filter(|_| needs_log) }
    }
}

/// Not a moment before it is due.
fn left(until: Moment, now: Timestamp) -> Duration {
    let left = SignedDuration::from_micros(until.0.saturating_sub(now.as_microsecond()));
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1)
}
