//! Failover: who may take an office over, when, and what the old holder does meanwhile.

use crate::faults::{Mark, TaskKind};
use crate::scenario::properties::{
    after, asks_for, before, clients_can_write, does, epoch_stays, fences_itself, happens,
    holds_office, nobody_writable, not, primary, records, settled, writable,
};
use crate::scenario::words::{
    applied, begins, crash_agent, crash_server, cut, cut_way, delete_record, ends, fill_disk,
    freeze_with_clock, island, isolate, kill_postmaster, late, lose, lose_all, ms, pause,
    record_answers_lost, record_asked_late, record_down, record_out_of_reach, secs, stop_agent,
    upon,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::seen::Change;

scenarios![
    a_lost_primary_is_replaced,
    a_primary_that_wakes_stops_when_it_hears_of_its_successor,
    one_that_slept_through_its_term_does_not_open,
    the_elected_one_goes_on_although_the_record_is_gone,
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
    whoever_the_grantors_leave_the_office_to_need_not_be_one,
    a_timeline_that_nobody_followed_is_not_reused,
    a_dead_postmaster_costs_little_more_than_a_second,
    a_burst_of_losses_costs_no_failover,
    an_outage_of_the_record_stops_nothing,
    a_crash_during_an_outage_of_the_record_is_healed_after_it,
    a_full_disk_moves_nothing,
    two_of_three_lost_together_cost_a_term,
    everybody_lost_together_comes_back_with_everything,
    a_paused_cluster_is_left_alone,
];

fn a_lost_primary_is_replaced() -> Scenario {
    scenario("a* b c")
        .at(secs(12), lose("a").lasting(secs(8)))
        .eventually(clients_can_write(), secs(4))
        .eventually(settled(), secs(20))
        .sometimes(primary("b"))
        .sometimes(primary("c"))
}

/// By its clocks it has seconds left, because they stood still as well.
fn a_primary_that_wakes_stops_when_it_hears_of_its_successor() -> Scenario {
    scenario("a* b c")
        .at(secs(12), freeze_with_clock("a").lasting(secs(4)))
        .eventually(after(secs(16), not(writable("a"))), ms(4_700))
        .eventually(settled(), secs(20))
        .sometimes(fences_itself("a"))
}

/// It has decided to, and stands still before it does.
fn one_that_slept_through_its_term_does_not_open() -> Scenario {
    scenario("a* b c")
        .asynchronous(1 << 20)
        .at(secs(12), lose("a").lasting(secs(50)))
        .upon(applied(Change::Claim).then(ms(6)), stop_agent("actor").lasting(secs(25)))
        .eventually(clients_can_write(), secs(30))
        .sometimes(happens(Mark::PutsOff))
        .until(secs(60))
}

/// The old primary has more, which nobody was told of; and no record says so any more.
fn the_elected_one_goes_on_although_the_record_is_gone() -> Scenario {
    scenario("a* b")
        .required(1)
        .at(secs(11), late("a", "b", ms(350)).lasting(secs(4)))
        .at(secs(12), crash_agent("a"))
        .upon(begins(TaskKind::Promote).by("b"), kill_postmaster("b"))
        .upon(begins(TaskKind::Promote).by("b").then(ms(500)), lose_all().lasting(secs(10)))
        .upon(begins(TaskKind::Promote).by("b").then(secs(2)), delete_record())
        .eventually(after(secs(18), clients_can_write()), secs(55))
        .sometimes(records(Change::Claim))
        .until(secs(75))
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
        .eventually(after(secs(22), settled()), secs(20))
        .sometimes(not(settled()))
}

/// Its log is behind, so only its vote could help somebody else.
fn a_bound_member_does_not_vote() -> Scenario {
    scenario("a* b c")
        .at(secs(11), fill_disk("c").lasting(secs(12)))
        .at(secs(12), cut("a", "b"))
        .at(secs(12), record_out_of_reach("a"))
        .always(epoch_stays(1))
        .eventually(after(secs(23), settled()), secs(20))
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
        .eventually(not(holds_office("a")), secs(4))
        .eventually(after(secs(15), clients_can_write()), secs(5))
        .sometimes(fences_itself("a"))
}

/// What it granted before its restart is still relied upon.
fn a_restarted_member_still_owes_its_grant() -> Scenario {
    scenario("a* b c")
        .at(secs(12), cut("a", "b"))
        .at(secs(12), record_out_of_reach("a"))
        .at(ms(15_100), cut("a", "c").lasting(secs(7)))
        .at(ms(15_100), crash_agent("c"))
        .eventually(after(secs(16), nobody_writable()), secs(6))
        .eventually(after(secs(22), clients_can_write()), secs(20))
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
        .eventually(after(secs(32), settled()), secs(26))
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

/// Its agent knows at once, and says so to the others.
fn a_dead_postmaster_costs_little_more_than_a_second() -> Scenario {
    scenario("a* b c")
        .at(secs(12), kill_postmaster("a"))
        .always(epoch_stays(2))
        .eventually(clients_can_write(), ms(1_500))
        .eventually(settled(), secs(8))
        .sometimes(happens(Mark::AnnouncesRelease))
}

fn a_burst_of_losses_costs_no_failover() -> Scenario {
    scenario("a* b c")
        .at(secs(12), isolate("a").lasting(ms(1_900)))
        .always(writable("a"))
        .always(epoch_stays(1))
        .eventually(after(secs(14), settled()), secs(8))
        .sometimes(not(settled()))
}

/// All members grant, and that is enough for as long as it lasts.
fn an_outage_of_the_record_stops_nothing() -> Scenario {
    scenario("a* b c")
        .at(secs(12), record_down().lasting(secs(30)))
        .always(writable("a"))
        .always(epoch_stays(1))
        .eventually(after(secs(42), settled()), secs(33))
        .sometimes(asks_for("a", Change::Amend))
}

fn a_crash_during_an_outage_of_the_record_is_healed_after_it() -> Scenario {
    scenario("a* b c")
        .at(secs(12), record_down().lasting(secs(10)))
        .at(secs(14), kill_postmaster("a"))
        .eventually(nobody_writable(), secs(3))
        .eventually(after(secs(22), settled()), secs(20))
        .sometimes(not(holds_office("a")))
}

/// A standby's disk would be full soon, too.
fn a_full_disk_moves_nothing() -> Scenario {
    scenario("a* b c")
        .at(secs(12), fill_disk("a").lasting(secs(15)))
        .always(before(secs(27), holds_office("a")))
        .eventually(after(secs(27), settled()), secs(25))
        .sometimes(nobody_writable())
}

fn two_of_three_lost_together_cost_a_term() -> Scenario {
    scenario("a* b c")
        .at(secs(12), lose("a").lasting(secs(25)))
        .at(secs(12), lose("b").lasting(secs(25)))
        .eventually(primary("c"), secs(17))
        .eventually(settled(), secs(40))
        .sometimes(nobody_writable())
}

fn everybody_lost_together_comes_back_with_everything() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), lose_all().lasting(secs(10)))
        .eventually(nobody_writable(), secs(1))
        .eventually(settled(), secs(30))
        .sometimes(records(Change::Retake))
}

fn a_paused_cluster_is_left_alone() -> Scenario {
    scenario("a* b c")
        .at(secs(12), pause().lasting(secs(25)))
        .at(secs(14), lose("a").lasting(secs(4)))
        .always(before(secs(37), epoch_stays(1)))
        .eventually(after(secs(37), clients_can_write()), secs(27))
        .eventually(after(secs(37), settled()), secs(40))
        .sometimes(nobody_writable())
}
