//! Reads the lines of a description, one field after the other.
//!
//! Never stops at one it does not understand.

use super::literal::Literal;
use super::{BackupInfo, Problem, Tablespace};
use pgherd_core::backup::Status;
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};

/// A backup label and a thousand tablespaces fit in many times.
const LIMIT: usize = 4 << 20;

impl BackupInfo {
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        if text.len() > LIMIT {
            read.problems.push(Problem::TooLarge);
            return read;
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                read.comments.push(comment.trim().to_owned());
            } else if let Some((field, value)) = line.split_once('=') {
                read.field(field.trim(), value.trim());
            } else if !line.is_empty() {
                read.problems.push(Problem::NoField(number + 1));
            }
        }
        read
    }

    fn field(&mut self, field: &str, value: &str) {
        if value == "None" && is_known(field) {
            return;
        }
        if let Err(field) = self.set(field, value) {
            self.problems.push(match field {
                Some(field) => Problem::Value { field, value: value.to_owned() },
                None => return,
            });
        }
    }

    /// Fails with the field whose value is not understood.
    fn set(&mut self, field: &str, value: &str) -> Result<(), Option<&'static str>> {
        match field {
            "backup_name" => self.name = Some(value.to_owned()),
            "error" => self.error = Some(value.to_owned()),
            "pgdata" => self.files.pgdata = Some(value.to_owned()),
            "config_file" => self.files.config = Some(value.to_owned()),
            "hba_file" => self.files.hba = Some(value.to_owned()),
            "ident_file" => self.files.ident = Some(value.to_owned()),
            "backup_label" => self.label = Some(label(value)),
            "begin_xlog" => self.begin.lsn = Some(lsn(value).ok_or(Some("begin_xlog"))?),
            "end_xlog" => self.end.lsn = Some(lsn(value).ok_or(Some("end_xlog"))?),
            "begin_wal" => self.begin.segment = Some(segment(value).ok_or(Some("begin_wal"))?),
            "end_wal" => self.end.segment = Some(segment(value).ok_or(Some("end_wal"))?),
            "begin_time" => self.begin.time = Some(time(value).ok_or(Some("begin_time"))?),
            "end_time" => self.end.time = Some(time(value).ok_or(Some("end_time"))?),
            "timeline" => self.timeline = Some(Timeline(number(value).ok_or(Some("timeline"))?)),
            "version" => self.version = Some(number(value).ok_or(Some("version"))?),
            "systemid" => self.system = Some(SystemId(number(value).ok_or(Some("systemid"))?)),
            "size" => self.size = Some(Bytes(number(value).ok_or(Some("size"))?)),
            "deduplicated_size" => {
                self.deduplicated_size =
                    Some(Bytes(number(value).ok_or(Some("deduplicated_size"))?));
            }
            "status" => self.status = Some(status(value).ok_or(Some("status"))?),
            "xlog_segment_size" => {
                self.segment_size = Some(segment_size(value).ok_or(Some("xlog_segment_size"))?);
            }
            "tablespaces" => self.tablespaces = tablespaces(value).ok_or(Some("tablespaces"))?,
            "copy_stats" => {
                self.copy_stats = Some(Literal::read(value).map_err(|_| Some("copy_stats"))?);
            }
            "snapshots_info" => {
                self.snapshots = Some(Literal::read(value).map_err(|_| Some("snapshots_info"))?);
            }
            // Follow from others, or say nothing about a backup in an object store.
            "begin_offset" | "end_offset" | "compression" | "included_files" | "mode"
            | "server_name" => {}
            unknown => {
                self.problems.push(Problem::UnknownField(unknown.to_owned()));
                return Err(None);
            }
        }
        Ok(())
    }
}

fn is_known(field: &str) -> bool {
    super::write::FIELDS.contains(&field) || field == "snapshots_info"
}

fn number<N: std::str::FromStr>(value: &str) -> Option<N> {
    value.parse().ok()
}

fn lsn(value: &str) -> Option<Lsn> {
    Lsn::parse(value).ok()
}

fn segment(value: &str) -> Option<Segment> {
    Segment::parse(value).ok()
}

fn segment_size(value: &str) -> Option<SegmentSize> {
    SegmentSize::new(Bytes(number(value)?)).ok()
}

/// The label is a literal; what is none is taken as it stands.
fn label(value: &str) -> String {
    match Literal::read(value) {
        Ok(Literal::Text(label)) => label,
        Ok(_) | Err(_) => value.to_owned(),
    }
}

/// ISO 8601 with an offset; without one it was the writer's own zone, and UTC is the best guess.
fn time(value: &str) -> Option<Moment> {
    let stamp = value.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local: jiff::civil::DateTime = value.parse().ok()?;
        Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(Moment(stamp.as_microsecond()))
}

fn status(value: &str) -> Option<Status> {
    Some(match value {
        "DONE" => Status::Done,
        "FAILED" => Status::Failed,
        "WAITING_FOR_WALS" => Status::WaitingForWal,
        "EMPTY" | "STARTED" | "SYNCING" => Status::Unfinished,
        _ => return None,
    })
}

fn tablespaces(value: &str) -> Option<Vec<Tablespace>> {
    let Literal::List(rows) = Literal::read(value).ok()? else { return None };
    let row = |row: Literal| {
        let (Literal::List(parts) | Literal::Tuple(parts)) = row else { return None };
        let [Literal::Text(name), Literal::Number(oid), Literal::Text(location)] = parts.as_slice()
        else {
            return None;
        };
        Some(Tablespace { name: name.clone(), oid: oid.parse().ok()?, location: location.clone() })
    };
    rows.into_iter().map(row).collect()
}
