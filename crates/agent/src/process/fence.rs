//! A thread of its own that kills PostgreSQL when its permission to write runs out.
//!
//! Never waits for the rest of the agent, takes no lock and does not allocate once it runs; never
//! reports a fence while a process of PostgreSQL lives.

use crate::process::clock;
use crate::process::tree::{Dead, Reaper, TreeError};
use pgherd_core::units::{Epoch, Time};
use rustix::process::Pid;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the deadline is looked at.
pub const TICK: Duration = Duration::from_millis(20);
/// How long one attempt to kill may take before it is begun anew.
const ATTEMPT: Duration = Duration::from_secs(2);
/// As high as an ordinary thread may stand; refused without privilege, which is fine.
const PRIORITY: i32 = -20;
const STACK_BYTES: usize = 256 * 1024;

/// Why PostgreSQL was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The deadline passed.
    Expired,
    /// The agent asked for it.
    Asked,
}

/// A fence that was carried out: no process of that epoch lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    pub epoch: Epoch,
    pub cause: Cause,
    /// When it began and when it was done.
    pub began: Time,
    pub at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No deadline is set.
    Disarmed,
    Armed {
        epoch: Epoch,
        until: Time,
    },
    /// The killing has begun and cannot be taken back.
    Killing {
        epoch: Epoch,
    },
    Fenced(Fenced),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FenceError {
    #[error("epoch {epoch} cannot be given more time: its server is being killed or was")]
    TooLate { epoch: Epoch },
    #[error("epoch {epoch} has no deadline that could be moved: arm it first")]
    NotArmed { epoch: Epoch },
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("preparing to kill the processes of PostgreSQL")]
    Prepare { source: TreeError },
    #[error("starting the fencing thread")]
    StartThread { source: std::io::Error },
}

/// The handle of the fencing thread. Dropping it ends the thread and kills nothing.
pub struct Fence {
    shared: Arc<Shared>,
    thread: Thread,
    joined: Option<JoinHandle<()>>,
}

/// What the thread was allowed to do for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privileges {
    pub memory_locked: Granted,
    pub priority_raised: Granted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    Yes,
    No,
}

impl Fence {
    /// Starts the thread for the PostgreSQL in `data`.
    pub fn start(data: &Path, tick: Duration) -> Result<Self, StartError> {
        let reaper = Reaper::new(data).map_err(|source| StartError::Prepare { source })?;
        let shared = Arc::new(Shared::default());
        shared.ticked.store(clock::now().0, Ordering::SeqCst);
        let watched = Arc::clone(&shared);
        let joined = std::thread::Builder::new()
            .name("fence".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || watch(&watched, reaper, tick))
            .map_err(|source| StartError::StartThread { source })?;
        Ok(Self { shared, thread: joined.thread().clone(), joined: Some(joined) })
    }

    /// Tells which process to stop first; without it the folder alone leads to the others.
    pub fn watch(&self, postmaster: Option<Pid>) {
        self.shared.postmaster.store(postmaster.map_or(0, Pid::as_raw_pid), Ordering::SeqCst);
    }

    /// Lets the server of `epoch` live until `until`. Must come before it may write. Refused while
    /// a killing is under way.
    pub fn arm(&self, epoch: Epoch, until: Time) -> Result<(), FenceError> {
        let before = self.shared.word.load(Ordering::SeqCst);
        if Word(before).phase() == Phase::Killing {
            return Err(FenceError::TooLate { epoch });
        }
        self.shared.set_deadline(until);
        let armed = Word::new(Phase::Armed, epoch).0;
        self.shared
            .word
            .compare_exchange(before, armed, Ordering::SeqCst, Ordering::SeqCst)
            .map(|_| ())
            .map_err(|_| FenceError::TooLate { epoch })
    }

    /// Moves the deadline of an armed epoch, in either direction.
    pub fn extend(&self, epoch: Epoch, until: Time) -> Result<(), FenceError> {
        self.expect_armed(epoch)?;
        self.shared.set_deadline(until);
        // The thread may have seen the old deadline pass meanwhile.
        self.expect_armed(epoch)
    }

