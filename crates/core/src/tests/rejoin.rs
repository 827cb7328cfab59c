//! How an instance comes back: follow, rewind, clone, or wait.
//!
//! Never starts what is half rewound.

use super::check;
use crate::fixtures::{NOW, asynchronous, at, intent, name, record, standby, streaming};
use crate::notice::Event;
use crate::plan::{Outcome, Task};
use crate::seen::{End, Failed, Seen, Server, Upstream};
use crate::units::{Epoch, Lsn, SystemId, Time};
use expect_test::expect;

/// An old primary of timeline 2 that is down, its log ending at `lsn`; timeline 3 began at 1000.
fn down(lsn: u64) -> Seen {
    let mut seen = streaming(2, &record(3));
    let end = End::Clean { position: at(2, lsn) };
    seen.server = Server::Down { system_id: SystemId(7), end };
    seen
}

#[test]
fn a_log_that_ends_before_the_fork_goes_on() {
    check(
        &intent(3, asynchronous()),
        &down(1_000),
        expect![[r#"
            rejoining: not streaming yet
            perform Start { cut: Some(WalPosition { timeline: Timeline(2), lsn: Lsn(1000) }) }"#]],
    );
}

#[test]
fn what_a_log_has_beyond_the_fork_is_cut_off_before_a_start() {
    let mut seen = down(0);
    let position = at(2, 900);
    let end = End::CleanStandby { position };
    seen.server = Server::Down { system_id: SystemId(7), end };
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        perform Start { cut: Some(WalPosition { timeline: Timeline(2), lsn: Lsn(1000) }) }"#]],
    );
    // On the primary's own timeline there is no fork.
    let end = End::CleanStandby { position: at(3, 900) };
    seen.server = Server::Down { system_id: SystemId(7), end };
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        perform Start { cut: None }"#]],
    );
}

