//! What waits to be stored, what is on its way, and how that goes.
//!
//! Never says that a file is stored before it is durable.

use super::exchange::Reply;
use super::ready;
use crate::process::clock;
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveFailure, Archived};
use pgherd_core::units::{Bytes, Time};
use pgherd_core::wal::queue::{Failed, Plan, Sight, plan};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{info, warn};

/// How long PostgreSQL is let wait for one file: it cannot be stopped meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same once it is being stopped: a handover waits for that, and the successor stores the rest.
const LAST_PATIENCE: Duration = Duration::from_millis(500);
/// How old the list of what is ready may be.
const FRESH: Duration = Duration::from_secs(1);
/// How often it is looked at while something waits and nothing happens.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Queue {
    /// As listed at that time.
    ready: (BTreeSet<WalFile>, Time),
    asked: Option<Asked>,
    under_way: BTreeSet<WalFile>,
    stored: BTreeSet<WalFile>,
    failed: BTreeMap<WalFile, (Failed, String)>,
    pub(super) last: Option<Archived>,
    /// What is told of it all.
    pub(super) failing: Option<ArchiveFailure>,
}

struct Asked {
    file: WalFile,
    since: Time,
    answer: oneshot::Sender<Reply>,
}

impl Queue {
    pub(super) fn ask(&mut self, file: WalFile, answer: oneshot::Sender<Reply>) {
        // PostgreSQL waits for one at a time: who asked before is gone.
        self.asked = Some(Asked { file, since: clock::now(), answer });
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// PostgreSQL asks again a second later, and three times before it stops: then it shall not.
    pub(super) fn refuse(&mut self, why: &str, stopping: Option<Time>) {
        if let Some(asked) = self.asked.take() {
            let why = why.to_owned();
            reply(asked, if stopping.is_some() { Reply::Stop(why) } else { Reply::Failed(why) });
        }
    }

    /// There is no archive, or not yet; a server that is only being made must not wait for one.
    pub(super) fn dismiss(&mut self) {
        if let Some(asked) = self.asked.take() {
            reply(asked, Reply::Stop("nothing is archived here at present".to_owned()));
        }
    }

    pub(super) fn began(&mut self, file: WalFile) {
        self.under_way.insert(file);
    }

    pub(super) fn ended(
        &mut self,
        file: WalFile,
        pushed: Result<(), String>,
        stopping: Option<Time>,
    ) {
        self.under_way.remove(&file);
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.file == file);
        match pushed {
            Ok(()) => {
                self.stored.insert(file);
                self.failed.remove(&file);
                self.last = Some(Archived { file: file.to_string(), at: Timestamp::now() });
            }
            Err(why) => {
                let times = self.failed.get(&file).map_or(0, |(failed, _)| failed.times);
                let failed = Failed { times: times.saturating_add(1), last: clock::now() };
                if is_asked {
                    self.refuse(&why, stopping);
                }
                self.failed.insert(file, (failed, why));
            }
        }
    }

    /// Forgets all that it knows of a server that archives no more.
    pub(super) fn rest(&mut self) {
        self.failed.clear();
        self.stored.clear();
        self.ready = (BTreeSet::new(), Time::ZERO);
        self.failing = None;
    }

    /// Lists what waits, unless that was done a moment ago.
    pub(super) fn look(&mut self, data: &Path) -> io::Result<()> {
        let now = clock::now();
        let asked = self.asked.as_ref().map(|asked| asked.file);
        let is_known = asked.is_none_or(|asked| self.ready.0.contains(&asked));
        if !is_known || now.since(self.ready.1) > FRESH {
            self.ready = (ready::ready(data)?, now);
            let (ready, asked) = (&self.ready.0, asked);
            let waits = |file: &WalFile| ready.contains(file) || Some(*file) == asked;
            self.stored.retain(waits);
            self.failed.retain(|file, _| waits(file));
        }
        Ok(())
    }

    /// Answers who can be answered, and says what is to be begun now.
    pub(super) fn plan(
        &mut self,
        data: &Path,
        (at_once, stopping): (usize, Option<Time>),
    ) -> io::Result<Plan> {
        self.look(data)?;
        let now = clock::now();
        self.answer(now, stopping);
        let failed = self.failed.iter().map(|(file, (failed, _))| (*file, *failed)).collect();
        let mut plan = plan(
            &Sight {
                ready: &self.ready.0,
                asked: self.asked.as_ref().map(|asked| asked.file),
                under_way: &self.under_way,
                stored: &self.stored,
                failed: &failed,
                at_once,
            },
            now,
        );
        if self.waiting() > 0 {
            plan.look_again = plan.look_again.min(now.after(LOOK_AGAIN));
        }
        if let Some(asked) = &self.asked {
            plan.look_again = plan.look_again.min(deadline(asked, stopping));
        }
        Ok(plan)
    }

