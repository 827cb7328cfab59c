//! Answers a peer's request at once, from what is seen.
//!
//! Never answers before the steps it names are done: a reply says what is already persisted.

use crate::instance::restarts;
use crate::intent::Intent;
use crate::message::{
    Basis, Heartbeat, HeartbeatReply, Known, Purpose, Released, Reply, Request, Revoke, Stance,
    Standing, Vote,
};
use crate::names::InstanceName;
use crate::notice::Event;
use crate::plan::Step;
use crate::reason::Reason;
use crate::rules::{Rule, broken};
use crate::seen::{Durable, Seen, Server};
use crate::units::{Epoch, Time};

/// What to do, and then what to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Perform these first, in order.
    pub steps: Vec<Step>,
    pub reply: Reply,
    /// What the request itself tells: notice it after the steps and before the reply leaves.
    pub heard: Option<Event>,
}

/// The answer of the instance that sees `seen` to a request of the authenticated peer `from`.
pub fn answer(
    intent: &Intent,
    seen: &Seen,
    from: &InstanceName,
    request: &Request,
    now: Time,
) -> Answered {
    match request {
        Request::Heartbeat(asked) => heartbeat(intent, seen, from, (asked, now)),
        Request::Revoke(asked) => revoke(intent, seen, from, (asked, now)),
        Request::Released(_) => Answered {
            steps: Vec::new(),
            reply: Reply::Released,
            heard: Some(Event::Heard {
                from: from.clone(),
                request: request.clone(),
                granted_until: None,
            }),
        },
    }
}

/// How this instance stands, as it tells its peers.
pub fn standing(intent: &Intent, seen: &Seen) -> Standing {
    if intent.is_fenced(seen.name()) {
        return Standing::Fenced;
    }
    match &seen.server {
        Server::Primary(_) => Standing::Primary,
        Server::Standby(standby) if standby.streaming => {
            Standing::Streaming { position: standby.position }
        }
        Server::Standby(standby) => Standing::Waiting { position: standby.position },
        Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting => {
            Standing::Unready
        }
    }
}

fn heartbeat(
    intent: &Intent,
    seen: &Seen,
    from: &InstanceName,
    (asked, now): (&Heartbeat, Time),
) -> Answered {
    let mut steps = Vec::new();
    let obsolete = asked.epoch < seen.highest_known()
        || (asked.epoch < seen.durable.known.promise && !broken(Rule::PromiseBinds));
    // Two holders of one epoch cannot be: whoever speaks second is refused.
    let rival = seen.grant.heard.as_ref().is_some_and(|heard| {
        heard.epoch == asked.epoch && heard.from != *from && asked.epoch >= seen.highest_known()
    });
    let mine = seen.my_office().is_some_and(|record| record.epoch >= asked.epoch);
    let granted = !(obsolete || rival || mine);
    let mut knows = knows(seen, seen.durable.known);
    if granted {
        if seen.is_writable() && !broken(Rule::FenceOnHigherEpoch) {
            steps.push(Step::Fence { because: Reason::NewerEpoch { epoch: asked.epoch } });
        }
        let mut known = seen.durable.known;
        known.epoch = known.epoch.max(asked.epoch);
        known.promise = known.promise.max(asked.epoch);
        knows = self::knows(seen, known);
        if known != seen.durable.known {
            steps.push(Step::Persist(Durable { known, ..seen.durable.clone() }));
        }
    }
    let reply = HeartbeatReply {
        epoch: asked.epoch,
        sent: asked.sent,
        incarnation: asked.incarnation,
        granted,
        knows,
        standing: standing(intent, seen),
        wants_restart: restarts::is_wanted(intent, seen) || restarts::is_under_way(seen),
        restarted: Some(seen.durable.restarted),
    };
    let heard = granted.then(|| Event::Heard {
        from: from.clone(),
        request: Request::Heartbeat(asked.clone()),
        granted_until: Some(now.after(intent.timers.grant)),
    });
    Answered { steps, reply: Reply::Heartbeat(reply), heard }
}

fn revoke(
    intent: &Intent,
    seen: &Seen,
    from: &InstanceName,
    (asked, now): (&Revoke, Time),
) -> Answered {
    let mut steps = Vec::new();
    let mut durable = seen.durable.clone();
    let refused = is_refused(seen, asked, now);
    let stance = if refused {
        Stance::Refused
    } else if asked.purpose == Purpose::Survey {
        Stance::Revoked
    } else {
        durable.known.promise = durable.known.promise.max(asked.proposed);
        durable.seal = durable.seal.max(asked.proposed);
        if durable != seen.durable && !broken(Rule::PersistPromise) {
            steps.push(Step::Persist(durable.clone()));
        }
        sealed_stance(seen, asked.proposed)
    };
    let vote = Vote {
        proposed: asked.proposed,
        ballot: asked.ballot,
        purpose: asked.purpose,
        knows: knows(seen, durable.known),
        stance,
        standing: standing(intent, seen),
    };
    let heard = asked.released.as_ref().map(|_| Event::Heard {
        from: from.clone(),
        request: Request::Revoke(asked.clone()),
        granted_until: None,
    });
    // The mutant remembers its promise for as long as it lives.
    let forgetful = broken(Rule::PersistPromise) && durable != seen.durable;
    let heard = if forgetful { Some(Event::Persisted(durable)) } else { heard };
    Answered { steps, reply: Reply::Revoke(vote), heard }
}

/// Whether this instance is bound to somebody else, holds office, or knows better.
fn is_refused(seen: &Seen, asked: &Revoke, now: Time) -> bool {
    let newer = seen.highest_known() > asked.epoch || seen.durable.known.promise > asked.proposed;
    let claiming = seen.outstanding.is_some();
    let serving = seen.is_writable() || (seen.my_office().is_some() && seen.release_sent.is_none());
    let bound =
        now < seen.grant.until && !is_released(seen, asked) && !broken(Rule::OwnGrantBindsVote);
    newer || is_set_back(seen, asked) || claiming || serving || bound
}

/// The candidate takes a record for the newest that was replaced long ago: somebody has set the
/// store back, and what has to be asked of whom is in the record that this instance remembers.
fn is_set_back(seen: &Seen, asked: &Revoke) -> bool {
    asked.basis == Basis::Stored
        && seen
            .durable
            .record
            .as_ref()
            .is_some_and(|known| known.epoch == asked.epoch && known.revision > asked.revision)
}

/// The holder itself has freed the office: no clock is needed.
fn is_released(seen: &Seen, asked: &Revoke) -> bool {
    let frees = |release: &Released| release.epoch == asked.epoch;
    asked.released.as_ref().is_some_and(frees)
        || seen.released.as_ref().is_some_and(|heard| frees(&heard.release))
}

/// A position counts only once the server no longer receives from anybody below `proposed`.
fn sealed_stance(seen: &Seen, proposed: Epoch) -> Stance {
    match &seen.server {
        Server::Standby(standby)
            if standby.follows.is_none()
                && !standby.streaming
                && standby.settled
                && seen.task.is_none()
                && seen.durable.seal <= proposed =>
        {
            Stance::Sealed { position: standby.position }
        }
        Server::Standby(standby) if broken(Rule::SealBeforeVote) => {
            Stance::Sealed { position: standby.position }
        }
        Server::Standby(_)
        | Server::Primary(_)
        | Server::Unknown
        | Server::Absent
        | Server::Down { .. }
        | Server::Starting => Stance::Revoked,
    }
}

fn knows(seen: &Seen, known: Known) -> Known {
    let epoch = seen.highest_known().max(known.epoch);
    Known { epoch, promise: known.promise.max(epoch) }
}
