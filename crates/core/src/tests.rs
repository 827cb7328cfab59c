//! Decisions as text: a situation in, the plan as people would read it out.
//!
//! Never asks a private function: only `plan`, `answer`, `notice` and `audit`.

use crate::audit::audit;
use crate::fixtures::{NOW, told};
use crate::instance::plan;
use crate::intent::Intent;
use crate::seen::Seen;
use expect_test::Expect;

mod failover;
mod lease;
mod quorum;
mod rejoin;
mod serving;
mod switchover;

/// Plans, audits, and compares what people would read.
#[expect(clippy::needless_pass_by_value, reason = "a snapshot is written where it is compared")]
fn check(intent: &Intent, seen: &Seen, expected: Expect) {
    let plan = plan(intent, seen, NOW);
    audit(&plan, intent, seen, NOW).unwrap();
    expected.assert_eq(&told(&plan));
}
