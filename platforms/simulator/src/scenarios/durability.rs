//! Durability: what was acknowledged in synchronous mode is in the log of every later primary.

use crate::scenario::properties::{clients_can_write, fences_itself, holds_office, settled};
use crate::scenario::words::{
    freeze_with_clock, lose, ms, record_asked_late, record_out_of_reach, secs,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;

scenarios![a_lost_primary_loses_no_commit, a_frozen_primary_gets_no_new_grant,];

fn a_lost_primary_loses_no_commit() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), lose("a").lasting(secs(8)))
        .eventually(clients_can_write(), secs(4))
        .eventually(settled(), secs(20))
        .sometimes(holds_office("b"))
}

/// It wakes after both others have promised the next epoch, and does not know that it slept.
fn a_frozen_primary_gets_no_new_grant() -> Scenario {
    scenario("a* b c")
        .at(secs(12), freeze_with_clock("a").lasting(ms(3_400)))
        .at(secs(12), record_out_of_reach("a").lasting(secs(20)))
        .at(secs(12), record_asked_late("b", secs(6)))
        .at(secs(12), record_asked_late("c", secs(6)))
        .eventually(clients_can_write(), secs(25))
        .sometimes(fences_itself("a"))
}
