//! Stores what PostgreSQL has flushed before its segment is finished, piece by piece.
//!
//! It reads the files themselves, up to where the agent's looks say that they are durable: there is
//! no connection that a stop would wait for, no standby that a commit could count, and no slot that
//! could fill the disk. Never stores anything without an office, nor while the history of its
//! timeline may not be in the archive yet: without that, nobody would know whose it is.

mod leftovers;
mod read;

use super::Reign;
use super::desk::Event;
use super::opened::Opened;
use super::ready;
use crate::chain::chain;
use crate::process::clock;
use crate::tasks::Tasks;
use bytes::Bytes;
use jiff::Timestamp;
use leftovers::Leftovers;
use pgherd_api::agent::{ArchiveFailure, StreamSpec, StreamStatus};
use pgherd_core::units::{Lsn, Time, Timeline, WalPosition};
use pgherd_core::wal::queue::Failed;
use pgherd_core::wal::stream::{Pace, Piece, Sight, cover, plan, stored};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

/// Longer than any piece should take: nothing else is stored meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many looks are remembered, for how long something is missing.
const LOOKS: usize = 256;
/// Before it is looked anew what others left, when that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// What came of a task.
pub(super) enum Done {
    Looked(Timeline, Result<Leftovers, String>),
    Put(Piece, Result<(), String>),
    Dropped(Timeline, Vec<Piece>, Result<(), String>),
}

/// With what it works.
pub(super) struct Tools<'a> {
    pub(super) opened: &'a Arc<Opened>,
    pub(super) data: &'a Path,
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) tasks: &'a mut Tasks,
}

#[derive(Default)]
pub(super) struct Stream {
    /// Of which timeline all of this is.
    timeline: Option<Timeline>,
    /// How far it is; nothing before what others left was looked at.
    next: Option<Lsn>,
    looked: Option<Time>,
    putting: Option<Time>,
    dropping: bool,
    last: Option<(Time, Duration)>,
    failed: Option<(Failed, String)>,
    landed: BTreeSet<Segment>,
    held: BTreeMap<Segment, BTreeSet<Piece>>,
    /// What was flushed when, as far as it is not stored.
    looks: VecDeque<(Time, Lsn)>,
    flushed: Lsn,
    pieces: u64,
    failing: Option<ArchiveFailure>,
}

impl Stream {
    /// There is nothing to stream, or nobody may.
    pub(super) fn rest(&mut self) {
        if self.timeline.is_some() {
            *self = Self { pieces: self.pieces, ..Self::default() };
        }
    }

    /// A segment is in the archive as a whole.
    pub(super) fn landed(&mut self, file: WalFile) {
        match file {
            WalFile::Segment(segment) if Some(segment.timeline()) == self.timeline => {
                self.landed.insert(segment);
            }
            WalFile::Segment(_)
            | WalFile::History(_)
            | WalFile::Partial(_)
            | WalFile::Label { .. } => {}
        }
    }

    /// Begins what is to be begun; returns when to look again.
    pub(super) fn turn(
        &mut self,
        tools: &mut Tools<'_>,
        reign: Reign,
        (spec, size): (StreamSpec, SegmentSize),
    ) -> Time {
        let now = clock::now();
        let timeline = reign.position.timeline;
        if self.timeline != Some(timeline) {
            self.rest();
            self.timeline = Some(timeline);
        }
        self.note(now, reign.position.lsn);
        if self.next.is_none() && self.looked.is_none_or(|looked| now.since(looked) >= AGAIN) {
            self.looked = Some(now);
            look(tools, reign.position, size);
        }
        let Some(next) = self.next else { return now.after(AGAIN) };
        let held = self.held.keys().copied().collect();
        let sight = Sight {
            timeline,
            flushed: reign.position.lsn,
            next,
            size,
            landed: &self.landed,
            held: &held,
            pace: Pace {
                interval: Duration::from_millis(spec.interval_milliseconds.into()),
                last: self.last,
            },
            failed: self.failed.as_ref().map(|(failed, _)| *failed),
        };
        let plan = plan(&sight, now);
        self.next = Some(plan.next);
        self.drop_pieces(tools, timeline, &plan.drop);
        match (plan.put, self.putting) {
            (Some(piece), None) => {
                self.putting = Some(now);
                put(tools, piece);
                Time::NEVER
            }
            (_, Some(_)) => Time::NEVER,
            (None, None) => plan.look_again,
        }
    }

