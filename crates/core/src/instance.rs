//! What one instance does next: an ordered list of concerns, the first that has something to say
//! decides.
//!
//! Never looks anywhere but at its arguments.

use crate::intent::Intent;
use crate::plan::{Plan, Verdict};
use crate::reason::Reason;
use crate::seen::Seen;
use crate::units::Time;
use std::time::Duration;

pub fn plan(_intent: &Intent, _seen: &Seen, _now: Time) -> Plan {
    Plan {
        steps: Vec::new(),
        verdict: Verdict::Waiting { because: Reason::NothingToDo },
        look_again_after: Duration::from_millis(500),
    }
}
