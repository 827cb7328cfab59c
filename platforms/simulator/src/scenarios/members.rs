//! Members: who belongs, from when on, and what comes of those who come and go.

use crate::faults::TaskKind;
use crate::scenario::properties::{
    after, does, holds_office, members, records, settled, streams, writable,
};
use crate::scenario::words::{
    begins, cut, ends, ms, record_out_of_reach, scale_down, scale_up, secs,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::seen::Change;

scenarios![
    whoever_joins_does_not_claim,
    one_more_standby_is_copied_and_becomes_a_member,
    a_primary_that_shall_go_hands_over_first,
];

/// Without the record its holder lives by the consent of all members, and this is not one yet.
fn whoever_joins_does_not_claim() -> Scenario {
    scenario("a* b")
        .at(secs(12), scale_up())
        .upon(begins(TaskKind::Clone).by("c"), record_out_of_reach("a").lasting(secs(30)))
        .upon(ends(TaskKind::Follow).by("c").then(ms(400)), cut("a", "c").lasting(secs(25)))
        .always(holds_office("a"))
        .eventually(streams("c", "a"), secs(8))
        .sometimes(members(3))
}

fn one_more_standby_is_copied_and_becomes_a_member() -> Scenario {
    scenario("a* b")
        .required(1)
        .at(secs(12), scale_up())
        .always(writable("a"))
        .eventually(members(3), secs(10))
        .sometimes(does("c", TaskKind::Clone))
}

/// It is removed for good: nothing of what it has may be lost with it.
fn a_primary_that_shall_go_hands_over_first() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), scale_down("a"))
        .eventually(members(2), secs(10))
        .eventually(after(secs(14), settled()), secs(10))
        .sometimes(records(Change::HandOver))
}
