//! Votes: whose count, which logs may win, and what a candidate must know before it takes over.

use crate::faults::TaskKind;
use crate::scenario::properties::{
    after, before, clients_can_write, does, holds_office, not, primary, records, settled, writable,
};
use crate::scenario::words::{
    applied, crash_agent, ends, fill_disk, freeze_with_clock, island, isolate, lose, ms,
    record_asked_late, record_out_of_reach, restore_record, secs, stop_agent, stop_server,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::seen::Change;
use pgherd_core::timers::Timers;

scenarios![
    a_candidate_receives_from_nobody,
    a_voter_that_still_receives_has_no_vote,
    the_rule_before_a_move_still_elects,
    a_newer_timeline_beats_a_longer_log,
    the_rule_before_a_takeover_still_elects,
    a_standby_too_far_behind_waits,
    a_member_remembers_that_nobody_grants_any_more,
];

/// Its position is final from the claim on, also when the primary it claims from wakes again.
fn a_candidate_receives_from_nobody() -> Scenario {
    scenario("a* b")
        .required(1)
        .at(secs(12), freeze_with_clock("a").lasting(ms(3_400)))
        .at(secs(12), record_out_of_reach("a").lasting(secs(8)))
        .at(secs(12), record_asked_late("b", secs(2)).lasting(secs(12)))
        .eventually(primary("b"), secs(15))
        .sometimes(records(Change::Claim))
}

/// The agent of the primary stands still, so nobody fences its server, which goes on sending.
fn a_voter_that_still_receives_has_no_vote() -> Scenario {
    scenario("a* b c")
        .required(1)
        .timers(Timers::FAST)
        .at(secs(12), stop_agent("a").lasting(secs(6)))
        .at(secs(13), stop_server("c").lasting(ms(1_800)))
        .eventually(after(secs(13), not(holds_office("a"))), secs(6))
        .eventually(after(secs(18), settled()), secs(20))
        .sometimes(records(Change::Claim))
        .sometimes(clients_can_write())
}

/// The primary has begun to leave out a silent voter, which alone has what was acknowledged.
fn the_rule_before_a_move_still_elects() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(11), fill_disk("b").lasting(secs(6)))
        .at(secs(12), island("c").lasting(secs(12)))
        .at(secs(15), lose("a").lasting(secs(25)))
        .eventually(primary("c"), secs(30))
        .sometimes(records(Change::Claim))
}

/// It wrote alone for long; what its successor acknowledged is shorter, and counts.
fn a_newer_timeline_beats_a_longer_log() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(10), fill_disk("b").lasting(secs(3)))
        .at(secs(10), fill_disk("c").lasting(secs(3)))
        .at(secs(13), island("a").lasting(secs(7)))
        .upon(ends(TaskKind::OpenGate).by("b").then(ms(2_200)), lose("b").lasting(secs(30)))
        .upon(ends(TaskKind::OpenGate).by("c").then(ms(2_200)), lose("c").lasting(secs(30)))
        .eventually(clients_can_write(), secs(60))
        .sometimes(records(Change::Claim))
        .until(secs(60))
}

/// The new holder dies before it opens; whoever comes next needs the votes that it needed.
fn the_rule_before_a_takeover_still_elects() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(11), fill_disk("c").lasting(ms(1_500)))
        .at(ms(12_500), lose("a").lasting(secs(40)))
        .upon(applied(Change::Claim), lose("b").lasting(secs(25)))
        .eventually(clients_can_write(), secs(40))
        .sometimes(primary("b"))
        .until(secs(60))
}

/// It knows by how much: more than its user is willing to lose.
fn a_standby_too_far_behind_waits() -> Scenario {
    scenario("a* b")
        .asynchronous(4_096)
        .at(secs(11), fill_disk("b").lasting(secs(4)))
        .at(secs(14), lose("a").lasting(secs(15)))
        .eventually(primary("a"), secs(25))
        .sometimes(does("a", TaskKind::Promote))
}

/// Cut off from the others, the primary let its grantors go and writes by its term alone. The record
/// is set back to when they still granted, and those who have read the newer one are started anew.
fn a_member_remembers_that_nobody_grants_any_more() -> Scenario {
    scenario("a* b c")
        .at(secs(12), isolate("a").lasting(secs(14)))
        .at(secs(16), restore_record(2))
        .at(ms(16_500), crash_agent("b"))
        .at(secs(19), crash_agent("c"))
        .always(before(secs(25), writable("a")))
        .eventually(after(secs(26), settled()), secs(20))
        .sometimes(after(secs(12), records(Change::Amend)))
        .until(secs(60))
}
