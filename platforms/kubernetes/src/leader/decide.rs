//! Decides what one operator does next in the election, from what it has seen and when.
//!
//! Never asks anybody, and never lets two lead: who leads has given up before others stop waiting.

use pgherd_core::units::Time;
use std::time::Duration;

/// A Lease that was not seen to change for so long has no living holder.
pub(super) const TAKEN_OVER_AFTER: Duration = Duration::from_secs(15);
/// Who could not renew for so long leaves: early enough for the request that is under way to end,
/// and for clocks that run at different speeds.
pub(super) const LEFT_AFTER: Duration = Duration::from_secs(10);
pub(super) const RENEWED_EVERY: Duration = Duration::from_secs(2);
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// All that one operator knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub sight: Sight,
    /// Since when it was seen like that.
    since: Time,
    /// What this one has won itself.
    pub lead: Option<Lead>,
}

/// What the Lease said when it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    Unread,
    Absent,
    Free { term: i32 },
    Held { holder: String, term: i32, renewed: String },
}

/// A Lease of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    /// Tells it from a lead of the same name, as of an earlier process in the same pod.
    pub term: i32,
    /// When the last renewal that succeeded was sent.
    pub renewed: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Put the own name in.
    Acquire,
    /// Say that it is still ours.
    Renew,
    /// Look again after that.
    Wait(Duration),
    /// It is lost: end at once.
    Leave,
}

impl Seen {
    pub(super) fn nothing(now: Time) -> Self {
        Self { sight: Sight::Unread, since: now, lead: None }
    }

    /// Takes note of what was read; the same as before is no change.
    pub(super) fn notice(&mut self, sight: Sight, now: Time) {
        if sight != self.sight {
            self.sight = sight;
            self.since = now;
        }
    }

    pub(super) fn is_anothers(&self, me: &str) -> bool {
        match (&self.sight, self.lead) {
            (Sight::Held { holder, term, .. }, Some(lead)) => holder != me || *term != lead.term,
            (Sight::Held { holder, .. }, None) => holder != me,
            (Sight::Unread | Sight::Absent | Sight::Free { .. }, _) => false,
        }
    }
}

pub(super) fn decide(seen: &Seen, me: &str, now: Time) -> Decision {
    match seen.lead {
        Some(lead) => keep(seen, lead, me, now),
        None => stand(seen, me, now),
    }
}

fn keep(seen: &Seen, lead: Lead, me: &str, now: Time) -> Decision {
    let is_ours = match &seen.sight {
        Sight::Held { holder, term, .. } => holder == me && *term == lead.term,
        // Whoever removed it, the next who makes it leads.
        Sight::Unread | Sight::Absent | Sight::Free { .. } => false,
    };
    let age = now.since(lead.renewed);
    if !is_ours || age >= LEFT_AFTER {
        Decision::Leave
    } else if age >= RENEWED_EVERY {
        Decision::Renew
    } else {
        Decision::Wait(RENEWED_EVERY.saturating_sub(age))
    }
}

fn stand(seen: &Seen, me: &str, now: Time) -> Decision {
    match &seen.sight {
        Sight::Unread => Decision::Wait(Duration::ZERO),
        Sight::Absent | Sight::Free { .. } => Decision::Acquire,
        // An earlier process of this pod, which has ended: a pod runs one at a time.
        Sight::Held { holder, .. } if holder == me => Decision::Acquire,
        Sight::Held { .. } => {
            let rest = TAKEN_OVER_AFTER.saturating_sub(now.since(seen.since));
            if rest.is_zero() { Decision::Acquire } else { Decision::Wait(rest.min(LOOKED_EVERY)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn at(milliseconds: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(milliseconds))
    }

    fn held(holder: &str, term: i32) -> Sight {
        Sight::Held { holder: holder.to_owned(), term, renewed: String::new() }
    }

    fn check(seen: &Seen, moments: &[u64], expected: &Expect) {
        let lines = moments
            .iter()
            .map(|moment| format!("{moment}: {:?}\n", decide(seen, "me", at(*moment))));
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn a_candidate_takes_what_nobody_holds_at_once() {
        for sight in [Sight::Absent, Sight::Free { term: 2 }, held("me", 2)] {
            let mut seen = Seen::nothing(at(0));
            assert_eq!(decide(&seen, "me", at(0)), Decision::Wait(Duration::ZERO));
            seen.notice(sight, at(1));
            assert_eq!(decide(&seen, "me", at(1)), Decision::Acquire);
        }
    }

    #[test]
    fn a_candidate_waits_until_the_holder_is_silent_for_long() {
        let mut seen = Seen::nothing(at(0));
        seen.notice(held("other", 1), at(1_000));
        check(
            &seen,
            &[1_000, 15_700, 15_999, 16_000],
            &expect![[r#"
            1000: Wait(1s)
            15700: Wait(300ms)
            15999: Wait(1ms)
            16000: Acquire
        "#]],
        );
    }

    #[test]
    fn only_a_change_begins_the_wait_anew() {
        let mut seen = Seen::nothing(at(0));
        seen.notice(held("other", 1), at(1_000));
        seen.notice(held("other", 1), at(14_000));
        assert_eq!(decide(&seen, "me", at(16_000)), Decision::Acquire);
        let renewed = "later".to_owned();
        seen.notice(Sight::Held { holder: "other".to_owned(), term: 1, renewed }, at(15_900));
        assert_eq!(decide(&seen, "me", at(16_000)), Decision::Wait(LOOKED_EVERY));
        seen.notice(held("third", 2), at(30_000));
        assert_eq!(decide(&seen, "me", at(44_999)), Decision::Wait(Duration::from_millis(1)));
    }

    #[test]
    fn who_leads_renews_and_leaves_in_time() {
        let lead = Some(Lead { term: 4, renewed: at(1_000) });
        let seen = Seen { sight: held("me", 4), since: at(0), lead };
        check(
            &seen,
            &[1_000, 2_999, 3_000, 10_999, 11_000, 40_000],
            &expect![[r#"
            1000: Wait(2s)
            2999: Wait(1ms)
            3000: Renew
            10999: Renew
            11000: Leave
            40000: Leave
        "#]],
        );
        // A request that is sent at the last moment has ended, and then it leaves.
        assert!(LEFT_AFTER + super::super::DEADLINE * 2 < TAKEN_OVER_AFTER);
    }

    #[test]
    fn who_sees_another_lead_leaves_at_once() {
        for sight in [held("other", 5), held("me", 5), Sight::Absent, Sight::Free { term: 4 }] {
            let lead = Some(Lead { term: 4, renewed: at(0) });
            let seen = Seen { sight, since: at(0), lead };
            assert_eq!(decide(&seen, "me", at(1)), Decision::Leave, "{seen:?}");
        }
    }
}
