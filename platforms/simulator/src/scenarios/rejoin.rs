//! Rejoin: how an instance comes back, and with what.

use crate::faults::{TaskKind, What};
use crate::scenario::properties::{
    after, clients_can_write, does, holds_office, not, primary, settled, streams, writable,
};
use crate::scenario::words::{
    act, begins, hang, island, kill_container, lose, ms, put_back_copy, record_out_of_reach, secs,
    take_copy,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;

scenarios![
    an_old_primary_is_rewound_and_follows,
    a_standby_whose_log_is_gone_is_copied_anew,
    a_standby_that_was_away_just_goes_on,
    a_rewind_that_was_cut_short_is_begun_anew,
    an_old_copy_on_a_new_volume_is_not_the_holder,
    a_hung_server_is_dead_before_its_office_is_free,
];

/// It wrote on after the others had heard the last of it.
fn an_old_primary_is_rewound_and_follows() -> Scenario {
    scenario("a* b c")
        .at(secs(12), island("a").lasting(secs(8)))
        .always(not(does("a", TaskKind::Clone)))
        .eventually(after(secs(20), settled()), secs(20))
        .sometimes(does("a", TaskKind::Rewind))
        .sometimes(streams("a", "b"))
}

fn a_standby_whose_log_is_gone_is_copied_anew() -> Scenario {
    scenario("a* b c")
        .at(secs(12), act("b", What::WalGone))
        .always(writable("a"))
        .eventually(does("b", TaskKind::Clone), secs(12))
        .eventually(after(secs(14), streams("b", "a")), secs(17))
        .sometimes(primary("a"))
}

fn a_standby_that_was_away_just_goes_on() -> Scenario {
    scenario("a* b c")
        .at(secs(12), lose("b").lasting(secs(6)))
        .always(not(does("b", TaskKind::Clone)))
        .always(not(does("b", TaskKind::Rewind)))
        .eventually(after(secs(18), settled()), secs(14))
        .sometimes(not(settled()))
}

/// Half of a rewind is neither the old folder nor the new one.
fn a_rewind_that_was_cut_short_is_begun_anew() -> Scenario {
    scenario("a* b c")
        .at(secs(12), island("a").lasting(secs(5)))
        .upon(begins(TaskKind::Rewind).by("a").then(ms(300)), kill_container("a"))
        .eventually(settled(), secs(25))
        .sometimes(does("a", TaskKind::Rewind))
}

/// Somebody restores the volume of the primary from yesterday's copy.
fn an_old_copy_on_a_new_volume_is_not_the_holder() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(12), take_copy("a"))
        .at(secs(16), put_back_copy("a").lasting(secs(1)))
        .at(secs(16), record_out_of_reach("b").lasting(secs(8)))
        .at(secs(16), record_out_of_reach("c").lasting(secs(8)))
        .eventually(clients_can_write(), secs(15))
        .eventually(settled(), secs(20))
        .sometimes(holds_office("b"))
        .sometimes(holds_office("c"))
}

/// Its processes may still be writing while nothing answers.
fn a_hung_server_is_dead_before_its_office_is_free() -> Scenario {
    scenario("a* b c")
        .at(secs(12), hang("a").lasting(secs(8)))
        .eventually(clients_can_write(), secs(6))
        .eventually(settled(), secs(15))
        .sometimes(holds_office("b"))
}
