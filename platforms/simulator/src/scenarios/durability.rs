//! Durability: what was acknowledged in synchronous mode is in the log of every later primary.

use crate::faults::TaskKind;
use crate::scenario::properties::{
    after, clients_can_write, does, epoch_stays, fences_itself, holds_office, nobody_writable, not,
    primary, records, settled, writable,
};
use crate::scenario::words::{
    crash_agent, fill_disk, freeze_with_clock, lose, ms, record_asked_late, record_out_of_reach,
    restore_record, secs, wish,
};
use crate::scenario::{Scenario, scenario};
use crate::scenarios::scenarios;
use pgherd_core::intent::Durability;
use pgherd_core::seen::Change;

scenarios![
    a_lost_primary_loses_no_commit,
    a_frozen_primary_gets_no_new_grant,
    one_voter_of_two_elects_nobody,
    nobody_follows_one_that_committed_alone,
    a_record_that_was_set_back_elects_nobody,
    the_rule_moves_with_the_wish,
];

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

/// What was acknowledged may be with the one that cannot be asked.
fn one_voter_of_two_elects_nobody() -> Scenario {
    scenario("a* b c")
        .required(1)
        .at(secs(11), fill_disk("b").lasting(secs(3)))
        .at(secs(13), lose("c").lasting(secs(22)))
        .at(secs(13), lose("a").lasting(secs(30)))
        .eventually(primary("c"), secs(32))
        .sometimes(nobody_writable())
}

/// In preferred mode it went on without its standby, so only it knows what was committed. When it
/// is back but its recovery is long, the standby fetches the rest of the log from it.
fn nobody_follows_one_that_committed_alone() -> Scenario {
    scenario("a* b")
        .preferred(1)
        .at(secs(12), lose("b").lasting(secs(13)))
        .at(secs(20), lose("a").lasting(secs(35)))
        .eventually(after(secs(55), clients_can_write()), secs(55))
        .eventually(after(secs(55), settled()), secs(60))
        .sometimes(writable("a"))
        .sometimes(after(secs(55), primary("a")))
        .sometimes(after(secs(55), primary("b")))
        .until(secs(60))
}

/// By the old record the standby may take over; since then the primary has committed alone.
fn a_record_that_was_set_back_elects_nobody() -> Scenario {
    scenario("a* b")
        .preferred(1)
        .at(secs(12), lose("b").lasting(secs(8)))
        .at(ms(20_200), fill_disk("b").lasting(secs(8)))
        .at(secs(24), lose("a").lasting(secs(16)))
        .at(ms(24_100), restore_record(5))
        .at(ms(24_200), crash_agent("b"))
        .eventually(after(secs(40), primary("a")), secs(55))
        .eventually(after(secs(40), settled()), secs(60))
        .sometimes(records(Change::Claim))
        .until(secs(70))
}

/// Recorded, then obeyed, then confirmed, and clients write all the while.
fn the_rule_moves_with_the_wish() -> Scenario {
    scenario("a* b c")
        .at(secs(12), wish(Durability::Required { acks: 2 }))
        .at(secs(20), wish(Durability::Preferred { acks: 1 }))
        .always(writable("a"))
        .always(epoch_stays(1))
        .eventually(after(secs(20), settled()), secs(15))
        .sometimes(not(settled()))
        .sometimes(does("a", TaskKind::Obey))
}