    /// What is flushed and since when.
    fn note(&mut self, now: Time, flushed: Lsn) {
        self.flushed = flushed;
        let is_news = self.looks.back().is_none_or(|(_, lsn)| *lsn < flushed);
        if is_news && self.next.is_none_or(|next| next < flushed) {
            // The oldest says how long something is missing; of the newest only the last counts.
            if self.looks.len() >= LOOKS {
                self.looks.pop_back();
            }
            self.looks.push_back((now, flushed));
        }
        if let Some(next) = self.next {
            while self.looks.front().is_some_and(|(_, lsn)| *lsn <= next) {
                self.looks.pop_front();
            }
        }
    }

    fn drop_pieces(
        &mut self,
        tools: &mut Tools<'_>,
        timeline: Timeline,
        useless: &BTreeSet<Segment>,
    ) {
        // A piece that is on its way would stay.
        if self.dropping || self.putting.is_some() || useless.is_empty() {
            return;
        }
        let pieces = useless.iter().filter_map(|segment| self.held.get(segment));
        let pieces: Vec<Piece> = pieces.flatten().copied().collect();
        self.dropping = true;
        let (opened, events) = (Arc::clone(tools.opened), tools.events.clone());
        tools.tasks.spawn("dropping what was streamed", async move {
            let dropped = timeout(PATIENCE, opened.archive.drop_pieces(&pieces)).await;
            let dropped = match dropped {
                Ok(dropped) => dropped.map_err(|error| chain(&error).to_string()),
                Err(_elapsed) => Err(late("removing what was streamed")),
            };
            let done = Done::Dropped(timeline, pieces, dropped);
            let _gone = events.send(Event::Streamed(done)).await.is_err();
        });
    }

    /// A task came to its end.
    pub(super) fn ended(&mut self, done: Done) {
        let now = clock::now();
        match done {
            Done::Looked(timeline, looked) if Some(timeline) == self.timeline => match looked {
                Ok(leftovers) => self.take_up(leftovers),
                Err(why) => self.fail(now, why),
            },
            Done::Put(piece, put) if Some(piece.segment.timeline()) == self.timeline => {
                let began = self.putting.take();
                match put {
                    Ok(()) => {
                        self.last = began.map(|began| (began, now.since(began)));
                        self.next = self.next.map(|next| next.max(piece.to));
                        self.held.entry(piece.segment).or_default().insert(piece);
                        self.pieces += 1;
                        self.failed = None;
                    }
                    Err(why) => self.fail(now, why),
                }
            }
            Done::Dropped(timeline, pieces, dropped) if Some(timeline) == self.timeline => {
                self.dropping = false;
                if let Err(why) = dropped {
                    // Whoever looks next removes them.
                    warn!(why, "what was streamed stays although its segment is archived");
                }
                let segments: BTreeSet<_> = pieces.iter().map(|piece| piece.segment).collect();
                self.held.retain(|segment, _| !segments.contains(segment));
                self.forget_landed();
            }
            // It is of a timeline that was left.
            Done::Looked(..) | Done::Put(..) | Done::Dropped(..) => {}
        }
    }

    fn take_up(&mut self, leftovers: Leftovers) {
        for (segment, pieces) in leftovers.held {
            self.held.entry(segment).or_default().extend(pieces);
        }
        self.next = Some(self.next.unwrap_or(leftovers.next));
        self.failed = None;
    }

    /// Of those that lie behind and have no pieces nothing needs to be known.
    fn forget_landed(&mut self) {
        if self.landed.len() > LOOKS {
            let last = self.landed.last().copied();
            self.landed.retain(|one| self.held.contains_key(one) || Some(*one) == last);
        }
    }

