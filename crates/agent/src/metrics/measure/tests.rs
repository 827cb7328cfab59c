//! What is told of what is known. Never a clock.

use super::super::catalogue::ALL;
use super::super::fixtures::{MARKS, NOW, all, nothing};
use super::*;
use expect_test::expect;
use std::collections::BTreeSet;

fn shown(samples: &[Sample]) -> String {
    let line = |sample: &Sample| {
        let Sample { metric, labels, value } = sample;
        format!("{} {labels:?} {value}\n", metric.name)
    };
    samples.iter().map(line).collect()
}

#[test]
fn of_an_agent_that_knows_nothing_little_is_told() {
    expect![[r#"
        cnpg_collector_up ["contract"] 0
        pgherd_agent_start_timestamp_seconds [] 1799999999
        pgherd_agent_status_age_seconds [] 0
        pgherd_agent_version ["0.1.0"] 1
        pgherd_office_held [] 0
        cnpg_collector_fencing_on [] 0
        pgherd_archive_segments_total [] 0
        pgherd_archive_bytes_total [] 0
        pgherd_archive_failures_total [] 0
        pgherd_stream_pieces_total [] 0
        pgherd_stream_bytes_total [] 0
        pgherd_stream_failures_total [] 0
        cnpg_collector_first_recoverability_point [] 0
        cnpg_collector_last_available_backup_timestamp [] 0
        cnpg_collector_last_failed_backup_timestamp [] 0
        pgherd_backup_running [] 0
    "#]]
    .assert_eq(&shown(&measure(&nothing(), None, NOW)));
}

#[test]
fn every_metric_has_a_value_once_all_is_known() {
    let samples = measure(&all(), Some(MARKS), NOW);
    let told: BTreeSet<&str> = samples.iter().map(|sample| sample.metric.name).collect();
    assert_eq!(told, ALL.iter().map(|metric| metric.name).collect());
    for Sample { metric, labels, .. } in &samples {
        assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
    }
    expect![[r#"
        cnpg_collector_up ["contract"] 1
        pgherd_agent_start_timestamp_seconds [] 1799996400
        pgherd_agent_status_age_seconds [] 2
        pgherd_agent_version ["0.1.0"] 1
        pgherd_office_held [] 1
        cnpg_collector_postgres_version ["15.18", "contract"] 15.18
        pgherd_epoch [] 1
        pgherd_timeline [] 2
        cnpg_collector_fencing_on [] 0
        cnpg_collector_pg_wal_archive_status ["ready"] 3
        cnpg_collector_pg_wal_archive_status ["done"] 5
        pgherd_archive_segments_total [] 40
        pgherd_archive_bytes_total [] 671088640
        pgherd_archive_failures_total [] 4
        pgherd_stream_pieces_total [] 600
        pgherd_stream_bytes_total [] 104857600
        pgherd_stream_failures_total [] 1
        pgherd_archive_last_failure_timestamp_seconds [] 1799999992
        pgherd_archive_failing [] 1
        pgherd_archive_alarm [] 1
        pgherd_archive_queue_segments [] 3
        pgherd_archive_queue_bytes [] 50331648
        pgherd_archive_queue_limit_bytes [] 1073741824
        pgherd_archive_queue_oldest_age_seconds [] 120
        pgherd_archive_last_success_timestamp_seconds [] 1799999980
        pgherd_stream_failing [] 1
        pgherd_stream_lag_bytes [] 4096
        pgherd_stream_lag_seconds [] 1.5
        pgherd_stream_last_piece_duration_seconds [] 0.07
        cnpg_collector_first_recoverability_point [] 1799991000
        cnpg_collector_last_available_backup_timestamp [] 1799999600
        cnpg_collector_last_failed_backup_timestamp [] 1799999690
        pgherd_backup_running [] 1
        pgherd_backup_copied_bytes [] 1000
        pgherd_backup_expected_bytes [] 4000
        pgherd_backup_stored_bytes [] 500
        pgherd_backup_last_duration_seconds [] 150
        pgherd_backup_last_size_bytes [] 5000000
        pgherd_backup_last_stored_bytes [] 2000000
        pgherd_backup_last_warnings [] 1
        pgherd_backup_last_bad_pages [] 2
        pgherd_retention_last_run_timestamp_seconds [] 1799999700
    "#]]
    .assert_eq(&shown(&samples));
}

#[test]
fn a_server_that_does_not_answer_is_not_up() {
    let up = |change: fn(&mut Status)| {
        let mut facts = all();
        change(&mut facts.status);
        let samples = measure(&facts, None, NOW);
        samples.iter().find(|sample| sample.metric == &UP).unwrap().value
    };
    let told = [
        up(|_| ()),
        up(|status| status.role = Role::Standby),
        up(|status| status.server.misses = 1),
        up(|status| status.role = Role::Stopped),
    ];
    assert_eq!(told.map(|value| value > 0.5), [true, true, false, false]);
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_negative() {
    let early = Timestamp::UNIX_EPOCH;
    let samples = measure(&all(), None, early);
    assert!(samples.iter().all(|sample| sample.value >= 0.0), "{}", shown(&samples));
}
