//! Situations after a loss: who asks, who is sealed, who claims, who must wait.
//!
//! Never without saying what the others have answered.

use super::check;
use crate::answer::answer;
use crate::fixtures::{
    NOW, asynchronous, at, deserted, intent, ms, name, names, pair, record, sealing, serving,
    standby, streaming,
};
use crate::intent::Durability;
use crate::message::{
    Basis, Heartbeat, Purpose, Released, Reply, Request, Revoke, Stance, Standing,
};
use crate::plan::Task;
use crate::record::{Phase, Write};
use crate::seen::{Change, End, Failed, Outstanding, ReleaseHeard, Seen, Server};
use crate::units::{Epoch, Time, Timeline};
use expect_test::expect;

const REQUIRED: Durability = Durability::Required { acks: 1 };

#[test]
fn a_deserted_standby_asks_before_it_binds_itself() {
    check(
        &intent(3, asynchronous()),
        &deserted(2, &record(3)),
        expect![[r#"
        claiming: 0 of 2 needed grantors no longer hear the primary
        send db-1 revoke
        send db-3 revoke
        remember Ballot"#]],
    );
}

#[test]
fn with_all_grantors_revoked_and_sealed_it_claims() {
    let seen = sealing(2, &record(3), &[(3, Stance::Sealed { position: at(3, 2_000) })]);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn with_all_grantors_revoked_a_member_claims_that_is_none_itself() {
    let mut record = record(3);
    record.grantors = names([3]);
    check(
        &intent(3, asynchronous()),
        &sealing(2, &record, &[(3, Stance::Revoked)]),
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn it_waits_for_one_whose_log_is_longer() {
    let seen = sealing(2, &record(3), &[(3, Stance::Sealed { position: at(3, 2_001) })]);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect!["claiming: db-3 is further, at 0/7D1 on timeline 3"],
    );
}

#[test]
fn a_longer_log_of_an_older_timeline_is_behind() {
    let seen = sealing(2, &record(3), &[(3, Stance::Sealed { position: at(2, 9_000) })]);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn a_grantor_that_still_hears_the_primary_prevents_the_claim() {
    let seen = sealing(2, &record(3), &[(3, Stance::Refused)]);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect!["claiming: 1 of 2 needed grantors no longer hear the primary"],
    );
}

#[test]
fn in_required_mode_a_promise_without_a_seal_is_no_vote() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    let mut seen = sealing(2, &record, &[(3, Stance::Revoked)]);
    if let Some(ballot) = &mut seen.ballot {
        ballot.began = NOW.before(ms(1_000));
    }
    check(
        &intent(3, REQUIRED),
        &seen,
        expect!["claiming: 1 voters are sealed, 2 are needed of the rule 1 of (db-2, db-3)"],
    );
}

#[test]
fn a_server_that_is_being_sealed_is_waited_for_and_one_that_is_down_is_not() {
    let votes = [(1, Stance::Revoked), (3, Stance::Sealed { position: at(3, 2_000) })];
    let mut seen = sealing(2, &record(3), &votes);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
    if let Some(vote) = seen.ballot.as_mut().and_then(|ballot| ballot.votes.get_mut(&name(1))) {
        vote.standing = Standing::Waiting { position: at(3, 2_000) };
    }
    check(&intent(3, asynchronous()), &seen, expect!["claiming: sealing: 3 of 2 needed votes"]);
}

#[test]
fn a_solo_primary_is_followed_by_nobody_without_proof() {
    let mut record = record(3);
    record.quorum.insert(pair(0, []));
    let votes = [(3, Stance::Sealed { position: at(3, 2_000) })];
    let mut seen = sealing(2, &record, &votes);
    let preferred = intent(3, Durability::Preferred { acks: 1 });
    check(
        &preferred,
        &seen,
        expect![
            "claiming: the primary acknowledged commits alone, so nobody can show that none is missing"
        ],
    );
    let release = Released { epoch: Epoch(2), by: name(1), end: Some(at(3, 2_000)), target: None };
    seen.released = Some(ReleaseHeard { release, at: NOW });
    check(
        &preferred,
        &seen,
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {0 of (); 1 of (db-3)}"#]],
    );
}

#[test]
fn in_asynchronous_mode_nobody_too_far_behind_claims() {
    let mut seen = sealing(2, &record(3), &[(3, Stance::Sealed { position: at(3, 900) })]);
    standby(&mut seen).position = at(3, 900);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect!["claiming: 1.0 KiB behind the lost primary, the limit is 1000 B"],
    );
}

#[test]
fn a_released_tail_is_fetched_first() {
    let mut seen = sealing(2, &record(3), &[(3, Stance::Sealed { position: at(3, 2_000) })]);
    let release = Released { epoch: Epoch(2), by: name(1), end: Some(at(3, 2_100)), target: None };
    seen.released = Some(ReleaseHeard { release, at: NOW });
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        claiming: db-1 has released the office
        perform FetchTail { epoch: Epoch(2), from: InstanceName { cluster: ClusterName("db"), serial: 1 }, until: WalPosition { timeline: Timeline(3), lsn: Lsn(2100) } }"#]],
    );
}

#[test]
fn nobody_fetches_a_tail_while_another_may_be_claiming() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    let mut seen = sealing(2, &record, &[(3, Stance::Refused)]);
    let release = Released { epoch: Epoch(2), by: name(1), end: Some(at(3, 2_100)), target: None };
    seen.released = Some(ReleaseHeard { release, at: NOW });
    if let Some(ballot) = &mut seen.ballot {
        ballot.began = NOW.before(ms(999));
    }
    check(
        &intent(3, REQUIRED),
        &seen,
        expect!["claiming: 1 voters are sealed, 2 are needed of the rule 1 of (db-2, db-3)"],
    );
    if let Some(ballot) = &mut seen.ballot {
        ballot.began = NOW.before(ms(1_000));
    }
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        claiming: db-1 has released the office
        perform FetchTail { epoch: Epoch(2), from: InstanceName { cluster: ClusterName("db"), serial: 1 }, until: WalPosition { timeline: Timeline(3), lsn: Lsn(2100) } }"#]],
    );
}

