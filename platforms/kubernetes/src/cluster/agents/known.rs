//! Remembers what one pod's agent runs, and what it was given.
//!
//! Never takes an agent's silence for an answer.

use pgherd_core::fleet::agents::Agent;
use std::time::{Duration, Instant};

/// An agent in the middle of something becomes the other program when that is done.
const TAKES_UP_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What is known of the agent of one pod.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The unique id of the pod.
    pub(super) pod: String,
    stands: Stands,
    /// What it ran when it was last heard to run another one.
    other: Option<String>,
    failures: u32,
    /// Why it goes on with what it had.
    pub(super) refusal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Unknown,
    Current,
    Other,
    Given { at: Instant },
    Refused { until: Instant },
}

/// What an agent says of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// It is the operator's.
    Own,
    /// It is the one of this digest.
    Other(&'a str),
    Nothing,
}

impl Known {
    pub(super) fn nothing(pod: &str) -> Self {
        let (pod, stands) = (pod.to_owned(), Stands::Unknown);
        Self { pod, stands, other: None, failures: 0, refusal: None }
    }

    pub(super) fn agent(&self, now: Instant) -> Agent {
        match self.stands {
            Stands::Unknown => Agent::Unknown,
            Stands::Current => Agent::Current,
            Stands::Given { .. } => Agent::Given,
            Stands::Refused { until } if now < until => Agent::Refuses,
            Stands::Other | Stands::Refused { .. } => Agent::Other,
        }
    }

    pub(super) fn give(&mut self, now: Instant) {
        self.stands = Stands::Given { at: now };
    }

    /// It goes on as before, and is asked again later each time.
    pub(super) fn refuse(&mut self, why: String, now: Instant) {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.refusal = Some(why);
        self.stands = Stands::Refused { until: now + pause };
    }

    /// What it ran before, once it is heard to have become the operator's.
    pub(super) fn hear(&mut self, said: Said<'_>, now: Instant) -> Option<String> {
        if let Said::Other(digest) = said {
            self.other = Some(digest.to_owned());
        }
        match (said, self.stands) {
            (Said::Own, _) => {
                let before = self.other.take();
                *self = Self { stands: Stands::Current, ..Self::nothing(&self.pod) };
                return before;
            }
            (Said::Other(_), Stands::Given { at }) if now - at >= TAKES_UP_WITHIN => {
                self.refuse("it took it and did not take it up: its log says why".to_owned(), now);
            }
            (Said::Other(_), Stands::Unknown | Stands::Current) => self.stands = Stands::Other,
            (Said::Other(_), Stands::Other | Stands::Given { .. } | Stands::Refused { .. })
            | (Said::Nothing, _) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Said<'_> = Said::Other("b");
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_that_was_given_it_is_current_when_it_says_so() {
        let now = Instant::now();
        let mut known = Known::nothing("a");
        assert_eq!(known.agent(now), Agent::Unknown);
        known.hear(Said::Nothing, now);
        assert_eq!(known.agent(now), Agent::Unknown);
        known.hear(OTHER, now);
        assert_eq!(known.agent(now), Agent::Other);
        known.give(now);
        for said in [Said::Nothing, OTHER, Said::Nothing] {
            known.hear(said, now + 29 * SECOND);
            assert_eq!(known.agent(now + 29 * SECOND), Agent::Given);
        }
        let before = known.hear(Said::Own, now + 29 * SECOND);
        assert_eq!(known.agent(now), Agent::Current);
        assert_eq!(before.as_deref(), Some("b"));
        assert_eq!(known.hear(Said::Own, now + 30 * SECOND), None);
    }

    #[test]
    fn one_that_goes_on_as_before_is_tried_again_later_each_time() {
        let mut now = Instant::now();
        let mut known = Known::nothing("a");
        known.hear(OTHER, now);
        let mut pauses = Vec::new();
        for round in 0..7 {
            known.give(now);
            if round % 2 == 0 {
                now += 30 * SECOND;
                known.hear(OTHER, now);
            } else {
                known.refuse("no space".to_owned(), now);
            }
            let began = now;
            while known.agent(now) == Agent::Refuses {
                known.hear(OTHER, now);
                now += SECOND;
            }
            assert_eq!(known.agent(now), Agent::Other);
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
        assert!(known.refusal.is_some());
        known.hear(Said::Own, now);
        assert_eq!((known.refusal, known.failures), (None, 0));
    }

    #[test]
    fn silence_after_it_was_given_is_no_refusal() {
        let now = Instant::now();
        let mut known = Known::nothing("a");
        known.give(now);
        known.hear(Said::Nothing, now + 300 * SECOND);
        assert_eq!(known.agent(now + 300 * SECOND), Agent::Given);
    }
}
