//! The mutation gate: every rule of the protocol, and what notices its absence.
//!
//! Never lists a rule twice, and breaks the build when core has one that is not listed.

use pgherd_core::rules::Rule;
use std::fmt;

/// What notices that a rule is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notices {
    /// Some of the first so many seeds.
    Seeds(u64),
    /// This scenario, by this invariant.
    Scenario(&'static str, &'static str),
}

/// One line for each rule, in the order in which core lists them.
macro_rules! gate {
    ($($rule:ident => $notices:expr,)*) => {
        pub const ALL: &[Rule] = &[$(Rule::$rule),*];

        pub fn notices(rule: Rule) -> Notices {
            match rule {
                $(Rule::$rule => $notices,)*
            }
        }
    };
}

use Notices::{Scenario, Seeds};

gate! {
    Margin => Scenario("an_island_stops_writing_in_time", "S2"),
    CountFromSending => Scenario("a_late_answer_extends_nothing", "S2"),
    WriteCountsFromSending => Scenario("a_write_confirmed_late_proves_little", "S2"),
    GrantsNeeded => Scenario("an_island_stops_writing_in_time", "S2"),
    UnanimousWithoutRecord => Scenario("most_members_are_not_all", "S2"),
    ObeyBothSets => Scenario("a_lost_drop_of_a_grantor_changes_nothing", "S2"),
    OwnGrantBindsVote => Scenario("a_bound_member_does_not_vote", "S2"),
    OwnGrantBindsClaim => Seeds(400),
    WaitAfterBoot => Scenario("a_restarted_member_still_owes_its_grant", "S2"),
    EnoughRevoked => Scenario("a_grant_to_one_member_is_enough_to_go_on", "S2"),
    WholeTermUnchanged => Scenario("silence_between_two_waits_for_the_term", "S2"),
    OnlyMembersClaim => Scenario("whoever_joins_does_not_claim", "S2"),
    PersistPromise => Scenario("a_member_remembers_its_promise_across_a_crash", "S2"),
    PromiseBinds => Scenario("a_frozen_primary_gets_no_new_grant", "S2"),
    SealBinds => Scenario("a_candidate_receives_from_nobody", "S7"),
    SealBeforeVote => Scenario("a_voter_that_still_receives_has_no_vote", "S7"),
    EnoughVoters => Scenario("one_voter_of_two_elects_nobody", "S4"),
    EveryPair => Scenario("the_rule_before_a_move_still_elects", "S4"),
    NotBehind => Seeds(400),
    TimelineFirst => Scenario("a_newer_timeline_beats_a_longer_log", "S4"),
    KeepOldPairs => Scenario("the_rule_before_a_takeover_still_elects", "S4"),
    RecordBeforeObey => Seeds(400),
    ConfirmBeforeNarrow => Seeds(400),
    ObeyBeforePromote => Scenario("a_lost_primary_loses_no_commit", "S6"),
    ResendOutstanding => Seeds(400),
    EpochBump => Scenario("an_election_that_came_to_nothing_blinds_nobody", "eventually"),
    RetakeOnlySameVolume => Scenario("an_old_copy_on_a_new_volume_is_not_the_holder", "S4"),
    ReleaseAfterReaping => Scenario("a_hung_server_is_dead_before_its_office_is_free", "S8"),
    ReserveTimeline => Scenario("a_timeline_that_nobody_followed_is_not_reused", "S3"),
    DropDeadGrantor => Scenario("a_dead_standby_stops_nothing", "always"),
    FenceOnHigherEpoch => Scenario(
        "a_primary_that_wakes_stops_when_it_hears_of_its_successor",
        "eventually"
    ),
    FenceOnExpiry => Scenario("an_island_stops_writing_in_time", "S2"),
    RewindMarker => Scenario("a_rewind_that_was_cut_short_is_begun_anew", "S9"),
    RewindWhenDiverged => Seeds(400),
    GateUntilConfirmed => Seeds(400),
    NeverLowerEpoch => Scenario("a_record_that_was_set_back_elects_nobody", "S4"),
    SoloElectsNobody => Scenario("nobody_follows_one_that_committed_alone", "S4"),
    MaxLag => Scenario("a_standby_too_far_behind_waits", "S11"),
}

/// As the table in docs/simulator.md tells it.
impl fmt::Display for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seeds(count) => write!(f, "the first {count} seeds"),
            Self::Scenario(name, invariant) => write!(f, "`{name}`, {invariant}"),
        }
    }
}
