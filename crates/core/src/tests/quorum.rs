//! How the rule for commits changes, and what is obeyed meanwhile.
//!
//! Never narrower than what is confirmed.

use super::check;
use crate::fixtures::{NOW, intent, ms, name, pair, primary, record, serving};
use crate::intent::Durability;
use crate::plan::Task;
use crate::record::Pair;
use crate::seen::{Failed, Gate, Obeyed};
use crate::units::{Epoch, Lsn};
use expect_test::expect;

const REQUIRED: Durability = Durability::Required { acks: 1 };
const PREFERRED: Durability = Durability::Preferred { acks: 1 };

#[test]
fn every_election_meets_every_acknowledgement() {
    for voters in 1..=5_u32 {
        for acks in 1..=usize::try_from(voters).unwrap() {
            let pair = Pair { voters: (1..=voters).map(name).collect(), acks };
            let fewest = pair.election_size();
            assert!(fewest + acks > pair.voters.len(), "{pair}: {fewest} can miss a commit");
        }
    }
    assert_eq!(Pair::solo().election_size(), 1, "nobody is elected after a solo primary");
}

#[test]
fn the_first_rule_is_recorded_before_it_is_obeyed() {
    let record = record(3);
    check(
        &intent(3, REQUIRED),
        &serving(&record),
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {1 of (db-2, db-3)}"#]],
    );
}

#[test]
fn a_recorded_rule_is_obeyed() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    let mut seen = serving(&record);
    primary(&mut seen).obeys = Some(Obeyed { pair: None, since: Lsn(1_000) });
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        serving: nothing to do
        perform Obey { epoch: Epoch(2), pair: Some(Pair { voters: {InstanceName { cluster: ClusterName("db"), serial: 2 }, InstanceName { cluster: ClusterName("db"), serial: 3 }}, acks: 1 }) }"#]],
    );
}

#[test]
fn a_dead_voter_is_replaced_by_a_joint_rule() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    let mut seen = serving(&record);
    seen.office.grants.insert(name(3), NOW.before(ms(1_500)));
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2} M {db-1 db-2 db-3} Q {1 of (db-2); 1 of (db-2, db-3)}"#]],
    );
}

#[test]
fn the_old_rule_goes_once_the_new_one_has_confirmed() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [1, 3]));
    record.quorum.insert(pair(1, [2, 3]));
    let mut seen = serving(&record);
    primary(&mut seen).obeys = Some(Obeyed { pair: Some(pair(1, [2, 3])), since: Lsn(2_001) });
    check(&intent(3, REQUIRED), &seen, expect!["serving: nothing to do"]);
    primary(&mut seen).obeys = Some(Obeyed { pair: Some(pair(1, [2, 3])), since: Lsn(2_000) });
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {1 of (db-2, db-3)}"#]],
    );
}

#[test]
fn in_required_mode_too_few_standbys_change_nothing() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    record.grantors.clear();
    let mut seen = serving(&record);
    seen.office.grants.clear();
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        serving: nothing to do
        remember AloneSince"#]],
    );
}

#[test]
fn in_preferred_mode_the_primary_goes_on_alone_after_a_while_and_says_so_first() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    record.grantors.clear();
    let mut seen = serving(&record);
    seen.office.grants.clear();
    seen.office.alone_since = Some(NOW.before(ms(2_000)));
    check(&intent(3, PREFERRED), &seen, expect!["serving: nothing to do"]);
    seen.office.alone_since = Some(NOW.before(ms(3_000)));
    check(
        &intent(3, PREFERRED),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {} M {db-1 db-2 db-3} Q {0 of (); 1 of (db-2, db-3)}"#]],
    );
}

#[test]
fn clients_wait_until_the_end_of_recovery_is_confirmed() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    let mut seen = serving(&record);
    primary(&mut seen).gate = Gate::Closed;
    primary(&mut seen).obeys = Some(Obeyed { pair: Some(pair(1, [2, 3])), since: Lsn(2_001) });
    check(
        &intent(3, REQUIRED),
        &seen,
        expect!["opening: clients wait until 1 of (db-2, db-3) have the end of recovery"],
    );
    primary(&mut seen).obeys = Some(Obeyed { pair: Some(pair(1, [2, 3])), since: Lsn(2_000) });
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        opening: nothing to do
        perform OpenGate { epoch: Epoch(2) }"#]],
    );
}

#[test]
fn the_gate_stays_closed_while_nobody_knows_which_rule_is_obeyed() {
    let mut record = record(3);
    record.quorum = [pair(1, [2, 3])].into();
    let mut seen = serving(&record);
    primary(&mut seen).gate = Gate::Closed;
    primary(&mut seen).obeys = None;
    let why = "no space left on device".to_owned();
    let task = Task::Obey { epoch: Epoch(2), pair: Some(pair(1, [2, 3])) };
    seen.failed = Some(Failed { task, at: NOW, times: 1, why });
    check(
        &intent(3, REQUIRED),
        &seen,
        expect!["opening: clients wait until 1 of (db-2, db-3) have the end of recovery"],
    );
}
