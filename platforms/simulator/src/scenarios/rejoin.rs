//! Rejoin: how an instance comes back, and with what.

use crate::faults::{TaskKind, What};
use crate::scenario::properties::{after, does, not, primary, settled, streams, writable};
use crate::scenario::words::{act, island, lose, secs};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;

scenarios![
    an_old_primary_is_rewound_and_follows,
    a_standby_whose_log_is_gone_is_copied_anew,
    a_standby_that_was_away_just_goes_on,
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