#[test]
fn a_dead_primary_with_a_standby_at_hand_releases_its_office() {
    let record = record(3);
    let mut seen = serving(&record);
    let end = End::Crashed { position: Some(at(3, 2_000)), timeline: Timeline(3) };
    seen.server = Server::Down { system_id: record.system_id, end };
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        leaving: PostgreSQL died; db-3 can take over at once
        disarm
        remember ReleaseSent
        send db-2 released
        send db-3 released"#]],
    );
}

#[test]
fn a_dead_primary_without_a_standby_restarts_in_place() {
    let record = record(1);
    let mut seen = serving(&record);
    let end = End::Crashed { position: Some(at(3, 2_000)), timeline: Timeline(3) };
    seen.server = Server::Down { system_id: record.system_id, end };
    check(
        &intent(1, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: restarting in place
        perform Start { cut: None }"#]],
    );
}

/// The holder, with a dead server whose log is far ahead of every standby's.
fn far_ahead(redo_milliseconds: Option<u64>) -> Seen {
    let record = record(3);
    let mut seen = serving(&record);
    let end = End::Crashed { position: Some(at(3, 9_000)), timeline: Timeline(3) };
    seen.server = Server::Down { system_id: record.system_id, end };
    seen.health.redo_milliseconds = redo_milliseconds;
    seen
}

#[test]
fn with_every_standby_too_far_behind_a_short_recovery_is_done_in_place() {
    for redo in [None, Some(2_999)] {
        check(
            &intent(3, asynchronous()),
            &far_ahead(redo),
            expect![[r#"
                rejoining: restarting in place
                perform Start { cut: None }"#]],
        );
    }
}

#[test]
fn a_long_recovery_is_left_to_whoever_can_fetch_the_rest_of_the_log() {
    check(
        &intent(3, asynchronous()),
        &far_ahead(Some(3_000)),
        expect![[r#"
        leaving: PostgreSQL died, and its recovery here would take 3 s: whoever can may take over
        disarm
        remember ReleaseSent
        send db-2 released
        send db-3 released"#]],
    );
    let mut alone = far_ahead(Some(60_000));
    alone.peers.clear();
    check(
        &intent(3, asynchronous()),
        &alone,
        expect![[r#"
            rejoining: restarting in place
            perform Start { cut: None }"#]],
    );
}

#[test]
fn a_server_that_does_not_come_up_again_is_no_reason_to_keep_the_office() {
    let mut seen = far_ahead(Some(100));
    let failed = |times| Failed {
        task: Task::Start { cut: None },
        at: NOW.before(ms(60_000)),
        times,
        why: "PostgreSQL ended while it was starting".to_owned(),
    };
    seen.failed = Some(failed(1));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: restarting in place
        perform Start { cut: None }"#]],
    );
    seen.failed = Some(failed(2));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        leaving: PostgreSQL did not come up again in 2 attempts: whoever can may take over; PostgreSQL ended while it was starting
        disarm
        remember ReleaseSent
        send db-2 released
        send db-3 released"#]],
    );
    seen.health.disk_full = true;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: restarting in place
        perform Start { cut: None }"#]],
    );
}

#[test]
fn a_full_disk_is_no_reason_to_fail_over() {
    let record = record(3);
    let mut seen = serving(&record);
    let end = End::Crashed { position: None, timeline: Timeline(3) };
    seen.server = Server::Down { system_id: record.system_id, end };
    seen.health.disk_full = true;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: restarting in place
        perform Start { cut: None }"#]],
    );
}

#[test]
fn a_hung_server_is_killed() {
    let mut seen = serving(&record(3));
    seen.health.misses = 3;
    seen.health.progress = Some(NOW.before(ms(3_500)));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        fencing: PostgreSQL left 3 probes unanswered and writes no log
        fence"#]],
    );
}

#[test]
fn a_paused_cluster_does_not_fail_over() {
    let mut intent = intent(3, asynchronous());
    intent.paused = true;
    check(&intent, &deserted(2, &record(3)), expect!["waiting: the cluster is paused"]);
}

#[test]
fn failover_delay_is_waited_for() {
    let mut intent = intent(3, asynchronous());
    intent.failover_delay = ms(5_000);
    check(&intent, &deserted(2, &record(3)), expect!["waiting: failoverDelay has 4990 ms left"]);
}

#[test]
fn a_restarted_holder_takes_its_office_anew_on_a_timeline_of_its_own() {
    let record = record(3);
    let mut seen = deserted(1, &record);
    seen.me.incarnation = 9;
    seen.grant.until = NOW.after(ms(2_000));
    seen.grant.heard = None;
    seen.durable.served = Epoch(2);
    standby(&mut seen).follows = None;
    standby(&mut seen).streaming = false;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        claiming: its own log has everything: taking the office anew
        persist promise 3 seal 3 served 2
        write Retake: epoch 3 db-1 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {}"#]],
    );
}

#[test]
fn a_restarted_holder_with_a_long_recovery_lets_others_take_over_meanwhile() {
    let record = record(3);
    let mut seen = deserted(1, &record);
    seen.me.incarnation = 9;
    seen.durable.served = Epoch(2);
    let down = |position| Server::Down {
        system_id: record.system_id,
        end: End::Crashed { position, timeline: Timeline(3) },
    };
    seen.server = down(None);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: PostgreSQL died
        perform ScanEnd"#]],
    );
    seen.server = down(Some(at(3, 9_000)));
    seen.health.redo_milliseconds = Some(2_000);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        perform Start { cut: None }"#]],
    );
    seen.health.redo_milliseconds = Some(20_000);
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        disarm
        remember ReleaseSent
        send db-2 released
        send db-3 released
        perform Start { cut: None }"#]],
    );
}

