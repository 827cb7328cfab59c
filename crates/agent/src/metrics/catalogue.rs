//! Names every metric there is: what it is called, what it counts, and in which unit.
//!
//! Never gives a name to something else than before: dashboards and alerts of others rest on it.
//! Those that begin with `cnpg_` are CloudNativePG's, with its types and labels. No label takes a
//! value that grows in number.

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As it is scraped.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    pub labels: &'static [&'static str],
    /// In one sentence, for its help and its page.
    pub meaning: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    /// It only grows, from 0 at the start of the agent's program; its name ends in `_total`.
    Counter,
}

/// All of them, in the order in which they are told.
pub static ALL: [&Metric; 41] = [
    &UP,
    &POSTGRES_VERSION,
    &FENCING_ON,
    &WAL_ARCHIVE_STATUS,
    &FIRST_RECOVERABILITY_POINT,
    &LAST_AVAILABLE_BACKUP,
    &LAST_FAILED_BACKUP,
    &AGENT_STARTED,
    &AGENT_STATUS_AGE,
    &OFFICE_HELD,
    &EPOCH,
    &TIMELINE,
    &ARCHIVE_FAILING,
    &ARCHIVE_ALARM,
    &ARCHIVE_QUEUE_SEGMENTS,
    &ARCHIVE_QUEUE_BYTES,
    &ARCHIVE_QUEUE_LIMIT,
    &ARCHIVE_QUEUE_OLDEST_AGE,
    &ARCHIVE_LAST_SUCCESS,
    &ARCHIVE_LAST_FAILURE,
    &ARCHIVE_SEGMENTS,
    &ARCHIVE_BYTES,
    &ARCHIVE_FAILURES,
    &STREAM_FAILING,
    &STREAM_LAG_BYTES,
    &STREAM_LAG,
    &STREAM_LAST_PIECE,
    &STREAM_PIECES,
    &STREAM_BYTES,
    &STREAM_FAILURES,
    &BACKUP_RUNNING,
    &BACKUP_COPIED,
    &BACKUP_EXPECTED,
    &BACKUP_STORED,
    &BACKUP_LAST_DURATION,
    &BACKUP_LAST_SIZE,
    &BACKUP_LAST_STORED,
    &BACKUP_LAST_WARNINGS,
    &BACKUP_LAST_BAD_PAGES,
    &RETENTION_LAST_RUN,
    &AGENT_INFO,
];

const fn gauge(name: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels: &[], meaning }
}

const fn counter(name: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels: &[], meaning }
}

const fn labelled(metric: Metric, labels: &'static [&'static str]) -> Metric {
    Metric { labels, ..metric }
}

pub(super) static UP: Metric = labelled(
    gauge("cnpg_collector_up", "", "1 if PostgreSQL is up and answers, 0 otherwise."),
    &["cluster"],
);
pub(super) static POSTGRES_VERSION: Metric = labelled(
    gauge("cnpg_collector_postgres_version", "", "PostgreSQL's version, such as 15.18."),
    &["full", "cluster"],
);
pub(super) static FENCING_ON: Metric =
    gauge("cnpg_collector_fencing_on", "", "1 if the instance is fenced on request, 0 otherwise.");
pub(super) static WAL_ARCHIVE_STATUS: Metric = labelled(
    gauge(
        "cnpg_collector_pg_wal_archive_status",
        "files",
        "Files of the log that PostgreSQL has marked as to be archived (ready) and as archived (done).",
    ),
    &["value"],
);
pub(super) static FIRST_RECOVERABILITY_POINT: Metric = gauge(
    "cnpg_collector_first_recoverability_point",
    "Unix time in seconds",
    "From when on the cluster could be recovered after the last base backup that this instance \
     took; 0 if it knows of none.",
);
pub(super) static LAST_AVAILABLE_BACKUP: Metric = gauge(
    "cnpg_collector_last_available_backup_timestamp",
    "Unix time in seconds",
    "When the last base backup that this instance took was completed; 0 if it knows of none.",
);
pub(super) static LAST_FAILED_BACKUP: Metric = gauge(
    "cnpg_collector_last_failed_backup_timestamp",
    "Unix time in seconds",
    "When a base backup last failed on this instance; 0 if it knows of none.",
);

