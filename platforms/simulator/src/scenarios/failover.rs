//! Failover: who may take an office over, when, and what the old holder does meanwhile.

use crate::faults::{Mark, TaskKind};
use crate::scenario::properties::{
    clients_can_write, does, epoch_stays, fences_itself, holds_office, members, not, primary,
    records, settled, streams, writable,
};
use crate::scenario::words::{
    begins, crash_agent, crash_server, cut, cut_way, ends, fill_disk, freeze_with_clock, island,
    late, lose, ms, record_answers_lost, record_asked_late, record_out_of_reach, scale_up, secs,
    upon,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::seen::Change;

scenarios![
    a_lost_primary_is_replaced,
    an_island_stops_writing_in_time,
    a_late_answer_extends_nothing,
    a_write_confirmed_late_proves_little,
    a_grant_to_one_member_is_enough_to_go_on,
    a_bound_member_does_not_vote,
    most_members_are_not_all,
    a_lost_drop_of_a_grantor_changes_nothing,
    a_restarted_member_still_owes_its_grant,
    a_member_remembers_its_promise_across_a_crash,
    silence_between_two_waits_for_the_term,
    a_dead_standby_stops_nothing,
    a_deaf_standby_disturbs_nobody,
    an_election_that_came_to_nothing_blinds_nobody,
    whoever_joins_does_not_claim,
    whoever_the_grantors_leave_the_office_to_need_not_be_one,
    a_timeline_that_nobody_followed_is_not_reused,
];

fn a_lost_primary_is_replaced() -> Scenario {
    scenario("a* b c")
        .at(secs(12), lose("a").lasting(secs(8)))
        .eventually(clients_can_write(), secs(4))
        .eventually(settled(), secs(20))
        .sometimes(primary("b"))
        .sometimes(primary("c"))
}

/// Nothing tells it that others take over, so it must stop by its own clock, however slow.
fn an_island_stops_writing_in_time() -> Scenario {
    scenario("a* b")
        .drift("a", -10_000)
        .drift("b", 10_000)
        .at(secs(12), island("a"))
        .eventually(primary("b"), secs(5))
        .sometimes(fences_itself("a"))
}

/// The member counts from when it was asked, long before its answer arrives.
fn a_late_answer_extends_nothing() -> Scenario {
    scenario("a* b")
        .drift("a", -10_000)
        .drift("b", 10_000)
        .at(secs(12), record_out_of_reach("a").lasting(secs(8)))
        .at(secs(12), late("b", "a", ms(950)).lasting(secs(8)))
        .at(ms(14_200), cut("a", "b").lasting(secs(6)))
        .eventually(primary("b"), secs(8))
        .sometimes(fences_itself("a"))
}

/// The others count a term from when they saw the write, not from when its writer heard of it.
fn a_write_confirmed_late_proves_little() -> Scenario {
    scenario("a* b")
        .at(secs(12), cut("a", "b").lasting(secs(40)))
        .at(secs(14), record_answers_lost("a").lasting(ms(12_500)))
        .at(ms(26_800), record_out_of_reach("a").lasting(secs(25)))
        .eventually(primary("b"), secs(40))
        .sometimes(fences_itself("a"))
        .until(secs(55))
}

/// One of two grantors suffices, and while that one is bound nobody takes over.
fn a_grant_to_one_member_is_enough_to_go_on() -> Scenario {
    scenario("a* b c")
        .at(secs(12), cut("a", "b"))
        .at(secs(12), record_out_of_reach("a"))
        .always(writable("a"))
        .always(epoch_stays(1))
        .eventually(settled(), secs(1))
        .sometimes(not(settled()))
}

/// Its log is behind, so only its vote could help somebody else.
fn a_bound_member_does_not_vote() -> Scenario {
    scenario("a* b c")
        .at(secs(11), fill_disk("c").lasting(secs(12)))
        .at(secs(12), cut("a", "b"))
        .at(secs(12), record_out_of_reach("a"))
        .always(epoch_stays(1))
        .eventually(clients_can_write(), secs(1))
        .sometimes(writable("a"))
}

/// Without the record all members must agree: one that is cut off may be taking over.
fn most_members_are_not_all() -> Scenario {
    scenario("a* b c")
        .at(secs(12), cut("a", "c").lasting(secs(30)))
        .at(secs(12), cut("b", "c").lasting(secs(30)))
        .at(secs(12), record_out_of_reach("a").lasting(secs(30)))
        .at(secs(12), record_out_of_reach("b").lasting(secs(30)))
        .eventually(primary("c"), secs(20))
        .sometimes(fences_itself("a"))
}

/// The holder asks to go on without its silent grantor, and never hears whether it may.
fn a_lost_drop_of_a_grantor_changes_nothing() -> Scenario {
    scenario("a* b c")
        .at(secs(12), island("a"))
        .eventually(clients_can_write(), secs(5))
        .sometimes(fences_itself("a"))
}

/// What it granted before its restart is still relied upon.
fn a_restarted_member_still_owes_its_grant() -> Scenario {
    scenario("a* b c")
        .at(secs(12), cut("a", "b"))
        .at(secs(12), record_out_of_reach("a"))
        .at(ms(15_100), cut("a", "c").lasting(secs(7)))
        .at(ms(15_100), crash_agent("c"))
        .eventually(clients_can_write(), secs(10))
        .sometimes(fences_itself("a"))
}

/// It has no server, so it can only help somebody else: a promise that it forgot would let the old
/// primary, which slept and does not know it, go on beside the new one.
fn a_member_remembers_its_promise_across_a_crash() -> Scenario {
    scenario("a* b c")
        .at(secs(11), fill_disk("c").lasting(secs(14)))
        .at(secs(11), crash_server("c"))
        .at(secs(12), freeze_with_clock("a").lasting(ms(3_400)))
        .at(secs(12), record_out_of_reach("a").lasting(secs(20)))
        .at(secs(12), cut("a", "b").lasting(secs(20)))
        .at(secs(12), record_asked_late("b", secs(8)).lasting(secs(12)))
        .upon(upon(Mark::SealsAnother).by("c").then(ms(10)), crash_agent("c"))
        .eventually(primary("b"), secs(25))
        .sometimes(fences_itself("a"))
}

/// With no grantor left the record alone proves who holds office, for a whole term.
fn silence_between_two_waits_for_the_term() -> Scenario {
    scenario("a* b")
        .drift("a", -10_000)
        .drift("b", 10_000)
        .at(secs(12), cut("a", "b").lasting(secs(30)))
        .at(secs(14), record_out_of_reach("a").lasting(secs(28)))
        .eventually(primary("b"), secs(18))
        .sometimes(fences_itself("a"))
}

/// The last grantor is left out before its silence ends the right to write.
fn a_dead_standby_stops_nothing() -> Scenario {
    scenario("a* b")
        .at(secs(12), lose("b").lasting(secs(12)))
        .always(writable("a"))
        .eventually(settled(), secs(20))
        .sometimes(records(Change::Amend))
}

/// It hears nothing and is heard: it asks whether others hear the primary, and they do.
fn a_deaf_standby_disturbs_nobody() -> Scenario {
    scenario("a* b c")
        .at(secs(12), cut_way("a", "c").lasting(secs(20)))
        .always(writable("a"))
        .always(epoch_stays(1))
        .eventually(settled(), secs(26))
        .sometimes(not(settled()))
}

/// Its standbys promised the next epoch to a candidate that never reached the record.
fn an_election_that_came_to_nothing_blinds_nobody() -> Scenario {
    scenario("a* b c")
        .at(secs(12), freeze_with_clock("a").lasting(ms(3_300)))
        .at(secs(12), record_out_of_reach("b").lasting(secs(9)))
        .at(secs(12), record_out_of_reach("c").lasting(secs(9)))
        .always(holds_office("a"))
        .eventually(settled(), secs(20))
        .sometimes(records(Change::Bump))
}

/// Without the record its holder lives by the consent of all members, and this is not one yet.
fn whoever_joins_does_not_claim() -> Scenario {
    scenario("a* b")
        .at(secs(12), scale_up())
        .upon(begins(TaskKind::Clone).by("c"), record_out_of_reach("a").lasting(secs(30)))
        .upon(ends(TaskKind::Follow).by("c").then(secs(1)), cut("a", "c").lasting(secs(25)))
        .always(holds_office("a"))
        .eventually(streams("c", "a"), secs(8))
        .sometimes(members(3))
}

/// It opened and died before anybody saw its history: the next one must not choose the same number.
fn a_timeline_that_nobody_followed_is_not_reused() -> Scenario {
    scenario("a* b c")
        .at(secs(12), lose("a").lasting(secs(35)))
        .upon(ends(TaskKind::Promote), lose("actor").lasting(secs(35)))
        .eventually(clients_can_write(), secs(35))
        .sometimes(does("b", TaskKind::Promote))
        .until(secs(60))
}

/// The holder does not hear it, so it is no grantor; but the only one who is cannot take over.
fn whoever_the_grantors_leave_the_office_to_need_not_be_one() -> Scenario {
    scenario("a* b c")
        .at(secs(12), fill_disk("b"))
        .at(secs(12), crash_server("b"))
        .at(secs(12), cut("a", "c"))
        .at(secs(14), lose("a").lasting(secs(14)))
        .eventually(primary("c"), secs(7))
        .sometimes(records(Change::Claim))
}