    fn fail(&mut self, now: Time, why: String) {
        let times = self.failed.as_ref().map_or(0, |(failed, _)| failed.times);
        self.failed = Some((Failed { times: times.saturating_add(1), last: now }, why));
    }

    /// Tells what is wrong; once for each change.
    fn judge(&mut self) {
        let why = self.failed.as_ref().map(|(_, why)| why.as_str());
        let before = self.failing.as_ref().map(|failing| failing.why.as_str());
        match (before, why) {
            (Some(before), Some(why)) if before == why => return,
            (_, Some(why)) => warn!(why, "the log is not streamed"),
            (Some(_), None) => info!("the log is streamed again"),
            (None, None) => return,
        }
        let since = self.failing.as_ref().map(|failing| failing.since);
        self.failing = why.map(|why| ArchiveFailure {
            since: since.unwrap_or_else(Timestamp::now),
            why: why.to_owned(),
        });
    }

    /// How far it is, and since when something is missing; `waiting` is not archived yet.
    pub(super) fn status(
        &mut self,
        waiting: &BTreeSet<Segment>,
        size: SegmentSize,
    ) -> Option<(StreamStatus, Option<Time>)> {
        self.judge();
        let timeline = self.timeline?;
        let covered = self.held.iter();
        let covered = covered.map(|(segment, pieces)| (*segment, cover(pieces, *segment, size).1));
        let begin = Segment::holding(timeline, self.flushed, size).start(size);
        let next = (timeline, self.next.unwrap_or(begin));
        let stored = stored(next, size, waiting, &covered.collect());
        let behind = self.looks.front().map(|(since, _)| *since);
        let status = StreamStatus {
            stored,
            lag_bytes: self.flushed.ahead_of(stored),
            lag_milliseconds: 0,
            pieces: self.pieces,
            took_milliseconds: self.last.map(|(_, took)| milliseconds(took)),
            failing: self.failing.clone(),
        };
        Some((status, behind))
    }
}

fn look(tools: &mut Tools<'_>, present: WalPosition, size: SegmentSize) {
    let (opened, events) = (Arc::clone(tools.opened), tools.events.clone());
    tools.tasks.spawn("looking what was streamed before", async move {
        let looked = timeout(PATIENCE, leftovers::look(&opened, present, size)).await;
        let looked = match looked {
            Ok(looked) => looked.map_err(|error| chain(&error).to_string()),
            Err(_elapsed) => Err(late("looking what was streamed before")),
        };
        let done = Done::Looked(present.timeline, looked);
        let _gone = events.send(Event::Streamed(done)).await.is_err();
    });
}

fn put(tools: &mut Tools<'_>, piece: Piece) {
    let (opened, events) = (Arc::clone(tools.opened), tools.events.clone());
    let path = ready::path(tools.data, WalFile::Segment(piece.segment));
    tools.tasks.spawn("streaming", async move {
        let put = timeout(PATIENCE, put_one(&opened, piece, &path)).await;
        let put = match put {
            Ok(put) => put,
            Err(_elapsed) => Err(late("storing what was flushed")),
        };
        let _gone = events.send(Event::Streamed(Done::Put(piece, put))).await.is_err();
    });
}

async fn put_one(opened: &Opened, piece: Piece, path: &Path) -> Result<(), String> {
    opened.make_sure().await.map_err(|error| chain(&error).to_string())?;
    let (system, path) = (opened.system, path.to_owned());
    let content = tokio::task::spawn_blocking(move || read::piece(&path, piece, system)).await;
    let content = content.map_err(|_| "reading the log broke".to_owned())?;
    let content = content.map_err(|error| chain(&error).to_string())?;
    let put = opened.archive.put_piece(piece, Bytes::from(content)).await;
    put.map_err(|error| chain(&error).to_string())
}

fn late(what: &str) -> String {
    format!(
        "{what} takes longer than {} seconds: check the network to the archive, and how fast it is",
        PATIENCE.as_secs()
    )
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