    fn answer(&mut self, now: Time, stopping: Option<Time>) {
        let Some(asked) = self.asked.take() else { return };
        if self.stored.contains(&asked.file) {
            reply(asked, Reply::Done);
        } else if now < deadline(&asked, stopping) {
            self.asked = Some(asked);
        } else if stopping.is_some() {
            let why = format!("{} is archived after the next start", asked.file);
            reply(asked, Reply::Stop(why));
        } else {
            let why = format!(
                "archiving {} takes longer than {} seconds: check the network to the archive, and \
                 how fast it is",
                asked.file,
                PATIENCE.as_secs()
            );
            self.failed.entry(asked.file).or_insert_with(|| {
                let failed = Failed { times: 1, last: now };
                (failed, why.clone())
            });
            reply(asked, Reply::Failed(why));
        }
    }

    /// How many files are ready and not stored.
    fn waiting(&self) -> usize {
        self.ready.0.difference(&self.stored).count()
    }

    pub(super) fn backlog(&self, size: SegmentSize) -> (u64, Bytes) {
        let waiting = self.ready.0.difference(&self.stored);
        let segments = waiting.filter(|file| match file {
            WalFile::Segment(_) | WalFile::Partial(_) => true,
            WalFile::History(_) | WalFile::Label { .. } => false,
        });
        let segments = u64::try_from(segments.count()).unwrap_or(u64::MAX);
        let bytes = Bytes(size.bytes().0.saturating_mul(segments));
        (u64::try_from(self.waiting()).unwrap_or(u64::MAX), bytes)
    }

    /// The first file that is ready and not stored.
    pub(super) fn oldest(&self) -> Option<WalFile> {
        self.ready.0.difference(&self.stored).next().copied()
    }

    /// The segments that are ready and not stored.
    pub(super) fn segments(&self) -> BTreeSet<Segment> {
        let waiting = self.ready.0.difference(&self.stored);
        let segments = waiting.filter_map(|file| match file {
            WalFile::Segment(segment) => Some(*segment),
            WalFile::History(_) | WalFile::Partial(_) | WalFile::Label { .. } => None,
        });
        segments.collect()
    }

    /// Tells what is wrong, of the oldest file or besides; once for each change.
    pub(super) fn judge(&mut self, besides: Option<&str>) {
        let why = self.failed.values().next().map(|(_, why)| why.as_str()).or(besides);
        let since = self.failing.as_ref().map(|failing| failing.since);
        let before = self.failing.as_ref().map(|failing| failing.why.as_str());
        match (before, why) {
            (Some(before), Some(why)) if before == why => return,
            (_, Some(why)) => warn!(why, "the log is not archived"),
            (Some(_), None) => info!("the log is archived again"),
            (None, None) => return,
        }
        self.failing = why.map(|why| ArchiveFailure {
            since: since.unwrap_or_else(Timestamp::now),
            why: why.to_owned(),
        });
    }
}

fn deadline(asked: &Asked, stopping: Option<Time>) -> Time {
    let usual = asked.since.after(PATIENCE);
    stopping.map_or(usual, |stopping| usual.min(stopping.after(LAST_PATIENCE)))
}

fn reply(asked: Asked, reply: Reply) {
    // Who has gone asks again.
    let _gone = asked.answer.send(reply).is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_stopped_does_not_ask_again() {
        let file = WalFile::parse("00000003.history").unwrap();
        let answered = |stopping: Option<Time>, refuse: &dyn Fn(&mut Queue, Option<Time>)| {
            let (mut queue, (answer, mut told)) = (Queue::default(), oneshot::channel());
            queue.ask(file, answer);
            refuse(&mut queue, stopping);
            told.try_recv().unwrap()
        };
        let why = || "no key".to_owned();
        let hindered = |queue: &mut Queue, stopping| queue.refuse("no key", stopping);
        let failed = |queue: &mut Queue, stopping| queue.ended(file, Err(why()), stopping);
        let stopping = Some(clock::now());
        assert_eq!(answered(None, &hindered), Reply::Failed(why()));
        assert_eq!(answered(None, &failed), Reply::Failed(why()));
        assert_eq!(answered(stopping, &hindered), Reply::Stop(why()));
        assert_eq!(answered(stopping, &failed), Reply::Stop(why()));
    }
}
