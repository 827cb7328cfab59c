//! Turns what the agent knows into samples.
//!
//! Never guesses: what is not known has no sample, unless CloudNativePG has a value for that.

use super::Facts;
use super::catalogue::{
    AGENT_INFO, AGENT_STARTED, AGENT_STATUS_AGE, ARCHIVE_ALARM, ARCHIVE_BYTES, ARCHIVE_FAILING,
    ARCHIVE_FAILURES, ARCHIVE_LAST_FAILURE, ARCHIVE_LAST_SUCCESS, ARCHIVE_QUEUE_BYTES,
    ARCHIVE_QUEUE_LIMIT, ARCHIVE_QUEUE_OLDEST_AGE, ARCHIVE_QUEUE_SEGMENTS, ARCHIVE_SEGMENTS,
    BACKUP_COPIED, BACKUP_EXPECTED, BACKUP_LAST_BAD_PAGES, BACKUP_LAST_DURATION, BACKUP_LAST_SIZE,
    BACKUP_LAST_STORED, BACKUP_LAST_WARNINGS, BACKUP_RUNNING, BACKUP_STORED, EPOCH, FENCING_ON,
    FIRST_RECOVERABILITY_POINT, LAST_AVAILABLE_BACKUP, LAST_FAILED_BACKUP, Metric, OFFICE_HELD,
    POSTGRES_VERSION, RETENTION_LAST_RUN, STREAM_BYTES, STREAM_FAILING, STREAM_FAILURES,
    STREAM_LAG, STREAM_LAG_BYTES, STREAM_LAST_PIECE, STREAM_PIECES, TIMELINE, UP,
    WAL_ARCHIVE_STATUS,
};
use crate::archive::{Counts, Marks};
use crate::backup::Known;
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveStatus, BackupReport, Role, Status, StreamStatus};

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) metric: &'static Metric,
    /// As many as the metric has labels.
    pub(super) labels: Vec<String>,
    pub(super) value: f64,
}

/// What is told `now`; `marks` are those of PostgreSQL in its folder of log, if they could be counted.
pub(super) fn measure(facts: &Facts, marks: Option<Marks>, now: Timestamp) -> Vec<Sample> {
    let Facts { status, fenced, archived, backups } = facts;
    let mut samples = server(status, now);
    samples.push(sample(&FENCING_ON, f64::from(*fenced)));
    if let Some(Marks { ready, done }) = marks {
        samples.push(labelled(&WAL_ARCHIVE_STATUS, ["ready"], number(ready)));
        samples.push(labelled(&WAL_ARCHIVE_STATUS, ["done"], number(done)));
    }
    samples.extend(counted(archived));
    if let Some(archive) = &status.archive {
        samples.extend(archiving(archive, now));
        samples.extend(archive.stream.iter().flat_map(streaming));
    }
    samples.extend(of_backups(backups));
    samples
}

fn server(status: &Status, now: Timestamp) -> Vec<Sample> {
    let cluster = status.cluster.as_str();
    let answers = match status.role {
        Role::Primary | Role::Standby => status.server.misses == 0,
        Role::Starting | Role::Stopped | Role::Absent | Role::Unknown => false,
    };
    let mut samples = vec![
        labelled(&UP, [cluster], f64::from(answers)),
        sample(&AGENT_STARTED, time(status.started)),
        sample(&AGENT_STATUS_AGE, age(status.at, now)),
        labelled(&AGENT_INFO, [status.version.as_str()], 1.0),
        sample(&OFFICE_HELD, f64::from(status.holds.is_some())),
    ];
    if let Some(full) = &status.server.version
        && let Ok(value) = full.parse()
    {
        samples.push(labelled(&POSTGRES_VERSION, [full.as_str(), cluster], value));
    }
    let epoch = status.record.as_ref().map(|record| number(record.epoch.0));
    let timeline = status.server.timeline.map(|timeline| f64::from(timeline.0));
    samples.extend(known(&EPOCH, epoch));
    samples.extend(known(&TIMELINE, timeline));
    samples
}

