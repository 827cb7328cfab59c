//! Switchover: the office is handed over on request, and nothing is lost on the way.

use crate::faults::TaskKind;
use crate::scenario::properties::{
    after, clients_can_write, epoch_stays, holds_office, not, primary, records, settled, streams,
};
use crate::scenario::words::{
    begins, cut, island, kill_container, leave, lose, ms, secs, switch_over_to,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::seen::Change;

scenarios![
    the_wished_standby_takes_over,
    a_wish_for_an_unreachable_standby_is_given_up,
    a_failover_ends_a_switchover_that_was_asked_for_before,
    a_target_that_dies_during_the_stop_costs_no_data,
    a_primary_that_leaves_for_a_while_hands_over_first,
];

fn the_wished_standby_takes_over() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), switch_over_to("c"))
        .eventually(primary("c"), secs(3))
        .eventually(streams("a", "c"), secs(6))
        .always(not(primary("b")))
        .sometimes(records(Change::HandOver))
}

fn a_wish_for_an_unreachable_standby_is_given_up() -> Scenario {
    scenario("a* b c")
        .at(secs(12), island("c").lasting(secs(20)))
        .at(secs(14), switch_over_to("c"))
        .always(epoch_stays(1))
        .eventually(records(Change::AbortHandOver), secs(8))
        .sometimes(primary("a"))
}

/// The standby that was asked for is not ready before it, and is soon after it.
fn a_failover_ends_a_switchover_that_was_asked_for_before() -> Scenario {
    scenario("a* b c")
        .at(secs(12), cut("a", "c").lasting(secs(20)))
        .at(secs(15), switch_over_to("c"))
        .at(secs(16), lose("a").lasting(secs(20)))
        .eventually(primary("b"), secs(10))
        .always(not(primary("c")))
        .eventually(records(Change::AbortHandOver), secs(15))
        .eventually(after(secs(36), settled()), secs(40))
        .sometimes(streams("c", "b"))
}

fn a_target_that_dies_during_the_stop_costs_no_data() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), switch_over_to("b"))
        .upon(begins(TaskKind::Stop).by("a"), kill_container("b"))
        .upon(begins(TaskKind::Stop).by("a"), cut("a", "b").lasting(secs(5)))
        .eventually(after(secs(14), settled()), secs(25))
        .sometimes(primary("c"))
}

fn a_primary_that_leaves_for_a_while_hands_over_first() -> Scenario {
    scenario("a* b c")
        .at(secs(12), leave("a"))
        .eventually(not(holds_office("a")), secs(3))
        .eventually(after(ms(12_500), clients_can_write()), secs(4))
        .eventually(after(secs(22), settled()), secs(25))
        .sometimes(records(Change::HandOver))
}
