//! Takes note of what happened: the only place where [`Seen`](crate::seen::Seen) changes.
//!
//! Never decides anything: a fact goes in, and the next plan reads it.

use crate::message::{Reply, Request};
use crate::names::InstanceName;
use crate::plan::{Note, Outcome, Task};
use crate::record::Record;
use crate::record::Write;
use crate::seen::{Change, Durable, Health, Seen, Server};
use crate::units::Time;

/// Something that happened, as one driver or another noticed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A `Persist` step is on disk.
    Persisted(Durable),
    Remembered(Note),
    /// A heartbeat or ballot request left.
    Sent {
        to: InstanceName,
        request: Request,
    },
    Replied {
        from: InstanceName,
        reply: Reply,
    },
    /// A peer's request was answered; `granted_until` when the answer was a grant.
    Heard {
        from: InstanceName,
        request: Request,
        granted_until: Option<Time>,
    },
    ReadSent,
    /// The store answered a read that was sent at `sent`.
    RecordRead {
        sent: Time,
        record: Option<Record>,
    },
    WriteSent {
        write: Write,
        change: Change,
    },
    /// The fencing thread was given this deadline.
    Armed {
        until: Time,
    },
    /// Every process of the server is dead and reaped.
    Reaped,
    /// A look at the server, from its processes, control file and probe.
    Looked {
        server: Server,
        health: Health,
    },
    Started(Task),
    Finished {
        task: Task,
        outcome: Outcome,
    },
}

impl Seen {
    /// Folds one event into what is seen.
    pub fn notice(&mut self, _event: Event, _now: Time) {}
}
