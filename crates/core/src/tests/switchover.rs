//! A planned change of primary, step by step, and how it is given up.
//!
//! Never leaves two that may write.

use super::check;
use crate::fixtures::{
    NOW, asynchronous, at, intent, ms, name, record, sealing, serving, streaming,
};
use crate::instance;
use crate::intent::{Intent, Switchover};
use crate::message::{Released, Stance, Standing};
use crate::plan::Step;
use crate::record::{Cause, Phase, Record, Term};
use crate::seen::{End, ReleaseHeard, Seen, Server};
use crate::units::{Epoch, Lsn, SystemId, Timeline};
use expect_test::expect;

fn asked() -> Intent {
    let mut intent = intent(3, asynchronous());
    intent.switchover =
        Some(Switchover { number: 1, target: Some(name(2)), epoch: Some(Epoch(2)) });
    intent
}

fn handing_over() -> Record {
    let mut record = record(3);
    record.phase = Phase::HandingOver { target: name(2) };
    record.switchover = 1;
    record
}

fn unready(seen: &mut Seen, serial: u32) {
    if let Some(answer) = seen.peers.get_mut(&name(serial)).and_then(|peer| peer.answer.as_mut()) {
        answer.standing = Standing::Unready;
    }
}

#[test]
fn it_checkpoints_then_records_then_stops() {
    let mut seen = serving(&record(3));
    check(
        &asked(),
        &seen,
        expect![[r#"
        leaving: handing over to db-2
        perform Checkpoint { epoch: Epoch(2) }
        remember HandoverBegan"#]],
    );
    seen.handover_began = Some(NOW.before(ms(100)));
    check(
        &asked(),
        &seen,
        expect![[r#"
            leaving: handing over to db-2
            write HandOver: epoch 2 db-1 handing over to db-2, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}
            remember HandoverBegan"#]],
    );
    let mut seen = serving(&handing_over());
    seen.handover_began = Some(NOW.before(ms(200)));
    check(
        &asked(),
        &seen,
        expect![[r#"
        leaving: handing over to db-2
        perform Stop { epoch: Epoch(2) }"#]],
    );
}

#[test]
fn the_office_is_released_after_the_clean_stop() {
    let mut seen = serving(&handing_over());
    seen.handover_began = Some(NOW.before(ms(300)));
    seen.server =
        Server::Down { system_id: SystemId(7), end: End::Clean { position: at(3, 2_100) } };
    check(
        &asked(),
        &seen,
        expect![[r#"
        leaving: db-1 has released the office
        disarm
        remember ReleaseSent
        send db-2 released
        send db-3 released"#]],
    );
}

#[test]
fn the_target_claims_at_once_and_the_others_leave_it_the_office() {
    let release = Released { epoch: Epoch(2), by: name(1), end: Some(at(3, 2_000)), target: None };
    let released = Some(ReleaseHeard { release, at: NOW });
    let votes = [(3, Stance::Sealed { position: at(3, 2_000) })];
    let mut seen = sealing(2, &handing_over(), &votes);
    seen.released.clone_from(&released);
    check(
        &asked(),
        &seen,
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
    let mut other = streaming(3, &handing_over());
    other.released.clone_from(&released);
    check(&asked(), &other, expect!["waiting: the office is meant for db-2"]);
    // Nor does one that has not read of the handover yet.
    let mut late = streaming(3, &record(3));
    late.released = released;
    if let Some(heard) = &mut late.released {
        heard.release.target = Some(name(2));
    }
    check(&asked(), &late, expect!["waiting: the office is meant for db-2"]);
}

#[test]
fn a_target_that_has_everything_says_where_it_will_begin() {
    let votes = [(3, Stance::Sealed { position: at(3, 2_000) })];
    let said = |end| {
        let release = Released { epoch: Epoch(2), by: name(1), end, target: None };
        let mut seen = sealing(2, &handing_over(), &votes);
        seen.released = Some(ReleaseHeard { release, at: NOW });
        let plan = instance::plan(&asked(), &seen, NOW);
        let claim = plan.steps.iter().find_map(|step| {
            if let Step::WriteRecord { write, .. } = step { Some(&write.record) } else { None }
        });
        claim.unwrap().terms.last().unwrap().began
    };
    assert_eq!(said(Some(at(3, 2_000))), Some(Lsn(2_000)));
    // With part of a record beyond the end it would leave its parent earlier than it received.
    assert_eq!(said(Some(at(3, 1_999))), None);
}

#[test]
fn a_target_that_fell_away_ends_the_handover_before_the_stop() {
    let mut seen = serving(&handing_over());
    seen.handover_began = Some(NOW.before(ms(200)));
    unready(&mut seen, 2);
    check(
        &asked(),
        &seen,
        expect![[r#"
        serving: db-2 is not ready to take over; going on
        write AbortHandOver: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}
        remember HandoverBegan"#]],
    );
}

#[test]
fn a_request_without_a_ready_target_is_given_up_after_a_while() {
    let mut seen = serving(&record(3));
    unready(&mut seen, 2);
    check(
        &asked(),
        &seen,
        expect![[r#"
        serving: nothing to do
        remember HandoverBegan"#]],
    );
    seen.handover_began = Some(NOW.before(ms(5_000)));
    check(
        &asked(),
        &seen,
        expect![[r#"
        serving: nothing to do
        write AbortHandOver: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}
        remember HandoverBegan"#]],
    );
}

#[test]
fn a_request_from_before_a_failover_is_over() {
    let term = |epoch, holder, cause| Term {
        epoch: Epoch(epoch),
        timeline: Timeline(1 + u32::try_from(epoch).unwrap()),
        parent: Timeline(1),
        holder: name(holder),
        cause,
        began: Some(Lsn(1_000)),
    };
    let mut failed_over = record(3);
    failed_over.terms = vec![term(1, 3, Cause::Initialised), term(2, 1, Cause::GrantsLost)];
    let mut intent = asked();
    intent.switchover =
        Some(Switchover { number: 1, target: Some(name(2)), epoch: Some(Epoch(1)) });
    check(
        &intent,
        &serving(&failed_over),
        expect![[r#"
        serving: nothing to do
        write AbortHandOver: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}
        remember HandoverBegan"#]],
    );
    // One that nobody remembers the epoch of is carried out, as is one that asks for the new
    // primary to hand over.
    intent.switchover = Some(Switchover { number: 1, target: Some(name(2)), epoch: None });
    check(
        &intent,
        &serving(&failed_over),
        expect![[r#"
        leaving: handing over to db-2
        perform Checkpoint { epoch: Epoch(2) }
        remember HandoverBegan"#]],
    );
    check(
        &asked(),
        &serving(&failed_over),
        expect![[r#"
        leaving: handing over to db-2
        perform Checkpoint { epoch: Epoch(2) }
        remember HandoverBegan"#]],
    );
}

#[test]
fn a_leaving_primary_hands_over_to_the_best_standby() {
    let mut intent = intent(3, asynchronous());
    intent.leaving.insert(name(1));
    check(
        &intent,
        &serving(&record(3)),
        expect![[r#"
        leaving: to be stopped: handing over to db-3
        perform Checkpoint { epoch: Epoch(2) }
        remember HandoverBegan"#]],
    );
}

#[test]
fn a_wish_for_the_primary_itself_does_not_keep_it_from_leaving() {
    let mut intent = asked();
    intent.switchover = Some(Switchover { number: 1, target: Some(name(1)), epoch: None });
    intent.instances.remove(&name(1));
    let mut seen = serving(&record(3));
    seen.handover_began = Some(NOW.before(ms(100)));
    check(
        &intent,
        &seen,
        expect![[r#"
        leaving: handing over to db-3
        write HandOver: epoch 2 db-1 handing over to db-3, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}
        remember HandoverBegan"#]],
    );
}

#[test]
fn a_request_is_not_given_up_in_the_plan_that_renews_the_term() {
    let mut seen = serving(&record(3));
    seen.office.confirmed = Some(NOW.before(ms(5_500)));
    seen.handover_began = Some(NOW.before(ms(5_000)));
    unready(&mut seen, 2);
    check(
        &asked(),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}"#]],
    );
}
