//! The archiver's one loop: it is asked, plans, begins, and tells.
//!
//! Never waits for anything but the next event: what takes time is a task.

use super::blockmap;
use super::catch_up::catch_up;
use super::counts::Counts;
use super::exchange::{Reply, Request};
use super::opened::{Around, Opened};
use super::queue::Queue;
use super::repository::OpenError;
use super::spool::{Got, Spool};
use super::stream::{self, Stream, Tools};
use super::{Orders, Part, Place, Told, backlog, place_of, ready, serve};
use crate::chain::chain;
use crate::http::socket::Socket;
use crate::process::clock;
use crate::tasks::Tasks;
use pgherd_api::agent::{ArchiveIdentity, ArchiveSpec, ArchiveStatus};
use pgherd_backup::wal::{Fetched, Partials};
use pgherd_core::units::{SystemId, Time, Timeline};
use pgherd_core::wal::{SegmentSize, WalFile};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

/// Events that may wait.
const QUEUE: usize = 64;
/// Before a gap that could not be filled is looked for again.
const AGAIN: Duration = Duration::from_secs(10);
/// What is known by now is asked of a file.
const LOOK_SELDOM: Duration = Duration::from_mins(1);
/// Long enough for a runtime that has nothing to do.
const QUIET: Duration = Duration::from_hours(1);

pub(super) enum Event {
    Asked { request: Request, answer: oneshot::Sender<Reply> },
    Pushed(WalFile, Result<(), String>),
    Fetched(WalFile, Result<Got, String>),
    CaughtUp(Timeline, Result<(), String>),
    Streamed(stream::Done),
}

struct Desk {
    place: Place,
    orders: watch::Receiver<Orders>,
    tell: watch::Sender<Told>,
    events: mpsc::Sender<Event>,
    tasks: Tasks,
    opened: Option<Arc<Opened>>,
    /// How large segments are, once that is known.
    size: Option<SegmentSize>,
    queue: Queue,
    spool: Spool,
    stream: Stream,
    gaps: Gaps,
    counts: Counts,
    /// Since when the server is being stopped.
    stopping: Option<Time>,
    /// When a standby looked last whose archive it is.
    looked: Option<Time>,
    /// Why nothing can be planned.
    hindered: Option<String>,
}

/// How far gaps that earlier primaries left are filled.
#[derive(Default)]
struct Gaps {
    filled: Option<Timeline>,
    begun: Option<(Timeline, Time)>,
    why: Option<String>,
}

/// Works until nobody gives orders any more.
pub(super) async fn work(
    place: Place,
    socket: Socket,
    orders: watch::Receiver<Orders>,
    tell: watch::Sender<Told>,
) {
    let (events, woken) = mpsc::channel(QUEUE);
    let spool = match Spool::new(place.spool.clone()) {
        Ok(spool) => spool,
        Err(error) => return error!(%error, spool = ?place.spool, "nothing can be archived"),
    };
    let mut tasks = Tasks::default();
    tasks.spawn("answering PostgreSQL's commands", serve::serve(socket, events.clone()));
    let desk = Desk {
        place,
        orders,
        tell,
        events,
        tasks,
        opened: None,
        size: None,
        queue: Queue::default(),
        spool,
        stream: Stream::default(),
        gaps: Gaps::default(),
        counts: Counts::default(),
        stopping: None,
        looked: None,
        hindered: None,
    };
    desk.serve(woken).await;
}

