//! What a holder does while it serves, and what makes it stop.
//!
//! Never serves without a proof.

use super::check;
use crate::answer::answer;
use crate::fixtures::{
    NOW, asynchronous, at, intent, ms, name, names, primary, record, serving, streaming,
};
use crate::message::{Heartbeat, Reply, Request};
use crate::record::Phase;
use crate::seen::{End, Regression, Seen, Server};
use crate::units::{Epoch, Lsn, SystemId, Time};
use expect_test::expect;

#[test]
fn a_quiet_primary_has_nothing_to_do() {
    check(&intent(3, asynchronous()), &serving(&record(3)), expect!["serving: nothing to do"]);
}

#[test]
fn a_silent_grantor_is_dropped() {
    let mut seen = serving(&record(3));
    seen.office.grants.insert(name(3), NOW.before(ms(1_300)));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn the_term_is_renewed() {
    let mut seen = serving(&record(3));
    seen.office.confirmed = Some(NOW.before(ms(5_500)));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn an_epoch_promised_in_vain_is_adopted() {
    let mut seen = serving(&record(3));
    seen.office.promised_above = Some(Epoch(3));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Bump: epoch 3 db-1 serving, timeline 3, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn a_streaming_instance_becomes_a_member_and_a_removed_one_leaves_step_by_step() {
    let mut record = record(3);
    record.members = names([1, 2]);
    record.grantors = names([2]);
    let mut seen = serving(&crate::fixtures::record(3));
    seen.record.value = Some(record);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        serving: nothing to do
        persist promise 2 seal 0 served 2
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}"#]],
    );
    let seen = serving(&crate::fixtures::record(3));
    check(
        &intent(2, asynchronous()),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Amend: epoch 2 db-1 serving, timeline 3, G {db-2} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn without_proof_the_server_is_fenced() {
    let mut seen = serving(&record(3));
    seen.office.grants.clear();
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        fencing: the proof of office has run out
        fence"#]],
    );
}

#[test]
fn a_server_on_a_timeline_that_is_not_its_own_is_fenced() {
    let mut seen = serving(&record(3));
    primary(&mut seen).position = at(4, 2_000);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        fencing: opened on timeline 4, but 3 was reserved for it
        fence"#]],
    );
}

#[test]
fn a_record_that_was_set_back_is_restored_while_everybody_grants() {
    let mut seen = serving(&record(3));
    seen.record.regressed = Some(Regression { found: None, since: NOW });
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        serving: nothing to do
        write Restore: epoch 3 db-1 serving, timeline 3, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
    seen.office.grants.remove(&name(2));
    check(&intent(3, asynchronous()), &seen, expect!["serving: nothing to do"]);
}

#[test]
fn a_stopped_cluster_is_left_vacant() {
    let mut intent = intent(3, asynchronous());
    intent.stopped = true;
    let record = record(3);
    let mut seen = serving(&record);
    check(
        &intent,
        &seen,
        expect![[r#"
        leaving: shall be stopped
        perform Stop { epoch: Epoch(2) }"#]],
    );
    seen.server =
        Server::Down { system_id: SystemId(7), end: End::Clean { position: at(3, 2_000) } };
    check(
        &intent,
        &seen,
        expect![[r#"
        waiting: shall be stopped
        write Vacate: epoch 2 db-1 vacant at 0/7D0 on timeline 3, timeline 3, G {db-2 db-3} M {db-1 db-2 db-3} Q {}"#]],
    );
    let mut vacant = record;
    vacant.phase = Phase::Vacant { end: at(3, 2_000) };
    seen.record.value = Some(vacant);
    check(
        &intent,
        &seen,
        expect![[r#"
        waiting: shall be stopped
        persist promise 2 seal 0 served 2"#]],
    );
}

#[test]
fn a_fenced_primary_keeps_its_office_and_stops_its_server() {
    let mut intent = intent(3, asynchronous());
    intent.fenced = names([1]);
    check(
        &intent,
        &serving(&record(3)),
        expect![[r#"
        leaving: fenced by its user
        perform Stop { epoch: Epoch(2) }"#]],
    );
}

#[test]
fn a_server_that_opened_elsewhere_than_was_said_is_killed() {
    let mut seen = serving(&record(3));
    primary(&mut seen).began = Lsn(1_001);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
            fencing: its timeline began at 0/3E9, but the record says at 0/3E8
            fence"#]],
    );
}

#[test]
fn the_first_instance_initialises_and_records_the_cluster() {
    let mut intent = intent(3, asynchronous());
    intent.first = Some(name(1));
    let durable = crate::seen::Durable::default();
    let mut seen =
        Seen::new(crate::fixtures::holder(1), durable, Time(1), std::time::Duration::ZERO);
    seen.record.read = Some(NOW);
    seen.record.asked = Some(NOW);
    seen.server = Server::Absent;
    check(
        &intent,
        &seen,
        expect![[r#"
        rejoining: nothing to do
        perform Initialise"#]],
    );
    seen.server = Server::Down { system_id: SystemId(7), end: End::Clean { position: at(1, 500) } };
    check(
        &intent,
        &seen,
        expect![[r#"
        waiting: writing the record (Create)
        write Create: epoch 1 db-1 serving, timeline 2, G {} M {db-1} Q {}"#]],
    );
    intent.first = None;
    check(&intent, &seen, expect!["waiting: the record is gone or was set back"]);
    seen.server = Server::Absent;
    check(&intent, &seen, expect!["waiting: the record has not been read yet"]);
}

#[test]
fn a_cluster_that_was_copied_leaves_the_timeline_of_its_copy() {
    let mut intent = intent(3, asynchronous());
    intent.first = Some(name(1));
    let durable = crate::seen::Durable::default();
    let mut seen =
        Seen::new(crate::fixtures::holder(1), durable, Time(1), std::time::Duration::ZERO);
    seen.record.read = Some(NOW);
    seen.record.asked = Some(NOW);
    seen.server = Server::Down { system_id: SystemId(7), end: End::Clean { position: at(5, 500) } };
    check(
        &intent,
        &seen,
        expect![[r#"
        waiting: writing the record (Create)
        write Create: epoch 1 db-1 serving, timeline 6, G {} M {db-1} Q {}"#]],
    );
}

fn heartbeat(epoch: u64) -> Request {
    Request::Heartbeat(Heartbeat {
        epoch: Epoch(epoch),
        revision: record(3).revision,
        sent: Time(5),
        incarnation: 1,
        position: Some(at(3, Lsn(2_000).0)),
        terms: record(3).terms,
        rewind_ready: true,
        may_restart: None,
    })
}

fn granted(seen: &Seen, from: u32, epoch: u64) -> bool {
    let intent = intent(3, asynchronous());
    let answered = answer(&intent, seen, &name(from), &heartbeat(epoch), NOW);
    let Reply::Heartbeat(reply) = answered.reply else { panic!("not a heartbeat") };
    reply.granted
}

#[test]
fn grants_go_to_the_newest_epoch_only() {
    let mut seen = streaming(2, &record(3));
    assert!(granted(&seen, 1, 2));
    assert!(!granted(&seen, 1, 1), "an old epoch was granted");
    assert!(!granted(&seen, 3, 2), "two holders of one epoch were granted");
    seen.durable.known.promise = Epoch(3);
    assert!(!granted(&seen, 1, 2), "a grant below the promise");
    assert!(granted(&seen, 3, 3));
}

#[test]
fn a_writable_server_is_killed_before_it_grants_to_a_higher_epoch() {
    let seen = serving(&record(3));
    let intent = intent(3, asynchronous());
    let answered = answer(&intent, &seen, &name(2), &heartbeat(3), NOW);
    let first = format!("{:?}", answered.steps.first());
    assert!(first.starts_with("Some(Fence"), "{first}");
}
