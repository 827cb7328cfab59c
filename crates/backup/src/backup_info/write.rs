//! Writes the lines of a description: the fields of barman 3.4, sorted, and nothing else.
//!
//! Never writes a value over more than one line.

use super::literal::Literal;
use super::{BackupInfo, Point, Tablespace};
use pgherd_core::backup::Status;
use pgherd_core::units::Moment;
use std::fmt::{Display, Write};

/// All that barman 3.4 writes for a backup that is no snapshot.
pub(super) const FIELDS: [&str; 28] = [
    "backup_label",
    "backup_name",
    "begin_offset",
    "begin_time",
    "begin_wal",
    "begin_xlog",
    "compression",
    "config_file",
    "copy_stats",
    "deduplicated_size",
    "end_offset",
    "end_time",
    "end_wal",
    "end_xlog",
    "error",
    "hba_file",
    "ident_file",
    "included_files",
    "mode",
    "pgdata",
    "server_name",
    "size",
    "status",
    "systemid",
    "tablespaces",
    "timeline",
    "version",
    "xlog_segment_size",
];

impl BackupInfo {
    pub fn write(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            line(&mut text, format_args!("# {}", one_line(comment)));
        }
        for field in FIELDS {
            let value = self.value(field);
            // barman writes no line for a backup without a name.
            if field != "backup_name" || value.is_some() {
                line(&mut text, format_args!("{field}={}", value.as_deref().unwrap_or("None")));
            }
        }
        text
    }

    fn value(&self, field: &str) -> Option<String> {
        match field {
            "backup_label" => self.label.clone().map(|label| Literal::Text(label).to_string()),
            "backup_name" => plain(self.name.as_ref()),
            "begin_offset" => self.offset(self.begin),
            "begin_time" => self.begin.time.map(time),
            "begin_wal" => plain(self.begin.segment),
            "begin_xlog" => plain(self.begin.lsn),
            "config_file" => plain(self.files.config.as_ref()),
            "copy_stats" => plain(self.copy_stats.as_ref()),
            "deduplicated_size" => self.deduplicated_size.map(|size| size.0.to_string()),
            "end_offset" => self.offset(self.end),
            "end_time" => self.end.time.map(time),
            "end_wal" => plain(self.end.segment),
            "end_xlog" => plain(self.end.lsn),
            "error" => plain(self.error.as_ref()),
            "hba_file" => plain(self.files.hba.as_ref()),
            "ident_file" => plain(self.files.ident.as_ref()),
            "pgdata" => plain(self.files.pgdata.as_ref()),
            // barman-cloud writes this word and not the server's name.
            "server_name" => Some("cloud".to_owned()),
            "size" => self.size.map(|size| size.0.to_string()),
            "status" => self.status.map(|status| word(status).to_owned()),
            "systemid" => plain(self.system),
            "tablespaces" => tablespaces(&self.tablespaces),
            "timeline" => plain(self.timeline),
            "version" => plain(self.version),
            "xlog_segment_size" => self.segment_size.map(|size| size.bytes().0.to_string()),
            _ => None,
        }
    }

    /// Where in its segment a position lies.
    fn offset(&self, point: Point) -> Option<String> {
        Some((point.lsn?.0 % self.segment_size?.bytes().0).to_string())
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _always = writeln!(text, "{content}");
}

fn plain(value: Option<impl Display>) -> Option<String> {
    value.map(|value| one_line(&value.to_string()))
}

fn one_line(value: &str) -> String {
    value.trim().split(['\n', '\r']).collect::<Vec<_>>().join(" ")
}

/// As Python writes it: without the fraction when there is none.
fn time(moment: Moment) -> String {
    let stamp = jiff::Timestamp::from_microsecond(moment.0).unwrap_or_default();
    let fraction = if moment.0.rem_euclid(1_000_000) == 0 { "" } else { "%.6f" };
    stamp.strftime(&format!("%Y-%m-%d %H:%M:%S{fraction}+00:00")).to_string()
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Unfinished => "STARTED",
        Status::Failed => "FAILED",
        Status::WaitingForWal => "WAITING_FOR_WALS",
        Status::Done => "DONE",
    }
}

fn tablespaces(all: &[Tablespace]) -> Option<String> {
    let row = |one: &Tablespace| {
        Literal::Tuple(vec![
            Literal::Text(one.name.clone()),
            Literal::Number(one.oid.to_string()),
            Literal::Text(one.location.clone()),
        ])
    };
    (!all.is_empty()).then(|| Literal::List(all.iter().map(row).collect()).to_string())
}