impl Desk {
    async fn serve(mut self, mut woken: mpsc::Receiver<Event>) {
        loop {
            let orders = self.orders.borrow_and_update().clone();
            let look_again = self.turn(&orders);
            self.tell(&orders);
            self.tasks.forget_ended();
            let wait = look_again.since(clock::now()).min(QUIET);
            tokio::select! {
                Some(event) = woken.recv() => self.notice(event, &orders),
                changed = self.orders.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn notice(&mut self, event: Event, orders: &Orders) {
        match event {
            Event::Asked { request: Request::Archive { file }, answer } => {
                self.queue.ask(file, answer);
            }
            Event::Asked { request: Request::Recover { .. }, answer } => {
                let why = "nothing is recovered from an archive here".to_owned();
                let _gone = answer.send(Reply::Stop(why)).is_err();
            }
            Event::Asked { request: Request::Fetch { file, target }, answer } => {
                let reply = self.fetch(file, &target, orders);
                // Who has gone asks again.
                let _gone = answer.send(reply).is_err();
            }
            Event::Pushed(file, pushed) => {
                let size = self.segment_size().unwrap_or(SegmentSize::DEFAULT);
                self.counts.pushed(file, &pushed, size);
                if pushed.is_ok() {
                    self.stream.landed(file);
                }
                self.queue.ended(file, pushed, self.stopping);
            }
            Event::Streamed(done) => {
                self.counts.streamed(&done);
                self.stream.ended(done);
            }
            Event::Fetched(file, fetched) => self.spool.ended(file, fetched),
            Event::CaughtUp(timeline, Ok(())) => {
                self.gaps = Gaps { filled: Some(timeline), begun: None, why: None };
            }
            Event::CaughtUp(_, Err(why)) => {
                self.counts.fail();
                self.gaps.why = Some(why);
            }
        }
    }

    /// Begins what is to be begun; returns when to look again.
    fn turn(&mut self, orders: &Orders) -> Time {
        self.stopping = match orders.part {
            Part::Stopping => self.stopping.or_else(|| Some(clock::now())),
            Part::Idle | Part::Primary { .. } | Part::Standby(_) => None,
        };
        match orders.part {
            Part::Standby(_) => {}
            Part::Idle | Part::Primary { .. } | Part::Stopping => self.spool.clear(),
        }
        if orders.reign.is_none() {
            self.stream.rest();
        }
        let archives = matches!(orders.part, Part::Primary { .. } | Part::Stopping);
        if !archives && !self.queue.is_asked() {
            self.queue.rest();
            return self.remember(orders);
        }
        let Some((spec, opened)) = self.open(orders) else {
            self.stream.rest();
            return self.without_archive();
        };
        if let Part::Primary { timeline } = orders.part {
            self.fill_gaps(&opened, timeline);
        }
        let streaming = self.stream(&spec, &opened, orders);
        let at_once = usize::try_from(spec.at_once).unwrap_or(1);
        let plan = self.queue.plan(&self.place.data, (at_once, self.stopping));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let why = format!("listing what is to be archived: {error}");
                self.queue.refuse(&why, self.stopping);
                self.hindered = Some(why);
                return streaming.min(clock::now().after(AGAIN));
            }
        };
        for file in plan.take {
            self.push(&opened, file);
        }
        let look_again = plan.look_again.min(streaming);
        let gaps = self.gaps.why.as_ref().and(self.gaps.begun);
        gaps.map_or(look_again, |(_, begun)| look_again.min(begun.after(AGAIN)))
    }

    /// A standby may be primary next, and has to know then which folder was the archive.
    fn remember(&mut self, orders: &Orders) -> Time {
        let is_folder = |spec: &ArchiveSpec| spec.identity == ArchiveIdentity::User;
        let is_standby = matches!(orders.part, Part::Standby(_));
        if !is_standby || !orders.archive.as_ref().is_some_and(is_folder) {
            return Time::NEVER;
        }
        let now = clock::now();
        if let Some(looked) = self.looked.filter(|looked| now.since(*looked) < AGAIN) {
            return looked.after(AGAIN);
        }
        let Some((_, opened)) = self.open(orders) else { return now.after(AGAIN) };
        if !opened.remembered.lacks() {
            return now.after(LOOK_SELDOM);
        }
        self.looked = Some(now);
        self.tasks.spawn("looking whose archive it is", async move { opened.remember().await });
        now.after(AGAIN)
    }

    /// There is none, or it cannot be opened: then what piles up is told all the same.
    fn without_archive(&mut self) -> Time {
        let Some(why) = self.hindered.clone() else {
            self.queue.dismiss();
            return Time::NEVER;
        };
        // Without a new list the last one counts, and the reason stands in front of it anyway.
        let _listed = self.queue.look(&self.place.data).is_ok();
        self.queue.refuse(&why, self.stopping);
        clock::now().after(AGAIN)
    }

    fn stream(&mut self, spec: &ArchiveSpec, opened: &Arc<Opened>, orders: &Orders) -> Time {
        let size = self.segment_size();
        let filled = self.gaps.filled;
        let reign = orders.reign.filter(|reign| filled == Some(reign.position.timeline));
        let Some(((reign, spec), size)) = reign.zip(spec.stream).zip(size) else {
            self.stream.rest();
            return Time::NEVER;
        };
        let Self { place, events, tasks, stream, .. } = self;
        let mut tools = Tools { opened, data: &place.data, events, tasks };
        stream.turn(&mut tools, reign, (spec, size))
    }

    /// The archive that is wanted, opened with the keys that there are now.
    fn open(&mut self, orders: &Orders) -> Option<(ArchiveSpec, Arc<Opened>)> {
        let Some((spec, system)) = orders.archive.clone().zip(orders.system) else {
            self.hindered = None;
            return None;
        };
        let place = &self.place;
        if self.opened.as_ref().is_none_or(|opened| !opened.is_still(&spec, system, &place.keys)) {
            self.opened = match self.open_anew(&spec, system) {
                Ok(opened) => Some(Arc::new(opened)),
                Err(error) => {
                    self.hindered = Some(chain(&error).to_string());
                    None
                }
            };
            self.gaps = Gaps::default();
        }
        let opened = self.opened.clone()?;
        self.hindered = None;
        Some((spec, opened))
    }

    fn open_anew(&self, spec: &ArchiveSpec, system: SystemId) -> Result<Opened, OpenError> {
        let Place { keys, spool: scratch, remembered, .. } = &self.place;
        Opened::open(spec, system, Around { keys, scratch, remembered })
    }

    fn push(&mut self, opened: &Arc<Opened>, file: WalFile) {
        self.queue.began(file);
        let (opened, events) = (Arc::clone(opened), self.events.clone());
        let path = ready::path(&self.place.data, file);
        self.tasks.spawn("archiving", async move {
            let (pushed, mapped) = match opened.push_and_map(file, &path).await {
                Ok(mapped) => (Ok(()), mapped),
                Err(error) => (Err(chain(&error).to_string()), None),
            };
            // Nobody listens any more when the agent ends.
            let _gone = events.send(Event::Pushed(file, pushed)).await.is_err();
            // PostgreSQL has its answer by now.
            blockmap::keep(&opened, file, mapped).await;
        });
    }

    fn fill_gaps(&mut self, opened: &Arc<Opened>, timeline: Timeline) {
        let now = clock::now();
        let is_begun = self.gaps.begun.is_some_and(|(of, begun)| {
            of == timeline && (self.gaps.why.is_none() || now.since(begun) < AGAIN)
        });
        if is_begun || self.gaps.filled == Some(timeline) {
            return;
        }
        self.gaps.begun = Some((timeline, now));
        self.gaps.why = None;
        let (opened, events) = (Arc::clone(opened), self.events.clone());
        let data = self.place.data.clone();
        self.tasks.spawn("filling gaps in the archive", async move {
            let done = catch_up(&opened, &data, timeline).await;
            let done = done.map_err(|error| chain(&error).to_string());
            let _gone = events.send(Event::CaughtUp(timeline, done)).await.is_err();
        });
    }

    fn fetch(&mut self, file: WalFile, target: &str, orders: &Orders) -> Reply {
        let Part::Standby(permit) = &orders.part else { return Reply::Absent };
        let Some(size) = self.segment_size() else { return Reply::Absent };
        if !permit.allows(file, size) {
            return Reply::Absent;
        }
        let Some((_, opened)) = self.open(orders) else { return Reply::Absent };
        let (reply, fetch) = self.spool.ask((file, target), &self.place.data, size);
        for file in fetch {
            let (opened, events) = (Arc::clone(&opened), self.events.clone());
            let path = self.spool.path(file);
            self.tasks.spawn("fetching log", async move {
                let fetched = match opened.archive.fetch(file, Partials::Never, &path).await {
                    Ok(Fetched::Whole { .. } | Fetched::Partial { .. }) => Ok(Got::It),
                    Ok(Fetched::Absent) => Ok(Got::Nothing),
                    Err(error) => Err(chain(&error).to_string()),
                };
                let _gone = events.send(Event::Fetched(file, fetched)).await.is_err();
            });
        }
        reply
    }

    fn segment_size(&mut self) -> Option<SegmentSize> {
        self.size = self.size.or_else(|| ready::segment_size(&self.place.data));
        self.size
    }

    fn tell(&mut self, orders: &Orders) {
        // Who does not archive forgets with each look what was told.
        if matches!(orders.part, Part::Primary { .. } | Part::Stopping) {
            self.queue.judge(self.hindered.as_deref().or(self.gaps.why.as_deref()));
        }
        let size = self.segment_size().unwrap_or(SegmentSize::DEFAULT);
        let (status, behind) = match (&orders.archive, &orders.part) {
            (Some(archive), Part::Primary { .. } | Part::Stopping) => {
                let streamed = self.stream.status(&self.queue.segments(), size).unzip();
                let status =
                    backlog::status(place_of(archive), &self.queue, &self.place.data, size);
                (Some(ArchiveStatus { stream: streamed.0, ..status }), streamed.1.flatten())
            }
            (Some(_) | None, _) => (None, None),
        };
        let told = Told { status, behind, counts: self.counts, helped: self.spool.helped };
        self.tell.send_if_modified(|present| {
            let changed = *present != told;
            *present = told;
            changed
        });
    }
}