fn counted(counts: &Counts) -> Vec<Sample> {
    let failed = counts.failed.map(time);
    let counted = [
        sample(&ARCHIVE_SEGMENTS, number(counts.segments)),
        sample(&ARCHIVE_BYTES, number(counts.bytes.0)),
        sample(&ARCHIVE_FAILURES, number(counts.failures)),
        sample(&STREAM_PIECES, number(counts.pieces)),
        sample(&STREAM_BYTES, number(counts.streamed.0)),
        sample(&STREAM_FAILURES, number(counts.stream_failures)),
    ];
    counted.into_iter().chain(known(&ARCHIVE_LAST_FAILURE, failed)).collect()
}

fn archiving(archive: &ArchiveStatus, now: Timestamp) -> Vec<Sample> {
    let oldest = archive.waiting_since.map_or(0.0, |since| age(since, now));
    let stored = archive.last.as_ref().map(|last| time(last.at));
    let present = [
        sample(&ARCHIVE_FAILING, f64::from(archive.failing.is_some())),
        sample(&ARCHIVE_ALARM, f64::from(archive.alarm.is_some())),
        sample(&ARCHIVE_QUEUE_SEGMENTS, number(archive.waiting)),
        sample(&ARCHIVE_QUEUE_BYTES, number(archive.waiting_bytes.0)),
        sample(&ARCHIVE_QUEUE_LIMIT, number(archive.waiting_limit.0)),
        sample(&ARCHIVE_QUEUE_OLDEST_AGE, oldest),
    ];
    present.into_iter().chain(known(&ARCHIVE_LAST_SUCCESS, stored)).collect()
}

fn streaming(stream: &StreamStatus) -> Vec<Sample> {
    let took = stream.took_milliseconds.map(seconds);
    let present = [
        sample(&STREAM_FAILING, f64::from(stream.failing.is_some())),
        sample(&STREAM_LAG_BYTES, number(stream.lag_bytes.0)),
        sample(&STREAM_LAG, seconds(stream.lag_milliseconds)),
    ];
    present.into_iter().chain(known(&STREAM_LAST_PIECE, took)).collect()
}

fn of_backups(backups: &Known) -> Vec<Sample> {
    let Known { running, completed, failed, retained } = backups;
    let taken = completed.as_ref().and_then(|report| report.taken.as_ref());
    // As CloudNativePG tells that there is none.
    let never = |at: Option<Timestamp>| at.map_or(0.0, time);
    let since = completed.as_ref().and_then(|report| report.recoverable_since);
    let mut samples = vec![
        sample(&FIRST_RECOVERABILITY_POINT, never(since)),
        sample(&LAST_AVAILABLE_BACKUP, never(taken.map(|taken| taken.at))),
        sample(&LAST_FAILED_BACKUP, never(failed.as_ref().and_then(|report| report.ended))),
        sample(&BACKUP_RUNNING, f64::from(running.is_some())),
    ];
    if let Some(BackupReport { done, total, stored, .. }) = running {
        samples.push(sample(&BACKUP_COPIED, number(done.0)));
        samples.push(sample(&BACKUP_EXPECTED, number(total.0)));
        samples.push(sample(&BACKUP_STORED, number(stored.0)));
    }
    if let Some((report, taken)) = completed.as_ref().zip(taken) {
        let took = report.ended.map(|ended| age(report.ordered, ended));
        samples.extend(known(&BACKUP_LAST_DURATION, took));
        samples.push(sample(&BACKUP_LAST_SIZE, number(taken.bytes.0)));
        samples.push(sample(&BACKUP_LAST_STORED, number(taken.stored.0)));
        let warnings = u64::try_from(report.warnings.len()).unwrap_or(u64::MAX);
        samples.push(sample(&BACKUP_LAST_WARNINGS, number(warnings)));
        samples.push(sample(&BACKUP_LAST_BAD_PAGES, number(taken.bad_pages)));
    }
    samples.extend(known(&RETENTION_LAST_RUN, retained.map(time)));
    samples
}

fn sample(metric: &'static Metric, value: f64) -> Sample {
    Sample { metric, labels: Vec::new(), value }
}

fn labelled<const N: usize>(metric: &'static Metric, labels: [&str; N], value: f64) -> Sample {
    Sample { metric, labels: labels.map(str::to_owned).to_vec(), value }
}

fn known(metric: &'static Metric, value: Option<f64>) -> Option<Sample> {
    value.map(|value| sample(metric, value))
}

fn time(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// How long `since` is ago; nothing if a clock was set back.
fn age(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

fn seconds(milliseconds: u64) -> f64 {
    number(milliseconds) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "whoever scrapes it counts in floating point, too")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
