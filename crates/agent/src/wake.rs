//! Everything that can wake the agent's loop, in one queue.
//!
//! Never carries work: a wake says that something happened, and the plan decides what follows.

use crate::backup::Asked;
use crate::dump;
use crate::http::refusal::{Kind, Refusal};
use crate::metrics::Facts;
use crate::observe::Look;
use crate::perform::Ended;
use crate::perform::upkeep::Duty;
use crate::process::clock;
use crate::process::fence::Fenced;
use crate::reexec::Handover;
use pgherd_api::agent::{
    BackupReport, DumpReport, RestorePoint, RestorePointOrder, Specification, Status,
};
use pgherd_core::message::{Reply, Request};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use pgherd_core::units::Time;
use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};

/// How many may wait; whoever brings another one waits, too.
const QUEUE: usize = 256;

#[derive(Debug)]
pub enum Wake {
    /// It is time to plan again.
    Deadline,
    /// A peer asks, and waits for the reply.
    Asked {
        from: InstanceName,
        request: Request,
        answer: oneshot::Sender<Reply>,
    },
    /// Somebody wants to know how this instance is doing.
    StatusAsked {
        answer: oneshot::Sender<Status>,
    },
    /// The same for programs that count.
    MetricsAsked {
        answer: oneshot::Sender<Box<Facts>>,
    },
    /// Somebody wants a base backup, or to know how one goes.
    BackupAsked {
        asked: Asked,
        answer: oneshot::Sender<Result<Option<BackupReport>, Refusal>>,
    },
    /// Somebody wants a dump or a restore from one, or to know how it goes.
    DumpAsked {
        asked: dump::Asked,
        answer: oneshot::Sender<Result<Option<DumpReport>, Refusal>>,
    },
    /// A backup that is taken here waits for log that the primary has not finished.
    LogWanted,
    /// The same of one that is taken elsewhere, if this is the primary.
    LogAsked {
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Somebody wants a restore point, if this is the primary.
    RestorePointAsked {
        order: RestorePointOrder,
        answer: oneshot::Sender<Result<RestorePoint, Refusal>>,
    },
    /// Somebody wants to try out whether another program can go on from here.
    HandoverAsked {
        answer: oneshot::Sender<Box<Handover>>,
    },
    Replied {
        from: InstanceName,
        reply: Reply,
    },
    /// The record as it was at some moment after `sent`.
    RecordRead {
        sent: Time,
        record: Option<Record>,
    },
    Specified(Box<Specification>),
    Looked(Box<Look>),
    TaskEnded(Box<Ended>),
    /// What a server needs besides its plan is there.
    KeptUp(Duty, Vec<String>),
    /// The postmaster has ended and is reaped; others of its tree may live.
    PostmasterEnded {
        postmaster: Pid,
    },
    /// The fencing thread has killed the tree.
    Fenced(Fenced),
    Signalled(Signalled),
}

/// What the process was asked for by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// SIGTERM or SIGINT: hand over, stop PostgreSQL and end.
    Leave,
    /// SIGUSR1: become the program that is installed now, and keep PostgreSQL.
    Reexecute,
    /// SIGHUP: read the agent's configuration again.
    Reload,
}

/// Brings wakes from tasks and requests to the loop.
#[derive(Debug, Clone)]
pub struct Waker(mpsc::Sender<Wake>);

/// The loop's end of the queue.
#[derive(Debug)]
pub struct Wakes(mpsc::Receiver<Wake>);

pub fn queue() -> (Waker, Wakes) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Waker(sender), Wakes(receiver))
}

impl Waker {
    /// Waits for a place. A loop that has ended needs no wake.
    pub async fn wake(&self, wake: Wake) {
        let _ended = self.0.send(wake).await;
    }

    /// Wakes the loop with a question and waits for what it answers.
    pub async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Wake,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.wake(question(answer)).await;
        answered.await.map_err(|_| {
            Refusal::new(Kind::Unavailable, "this instance cannot answer yet: ask again later")
        })
    }
}

impl Wakes {
    /// The next wake, or [`Wake::Deadline`] at `deadline`.
    pub async fn next(&mut self, deadline: Time) -> Wake {
        let left = deadline.since(clock::now());
        match tokio::time::timeout(left, self.0.recv()).await {
            Ok(Some(wake)) => wake,
            // No waker is left only while everything is being dropped.
            Ok(None) | Err(_) => Wake::Deadline,
        }
    }
}