#[test]
fn a_log_that_goes_on_past_the_fork_is_rewound() {
    check(
        &intent(3, asynchronous()),
        &down(1_001),
        expect![[r#"
        rejoining: its log ends at 0/3E9 on timeline 2, but the primary's past left it at 0/3E8 on timeline 2
        persist promise 2 seal 0 served 0 rewinding
        perform Rewind { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn nothing_is_rewound_from_a_primary_that_has_not_checkpointed() {
    let mut seen = down(1_001);
    if let Some(heard) = &mut seen.grant.heard {
        heard.rewind_ready = false;
    }
    check(
        &intent(3, asynchronous()),
        &seen,
        expect!["rejoining: db-1 has not checkpointed on its timeline yet"],
    );
}

#[test]
fn after_two_failed_rewinds_the_folder_is_copied() {
    let mut seen = down(1_001);
    seen.durable.rejoin_failures = 2;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: its log ends at 0/3E9 on timeline 2, but the primary's past left it at 0/3E8 on timeline 2
        persist promise 2 seal 0 served 0 must clone"#]],
    );
    seen.durable.must_clone = true;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        perform Clone { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_half_rewound_folder_is_rewound_again_and_never_started() {
    let mut seen = down(900);
    seen.durable.rewinding = true;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: a rewind was begun and not finished
        perform Rewind { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_failed_rewind_is_counted_on_disk() {
    let mut seen = down(1_001);
    seen.durable.rewinding = true;
    let task = Task::Rewind { epoch: Epoch(2), primary: name(1) };
    seen.failed = Some(Failed { task, at: Time(1), times: 1, why: "no route".to_owned() });
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: a rewind was begun and not finished
        persist promise 2 seal 0 served 0 rewinding
        perform Rewind { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_timeline_that_was_never_handed_out_means_a_copy() {
    let mut seen = streaming(2, &record(3));
    seen.server = Server::Down { system_id: SystemId(7), end: End::Clean { position: at(9, 100) } };
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: timeline 9 is in nobody's past: a fresh copy is needed
        persist promise 2 seal 0 served 0 must clone"#]],
    );
}

#[test]
fn a_dead_end_that_was_handed_out_is_rewound() {
    let mut record = record(3);
    // Timeline 3 left timeline 1, so timeline 2 is a side branch that began at 500.
    record.terms[2].parent = crate::units::Timeline(1);
    record.terms[2].began = Some(Lsn(1_000));
    let mut seen = streaming(2, &record);
    seen.server = Server::Down { system_id: SystemId(7), end: End::Clean { position: at(2, 600) } };
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: its log ends at 0/258 on timeline 2, but the primary's past left it at 0/1F4 on timeline 1
        persist promise 2 seal 0 served 0 rewinding
        perform Rewind { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_running_standby_past_the_fork_is_stopped_to_be_rewound() {
    let mut seen = streaming(2, &record(3));
    standby(&mut seen).position = at(2, 1_500);
    standby(&mut seen).follows = None;
    standby(&mut seen).streaming = false;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: its log ends at 0/5DC on timeline 2, but the primary's past left it at 0/3E8 on timeline 2
        perform Stop { epoch: Epoch(2) }"#]],
    );
}

#[test]
fn a_folder_of_another_cluster_is_left_alone() {
    let mut seen = down(900);
    seen.server = Server::Down { system_id: SystemId(8), end: End::Clean { position: at(2, 900) } };
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![
            "waiting: its data folder belongs to another cluster (system identifier differs); move it away to have it cloned"
        ],
    );
}

#[test]
fn an_empty_volume_is_filled_from_the_primary() {
    let mut seen = down(900);
    seen.server = Server::Absent;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        perform Clone { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_folder_that_does_not_start_is_copied_not_started_once_more() {
    let mut seen = down(900);
    let why = "could not read the control file".to_owned();
    seen.failed = Some(Failed { task: Task::Start { cut: None }, at: Time(1), times: 4, why });
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        rejoining: not streaming yet
        persist promise 2 seal 0 served 0 must clone
        perform Clone { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_folder_that_works_again_needs_no_copy() {
    let mut seen = streaming(2, &record(3));
    seen.durable.must_clone = true;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        following: streaming
        persist promise 2 seal 0 served 0"#]],
    );
}

#[test]
fn a_new_copy_has_not_failed_to_start_yet() {
    let mut seen = down(900);
    let why = "could not read the control file".to_owned();
    seen.failed = Some(Failed { task: Task::Start { cut: None }, at: Time(1), times: 4, why });
    seen.durable.must_clone = true;
    let task = Task::Clone { epoch: Epoch(2), primary: name(1) };
    seen.notice(Event::Finished { task, outcome: Outcome::Done }, NOW);
    assert_eq!((&seen.failed, seen.rewound), (&None, true));
}

#[test]
fn a_primary_that_is_reached_elsewhere_is_followed_anew() {
    let mut seen = streaming(2, &record(3));
    standby(&mut seen).streaming = false;
    seen.health.upstream = Upstream::Moved;
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
        following: not streaming yet
        perform Follow { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}

#[test]
fn a_standby_follows_a_primary_to_be_as_soon_as_it_knows_the_fork() {
    let mut seen = streaming(2, &record(3));
    standby(&mut seen).position = at(2, 1_000);
    standby(&mut seen).follows = None;
    let tell = |seen: &mut Seen, began| {
        let heard = seen.grant.heard.as_mut().unwrap();
        heard.position = None;
        heard.terms.last_mut().unwrap().began = began;
    };
    tell(&mut seen, None);
    let waits = expect!["rejoining: the primary has not said where its timeline began"];
    check(&intent(3, asynchronous()), &seen, waits);
    tell(&mut seen, Some(Lsn(1_000)));
    check(
        &intent(3, asynchronous()),
        &seen,
        expect![[r#"
            following: not streaming yet
            perform Follow { epoch: Epoch(2), primary: InstanceName { cluster: ClusterName("db"), serial: 1 } }"#]],
    );
}