    /// Forgets the deadline, because no process is left that could write.
    pub fn disarm(&self, epoch: Epoch, _evidence: Dead) -> Result<(), FenceError> {
        let armed = Word::new(Phase::Armed, epoch).0;
        let disarmed = Word::new(Phase::Disarmed, epoch).0;
        match self.shared.word.compare_exchange(armed, disarmed, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => Ok(()),
            Err(word) => Err(refusal(Word(word), epoch)),
        }
    }

    /// Kills the server now, armed or not. Returns at once; [`Fence::fenced`] tells when it is done.
    pub fn fire_now(&self) {
        self.shared.asked.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }

    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Waits until a fence was carried out.
    pub async fn fenced(&self) -> Fenced {
        self.fenced_since(Time::ZERO).await
    }

    /// Waits until a fence was carried out that began at `since` or later.
    pub async fn fenced_since(&self, since: Time) -> Fenced {
        loop {
            let told = self.shared.told.notified();
            if let State::Fenced(fenced) = self.shared.state()
                && fenced.began >= since
            {
                return fenced;
            }
            told.await;
        }
    }

    /// When the thread last looked at the deadline: an agent whose thread stands still is not alive.
    pub fn ticked_at(&self) -> Time {
        Time(self.shared.ticked.load(Ordering::SeqCst))
    }

    /// What the operating system allowed; `None` before the thread has asked.
    pub fn privileges(&self) -> Option<Privileges> {
        let granted = |bit| {
            let word = self.shared.privileges.load(Ordering::SeqCst);
            (word & ASKED != 0).then_some(if word & bit != 0 { Granted::Yes } else { Granted::No })
        };
        Some(Privileges { memory_locked: granted(LOCKED)?, priority_raised: granted(RAISED)? })
    }

    fn expect_armed(&self, epoch: Epoch) -> Result<(), FenceError> {
        let word = Word(self.shared.word.load(Ordering::SeqCst));
        if word.phase() == Phase::Armed && word.epoch() == epoch {
            Ok(())
        } else {
            Err(refusal(word, epoch))
        }
    }
}

fn refusal(word: Word, epoch: Epoch) -> FenceError {
    match word.phase() {
        Phase::Killing | Phase::Fenced => FenceError::TooLate { epoch },
        Phase::Disarmed | Phase::Armed => FenceError::NotArmed { epoch },
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(joined) = self.joined.take() {
            let _panicked = joined.join();
        }
    }
}

/// Everything both sides see; atomics only, so that a stopped agent cannot hold the thread up.
#[derive(Default)]
struct Shared {
    /// Phase and epoch in one, so that they change together.
    word: AtomicU64,
    until: AtomicU64,
    until_time_of_day: AtomicU64,
    postmaster: AtomicI32,
    asked: AtomicBool,
    over: AtomicBool,
    ticked: AtomicU64,
    began: AtomicU64,
    fenced_at: AtomicU64,
    caused_by_asking: AtomicBool,
    privileges: AtomicU64,
    told: Notify,
}

const ASKED: u64 = 1;
const LOCKED: u64 = 2;
const RAISED: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Disarmed,
    Armed,
    Killing,
    Fenced,
}

#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn new(phase: Phase, epoch: Epoch) -> Self {
        Self(epoch.0 << 2 | phase as u64)
    }

    fn phase(self) -> Phase {
        match self.0 & 3 {
            0 => Phase::Disarmed,
            1 => Phase::Armed,
            2 => Phase::Killing,
            _ => Phase::Fenced,
        }
    }

    fn epoch(self) -> Epoch {
        Epoch(self.0 >> 2)
    }
}

impl Shared {
    fn set_deadline(&self, until: Time) {
        // The time of day is read first: if the machine freezes between the two readings, the
        // second opinion comes out too early rather than too late.
        let time_of_day = clock::time_of_day();
        let left = until.since(clock::now());
        self.until_time_of_day.store(time_of_day.after(left).0, Ordering::SeqCst);
        self.until.store(until.0, Ordering::SeqCst);
    }

