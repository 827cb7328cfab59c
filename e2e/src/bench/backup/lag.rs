//! Looks many times a second at what PostgreSQL has flushed, and at what really is in a store.
//!
//! Never asks whoever stores it.

mod shelf;

pub(super) use shelf::Shelf;

use crate::wait;
use anyhow::{Context, Result, bail};
use pgherd_core::units::Lsn;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(20);
/// From the end of writing until the store has all of it.
const HELD_WITHIN: Duration = Duration::from_mins(3);
const FLUSHED: &str = "select pg_current_wal_flush_lsn();";

/// What was seen at once; times are since the first look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// When PostgreSQL had answered.
    at: Duration,
    flushed: Lsn,
    /// When the store had been looked at after that.
    seen: Duration,
    stored: Lsn,
}

/// What was seen of one time of writing.
pub(super) struct Looks {
    all: Vec<Look>,
    /// Of which so many belong to the writing.
    while_writing: usize,
    /// What was looked at, to be looked at again.
    pub(super) shelf: Option<Shelf>,
}

impl Looks {
    /// How much log was written meanwhile.
    pub(super) fn bytes(&self) -> u64 {
        let written = self.all.get(..self.while_writing).unwrap_or_default();
        let ends = written.first().zip(written.last());
        ends.map_or(0, |(first, last)| last.flushed.ahead_of(first.flushed).0)
    }

    /// Of each look: how long after it the store had what was flushed then.
    pub(super) fn lags(&self) -> Result<Vec<Duration>> {
        let mut found = self.all.iter().peekable();
        let mut lags = Vec::new();
        for look in self.all.iter().take(self.while_writing) {
            while found.next_if(|later| later.stored < look.flushed).is_some() {}
            let held = found.peek().context("the store never had what was flushed")?;
            // What is found by an earlier look was there already.
            lags.push(held.seen.saturating_sub(look.at));
        }
        Ok(lags)
    }
}

/// How it goes with what is looked at.
#[derive(Clone, Copy)]
enum Course {
    Going,
    Written(Instant),
    Abandoned,
}

/// A thread that looks. It ends with this.
pub(super) struct Watcher {
    course: Arc<Mutex<Course>>,
    thread: Option<JoinHandle<Result<Looks>>>,
}

impl Watcher {
    /// `psql` is connected; without a shelf only PostgreSQL is looked at.
    pub(super) fn start(psql: Command, shelf: Option<Shelf>) -> Result<Self> {
        let course = Arc::new(Mutex::new(Course::Going));
        let session = Session::start(psql)?;
        let watched = Arc::clone(&course);
        let thread = std::thread::Builder::new().name("lag".to_owned());
        let thread = thread.spawn(move || watch(session, shelf, &watched));
        let thread = Some(thread.context("starting the thread that looks")?);
        Ok(Self { course, thread })
    }

    /// Nothing is written any more that counts.
    pub(super) fn written(&self) {
        *locked(&self.course) = Course::Written(Instant::now());
    }

    /// Waits until the store has all of it.
    pub(super) fn finish(mut self) -> Result<Looks> {
        let thread = self.thread.take().context("it is waited for once")?;
        thread.join().ok().context("the thread that looks has panicked")?
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        *locked(&self.course) = Course::Abandoned;
        if let Some(thread) = self.thread.take() {
            // Why it is abandoned is what counts.
            let _ended = thread.join();
        }
    }
}

fn locked(course: &Mutex<Course>) -> MutexGuard<'_, Course> {
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(mut session: Session, mut shelf: Option<Shelf>, course: &Mutex<Course>) -> Result<Looks> {
    let (began, mut all) = (Instant::now(), Vec::new());
    loop {
        wait::go_on()?;
        let now = *locked(course);
        let look = Instant::now();
        let flushed = session.ask()?;
        let at = began.elapsed();
        let stored = shelf.as_mut().map(Shelf::stored).transpose()?;
        all.push(Look { at, flushed, seen: began.elapsed(), stored: stored.unwrap_or(flushed) });
        match now {
            Course::Going => {}
            Course::Abandoned => bail!("what was looked at has failed"),
            Course::Written(end) => {
                let end_at = end.saturating_duration_since(began);
                let while_writing = all.partition_point(|look| look.at <= end_at);
                let last = while_writing.checked_sub(1).and_then(|last| all.get(last));
                let last = last.context("nothing was written")?.flushed;
                if stored.is_none_or(|stored| stored >= last) {
                    return Ok(Looks { all, while_writing, shelf });
                }
                if end.elapsed() > HELD_WITHIN {
                    bail!("{last} is not in the store {HELD_WITHIN:?} after it was flushed");
                }
            }
        }
        std::thread::sleep(EVERY.saturating_sub(look.elapsed()));
    }
}

/// An open connection, by psql.
struct Session {
    process: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Session {
    fn start(mut psql: Command) -> Result<Self> {
        psql.arg("-XAtq").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = psql.spawn().context("starting psql")?;
        let ends = process.stdin.take().zip(process.stdout.take());
        let (asks, says) = ends.context("psql has no pipes")?;
        Ok(Self { process, asks, says: BufReader::new(says) })
    }

    fn ask(&mut self) -> Result<Lsn> {
        writeln!(self.asks, "{FLUSHED}").context("asking psql")?;
        let mut line = String::new();
        self.says.read_line(&mut line).context("hearing psql")?;
        Lsn::parse(line.trim()).with_context(|| format!("psql said {line:?}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: u64, flushed: u64, stored: u64) -> Look {
        let time = Duration::from_millis;
        Look { at: time(at), flushed: Lsn(flushed), seen: time(at + 1), stored: Lsn(stored) }
    }

    #[test]
    fn a_lag_is_the_time_until_the_store_has_what_was_flushed() {
        let all = vec![
            look(0, 100, 100),
            look(20, 200, 100),
            look(40, 300, 100),
            look(60, 300, 200),
            look(80, 300, 300),
        ];
        let looks = Looks { all, while_writing: 3, shelf: None };
        let lags: Vec<_> = looks.lags().unwrap().iter().map(Duration::as_millis).collect();
        assert_eq!(lags, [1, 41, 41]);
        assert_eq!(looks.bytes(), 200);
    }

    #[test]
    fn what_is_never_stored_has_no_lag() {
        let looks = Looks { all: vec![look(0, 200, 100)], while_writing: 1, shelf: None };
        assert!(looks.lags().is_err());
    }
}