#[test]
fn an_empty_volume_under_an_old_name_takes_nothing() {
    let record = record(3);
    let mut seen = deserted(1, &record);
    seen.me.incarnation = 9;
    seen.me.volume = 99;
    seen.server = Server::Absent;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect!["waiting: there is nobody to take over or to copy from"],
    );
}

#[test]
fn a_vacant_office_is_taken_by_whoever_has_everything() {
    let mut record = record(3);
    record.quorum.insert(pair(1, [2, 3]));
    record.phase = Phase::Vacant { end: at(3, 2_000) };
    let seen = sealing(2, &record, &[(3, Stance::Sealed { position: at(3, 2_000) })]);
    check(
        &intent(3, REQUIRED),
        &seen,
        expect![[r#"
        claiming: writing the record (Claim)
        write Claim: epoch 3 db-2 serving, timeline 4, G {} M {db-1 db-2 db-3} Q {1 of (db-2, db-3); 1 of (db-3)}"#]],
    );
}

fn revoke(purpose: Purpose) -> Request {
    Request::Revoke(Revoke {
        epoch: Epoch(2),
        proposed: Epoch(3),
        revision: record(3).revision,
        basis: Basis::Stored,
        purpose,
        released: None,
        ballot: Time(1),
    })
}

#[test]
fn a_member_whose_grant_runs_refuses_to_vote() {
    let intent = intent(3, asynchronous());
    let answered =
        answer(&intent, &streaming(3, &record(3)), &name(2), &revoke(Purpose::Seal), NOW);
    let Reply::Revoke(vote) = answered.reply else { panic!("not a vote") };
    assert_eq!((vote.stance, answered.steps.len()), (Stance::Refused, 0));
}

#[test]
fn a_member_persists_its_promise_before_it_votes_and_votes_only_once_sealed() {
    let intent = intent(3, asynchronous());
    let mut seen = deserted(3, &record(3));
    let answered = answer(&intent, &seen, &name(2), &revoke(Purpose::Seal), NOW);
    let Reply::Revoke(vote) = &answered.reply else { panic!("not a vote") };
    assert_eq!((vote.stance, answered.steps.len()), (Stance::Revoked, 1));
    standby(&mut seen).follows = None;
    standby(&mut seen).streaming = false;
    let answered = answer(&intent, &seen, &name(2), &revoke(Purpose::Seal), NOW);
    let Reply::Revoke(vote) = &answered.reply else { panic!("not a vote") };
    assert_eq!(vote.stance, Stance::Sealed { position: at(3, 2_000) });
    standby(&mut seen).settled = false;
    let answered = answer(&intent, &seen, &name(2), &revoke(Purpose::Seal), NOW);
    let Reply::Revoke(vote) = &answered.reply else { panic!("not a vote") };
    assert_eq!(vote.stance, Stance::Revoked);
}

#[test]
fn a_member_gives_no_vote_by_a_record_that_was_set_back() {
    let mut seen = deserted(3, &record(3));
    let newer = record(3).rewritten(crate::record::WriteId::default());
    seen.durable.record = Some(newer);
    let Request::Revoke(asked) = revoke(Purpose::Seal) else { panic!("not a ballot") };
    for (basis, stance) in [(Basis::Stored, Stance::Refused), (Basis::Remembered, Stance::Revoked)]
    {
        let asked = Request::Revoke(Revoke { basis, ..asked.clone() });
        let answered = answer(&intent(3, asynchronous()), &seen, &name(2), &asked, NOW);
        let Reply::Revoke(vote) = answered.reply else { panic!("not a vote") };
        assert_eq!(vote.stance, stance, "{basis:?}");
    }
}

#[test]
fn a_survey_binds_nobody() {
    let answered = answer(
        &intent(3, asynchronous()),
        &deserted(3, &record(3)),
        &name(2),
        &revoke(Purpose::Survey),
        NOW,
    );
    let Reply::Revoke(vote) = answered.reply else { panic!("not a vote") };
    assert_eq!((vote.stance, answered.steps.len()), (Stance::Revoked, 0));
}

#[test]
fn nobody_outside_the_members_claims() {
    let mut record = record(3);
    record.members = names([1, 3]);
    check(
        &intent(3, asynchronous()),
        &deserted(2, &record),
        expect!["waiting: db-1 has been silent for 3010 ms"],
    );
}

#[test]
fn whoever_claims_grants_to_the_winner_and_to_nobody_before_it() {
    let record = record(3);
    let mut seen = sealing(2, &record, &[(3, Stance::Sealed { position: at(3, 2_000) })]);
    let mut claim = record.clone();
    claim.epoch = Epoch(3);
    let write = Write::over(Some(&record), claim);
    let change = Change::Claim;
    seen.outstanding = Some(Outstanding { write, change, first_sent: NOW, last_sent: NOW });
    let granted = |from, epoch| {
        let request = Request::Heartbeat(Heartbeat {
            epoch: Epoch(epoch),
            revision: record.revision,
            sent: NOW,
            incarnation: 1,
            position: None,
            terms: Vec::new(),
            rewind_ready: false,
            may_restart: None,
        });
        let answered = answer(&intent(3, asynchronous()), &seen, &name(from), &request, NOW);
        matches!(answered.reply, Reply::Heartbeat(reply) if reply.granted)
    };
    assert!(!granted(1, 2), "the claim follows a promise");
    assert!(granted(3, 3), "somebody else holds that epoch: the claim has lost");
}
