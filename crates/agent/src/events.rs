//! The history of verdicts: what an agent did and why, for people who ask afterwards.
//!
//! Never repeats a verdict: only changes of state or of reason are kept and logged.

use jiff::Timestamp;
use pgherd_api::agent::{Happening, VerdictSeen};
use pgherd_core::plan::Verdict;
use pgherd_core::reason::Reason;
use pgherd_core::units::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::mem::discriminant;
use tracing::info;

/// How many changes are kept; the log file has them all.
const KEPT: usize = 100;

/// The present verdict and those before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Events {
    present: VerdictSeen,
    past: VecDeque<Happening>,
    #[serde(skip)]
    verdict: Option<Verdict>,
}

impl Events {
    pub fn new(now: Timestamp) -> Self {
        let present = VerdictSeen {
            state: "waiting".to_owned(),
            reason: "the agent has just started".to_owned(),
            because: serde_json::Value::Null,
            since: now,
        };
        Self { present, past: VecDeque::new(), verdict: None }
    }

    /// Takes note of a verdict. A reason that only counts on, like a silence that grows, is
    /// updated in place.
    pub fn note(&mut self, verdict: &Verdict, now: Timestamp) {
        if self.verdict.as_ref() == Some(verdict) {
            return;
        }
        let is_news = !self.verdict.as_ref().is_some_and(|last| is_same(last, verdict));
        let state = state_of(verdict);
        let reason = verdict.because().to_string();
        if is_news {
            let epoch = epoch_of(verdict);
            info!(state, because = %reason, epoch = epoch.map(|epoch| epoch.0), "verdict");
            if self.past.len() == KEPT {
                self.past.pop_front();
            }
            let state = state.to_owned();
            self.past.push_back(Happening { at: now, state, reason: reason.clone(), epoch });
        }
        let because = serde_json::to_value(verdict.because()).unwrap_or_default();
        let since = if is_news { now } else { self.present.since };
        self.present = VerdictSeen { state: state.to_owned(), reason, because, since };
        self.verdict = Some(verdict.clone());
    }

    pub fn present(&self) -> &VerdictSeen {
        &self.present
    }

    /// The last changes, oldest first.
    pub fn past(&self) -> impl Iterator<Item = &Happening> {
        self.past.iter()
    }
}

fn is_same(last: &Verdict, next: &Verdict) -> bool {
    discriminant(last) == discriminant(next)
        && epoch_of(last) == epoch_of(next)
        && is_same_reason(last.because(), next.because())
}

fn is_same_reason(last: &Reason, next: &Reason) -> bool {
    match (last, next) {
        (Reason::TaskRunning { task: last, .. }, Reason::TaskRunning { task: next, .. }) => {
            last == next
        }
        (Reason::Writing { change: last }, Reason::Writing { change: next }) => last == next,
        (last, next) => discriminant(last) == discriminant(next),
    }
}

fn state_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Serving { .. } => "serving",
        Verdict::Opening { .. } => "opening",
        Verdict::Following { .. } => "following",
        Verdict::Claiming { .. } => "claiming",
        Verdict::Rejoining { .. } => "rejoining",
        Verdict::Leaving { .. } => "leaving",
        Verdict::Fencing { .. } => "fencing",
        Verdict::Waiting { .. } => "waiting",
    }
}

fn epoch_of(verdict: &Verdict) -> Option<Epoch> {
    match verdict {
        Verdict::Serving { epoch, .. } | Verdict::Opening { epoch, .. } => Some(*epoch),
        Verdict::Following { .. }
        | Verdict::Claiming { .. }
        | Verdict::Rejoining { .. }
        | Verdict::Leaving { .. }
        | Verdict::Fencing { .. }
        | Verdict::Waiting { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn waiting(seconds: u64) -> Verdict {
        Verdict::Waiting { because: Reason::GrantRuns { left: Duration::from_secs(seconds) } }
    }

    #[test]
    fn only_changes_are_history_and_the_present_counts_on() {
        let mut events = Events::new(Timestamp::UNIX_EPOCH);
        let later = |seconds| Timestamp::from_second(seconds).unwrap();
        events.note(&waiting(3), later(1));
        events.note(&waiting(2), later(2));
        events.note(&Verdict::Serving { epoch: Epoch(4), because: Reason::Retaking }, later(3));
        events.note(&Verdict::Serving { epoch: Epoch(5), because: Reason::Retaking }, later(4));
        let states: Vec<_> = events.past().map(|past| (past.state.as_str(), past.epoch)).collect();
        assert_eq!(
            states,
            [("waiting", None), ("serving", Some(Epoch(4))), ("serving", Some(Epoch(5)))]
        );
        assert_eq!(events.present().since, later(4));
    }

    #[test]
    fn the_history_has_a_bound() {
        let mut events = Events::new(Timestamp::UNIX_EPOCH);
        for epoch in 0..200 {
            let verdict = Verdict::Serving { epoch: Epoch(epoch), because: Reason::Retaking };
            events.note(&verdict, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(events.past().count(), KEPT);
        assert_eq!(events.past().last().unwrap().epoch, Some(Epoch(199)));
    }
}
