//! Switchover: the office is handed over on request, and nothing is lost on the way.

use crate::faults::TaskKind;
use crate::scenario::properties::{epoch_stays, not, primary, records, settled};
use crate::scenario::words::{begins, cut, island, kill_container, secs, switch_over_to};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::seen::Change;

scenarios![
    the_wished_standby_takes_over,
    a_wish_for_an_unreachable_standby_is_given_up,
    a_target_that_dies_during_the_stop_costs_no_data,
];

fn the_wished_standby_takes_over() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), switch_over_to("c"))
        .eventually(primary("c"), secs(3))
        .eventually(settled(), secs(6))
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

fn a_target_that_dies_during_the_stop_costs_no_data() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), switch_over_to("b"))
        .upon(begins(TaskKind::Stop).by("a"), kill_container("b"))
        .upon(begins(TaskKind::Stop).by("a"), cut("a", "b").lasting(secs(5)))
        .eventually(settled(), secs(25))
        .sometimes(primary("c"))
}