    fn has_expired(&self) -> bool {
        clock::now().0 >= self.until.load(Ordering::SeqCst)
            || clock::time_of_day().0 >= self.until_time_of_day.load(Ordering::SeqCst)
    }

    fn state(&self) -> State {
        let word = Word(self.word.load(Ordering::SeqCst));
        let time = |from: &AtomicU64| Time(from.load(Ordering::SeqCst));
        match word.phase() {
            Phase::Disarmed => State::Disarmed,
            Phase::Armed => State::Armed { epoch: word.epoch(), until: time(&self.until) },
            Phase::Killing => State::Killing { epoch: word.epoch() },
            Phase::Fenced => State::Fenced(Fenced {
                epoch: word.epoch(),
                cause: if self.caused_by_asking.load(Ordering::SeqCst) {
                    Cause::Asked
                } else {
                    Cause::Expired
                },
                began: time(&self.began),
                at: time(&self.fenced_at),
            }),
        }
    }

    /// Goes over to killing if there is a reason to; nobody can take it back afterwards.
    fn begin_killing(&self) -> Option<Epoch> {
        let asked = self.asked.swap(false, Ordering::SeqCst);
        let before = self.word.load(Ordering::SeqCst);
        let word = Word(before);
        let expired = word.phase() == Phase::Armed && self.has_expired();
        if !asked && !expired {
            return None;
        }
        let killing = Word::new(Phase::Killing, word.epoch()).0;
        let changed =
            self.word.compare_exchange(before, killing, Ordering::SeqCst, Ordering::SeqCst);
        if changed.is_err() {
            // Armed or disarmed in this instant: look again at the next tick, sooner if asked.
            self.asked.fetch_or(asked, Ordering::SeqCst);
            return None;
        }
        self.caused_by_asking.store(!expired, Ordering::SeqCst);
        self.began.store(clock::now().0, Ordering::SeqCst);
        Some(word.epoch())
    }
}

/// The thread: looks at the deadline, kills, reports, and looks again.
fn watch(shared: &Shared, mut reaper: Reaper, tick: Duration) {
    seek_privileges(shared);
    while !shared.over.load(Ordering::SeqCst) {
        shared.ticked.store(clock::now().0, Ordering::SeqCst);
        if let Some(epoch) = shared.begin_killing()
            && let Some(_evidence) = kill(shared, &mut reaper)
        {
            shared.fenced_at.store(clock::now().0, Ordering::SeqCst);
            shared.word.store(Word::new(Phase::Fenced, epoch).0, Ordering::SeqCst);
            shared.told.notify_waiters();
        }
        std::thread::park_timeout(tick);
    }
}

/// Kills until nothing is left. There is nothing else worth doing: an office is given up only when
/// this returns. `None` when the handle was dropped before it came to an end.
fn kill(shared: &Shared, reaper: &mut Reaper) -> Option<Dead> {
    while !shared.over.load(Ordering::SeqCst) {
        let known = shared.postmaster.load(Ordering::SeqCst);
        if let Ok(dead) = reaper.kill(Pid::from_raw(known), ATTEMPT) {
            // A postmaster that was told of meanwhile stays told.
            let _forgotten =
                shared.postmaster.compare_exchange(known, 0, Ordering::SeqCst, Ordering::SeqCst);
            return Some(dead);
        }
        shared.ticked.store(clock::now().0, Ordering::SeqCst);
        std::thread::park_timeout(TICK);
    }
    None
}

fn seek_privileges(shared: &Shared) {
    use rustix::mm::{MlockAllFlags, mlockall};
    // Only what exists and is touched: locking what comes later would make allocations fail
    // wherever the limit on locked memory is low.
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT).is_ok();
    let raised = rustix::process::setpriority_process(None, PRIORITY).is_ok();
    let word = ASKED | if locked { LOCKED } else { 0 } | if raised { RAISED } else { 0 };
    shared.privileges.store(word, Ordering::SeqCst);
}