pub(super) static AGENT_STARTED: Metric = gauge(
    "pgherd_agent_start_timestamp_seconds",
    "Unix time in seconds",
    "Since when the agent runs; kept when it becomes another program in place.",
);
pub(super) static AGENT_STATUS_AGE: Metric = gauge(
    "pgherd_agent_status_age_seconds",
    "seconds",
    "How old all that is told here is: more than a second while the agent's loop does not answer.",
);
pub(super) static AGENT_INFO: Metric = labelled(
    gauge("pgherd_agent_version", "", "1, with the version of the agent as a label."),
    &["version"],
);
pub(super) static OFFICE_HELD: Metric = gauge(
    "pgherd_office_held",
    "",
    "1 if this instance holds the office of the primary, 0 otherwise.",
);
pub(super) static EPOCH: Metric =
    gauge("pgherd_epoch", "", "The epoch of the record as this instance has read it last.");
pub(super) static TIMELINE: Metric =
    gauge("pgherd_timeline", "", "The timeline that this instance's log is on.");

pub(super) static ARCHIVE_FAILING: Metric = gauge(
    "pgherd_archive_failing",
    "",
    "1 while the log cannot be archived, 0 while it can; only on a primary with an archive.",
);
pub(super) static ARCHIVE_ALARM: Metric = gauge(
    "pgherd_archive_alarm",
    "",
    "1 while so much waits to be archived that somebody has to see to it, 0 otherwise; only on a \
     primary with an archive.",
);
pub(super) static ARCHIVE_QUEUE_SEGMENTS: Metric = gauge(
    "pgherd_archive_queue_segments",
    "files",
    "Files of the log that are finished and not archived; only on a primary with an archive.",
);
pub(super) static ARCHIVE_QUEUE_BYTES: Metric = gauge(
    "pgherd_archive_queue_bytes",
    "bytes",
    "How much log that is; only on a primary with an archive.",
);
pub(super) static ARCHIVE_QUEUE_LIMIT: Metric = gauge(
    "pgherd_archive_queue_limit_bytes",
    "bytes",
    "How much may wait before that is an alarm: 1 GiB, or a third of what the disk has left; only \
     on a primary with an archive.",
);
pub(super) static ARCHIVE_QUEUE_OLDEST_AGE: Metric = gauge(
    "pgherd_archive_queue_oldest_age_seconds",
    "seconds",
    "For how long the oldest file waits, 0 if none does; only on a primary with an archive.",
);
pub(super) static ARCHIVE_LAST_SUCCESS: Metric = gauge(
    "pgherd_archive_last_success_timestamp_seconds",
    "Unix time in seconds",
    "When this agent last archived a file; only on a primary, once it has.",
);
pub(super) static ARCHIVE_LAST_FAILURE: Metric = gauge(
    "pgherd_archive_last_failure_timestamp_seconds",
    "Unix time in seconds",
    "When this agent last failed to archive a file; only once it has.",
);
pub(super) static ARCHIVE_SEGMENTS: Metric =
    counter("pgherd_archive_segments_total", "segments", "Segments that this agent has archived.");
pub(super) static ARCHIVE_BYTES: Metric = counter(
    "pgherd_archive_bytes_total",
    "bytes",
    "How much log those segments are, before it is packed.",
);
pub(super) static ARCHIVE_FAILURES: Metric = counter(
    "pgherd_archive_failures_total",
    "attempts",
    "Attempts of this agent to archive a file, or to fill a gap, that failed.",
);

pub(super) static STREAM_FAILING: Metric = gauge(
    "pgherd_stream_failing",
    "",
    "1 while the log cannot be streamed, 0 while it can; only while it is streamed here.",
);
pub(super) static STREAM_LAG_BYTES: Metric = gauge(
    "pgherd_stream_lag_bytes",
    "bytes",
    "How much log PostgreSQL has flushed that is not in the store; only while it is streamed here.",
);
pub(super) static STREAM_LAG: Metric = gauge(
    "pgherd_stream_lag_seconds",
    "seconds",
    "For how long the oldest of that is missing in the store; only while it is streamed here.",
);
pub(super) static STREAM_LAST_PIECE: Metric = gauge(
    "pgherd_stream_last_piece_duration_seconds",
    "seconds",
    "How long the last piece took; only while the log is streamed here, once there is one.",
);
pub(super) static STREAM_PIECES: Metric = counter(
    "pgherd_stream_pieces_total",
    "pieces",
    "Pieces of the log that this agent has stored.",
);
pub(super) static STREAM_BYTES: Metric = counter(
    "pgherd_stream_bytes_total",
    "bytes",
    "How much log those pieces are, before it is packed.",
);
pub(super) static STREAM_FAILURES: Metric = counter(
    "pgherd_stream_failures_total",
    "attempts",
    "Attempts of this agent to store a piece that failed.",
);

pub(super) static BACKUP_RUNNING: Metric = gauge(
    "pgherd_backup_running",
    "",
    "1 while this instance takes a base backup or waits for its log, 0 otherwise.",
);
pub(super) static BACKUP_COPIED: Metric = gauge(
    "pgherd_backup_copied_bytes",
    "bytes",
    "How much of the running base backup is copied; only while one runs.",
);
pub(super) static BACKUP_EXPECTED: Metric = gauge(
    "pgherd_backup_expected_bytes",
    "bytes",
    "How much the running base backup is to copy, 0 as long as that is not known; only while one \
     runs.",
);
pub(super) static BACKUP_STORED: Metric = gauge(
    "pgherd_backup_stored_bytes",
    "bytes",
    "How much the running base backup has stored, packed; only while one runs.",
);
pub(super) static BACKUP_LAST_DURATION: Metric = gauge(
    "pgherd_backup_last_duration_seconds",
    "seconds",
    "How long the last completed base backup of this instance took, with the wait for its log.",
);
pub(super) static BACKUP_LAST_SIZE: Metric = gauge(
    "pgherd_backup_last_size_bytes",
    "bytes",
    "How much the files in the last completed base backup of this instance are.",
);
pub(super) static BACKUP_LAST_STORED: Metric = gauge(
    "pgherd_backup_last_stored_bytes",
    "bytes",
    "How much the last completed base backup of this instance stored, packed.",
);
pub(super) static BACKUP_LAST_WARNINGS: Metric = gauge(
    "pgherd_backup_last_warnings",
    "warnings",
    "What is wrong with the last completed base backup of this instance although it is there.",
);
pub(super) static BACKUP_LAST_BAD_PAGES: Metric = gauge(
    "pgherd_backup_last_bad_pages",
    "pages",
    "Pages whose checksum was wrong in the last completed base backup of this instance.",
);
pub(super) static RETENTION_LAST_RUN: Metric = gauge(
    "pgherd_retention_last_run_timestamp_seconds",
    "Unix time in seconds",
    "When retention was last applied after a base backup of this instance; only once it was.",
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_used_once_and_say_what_they_are() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for Metric { name, kind, labels, meaning, .. } in ALL {
            assert!(name.starts_with("cnpg_") || name.starts_with("pgherd_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            // The scrape brings these, and a second one of the name would be renamed.
            assert!(!labels.iter().any(|it| ["namespace", "pod", "job"].contains(it)), "{name}");
            assert!(meaning.ends_with('.') && !meaning.contains("  "), "{name}: {meaning}");
        }
    }
}
