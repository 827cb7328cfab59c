//! The connection to PostgreSQL that a backup is bound to.
//!
//! Never outlives the backup: what PostgreSQL began for it ends with the connection.

use super::Role;
use crate::postgres::session::{Rows, Session};
use pgherd_backup::backup_info::Tablespace;
use pgherd_backup::base::{self, Pages, Refused, Started, Stopped};
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::time::Duration;

/// A checkpoint that is spread takes as long as `checkpoint_timeout` says: a day at most.
const CHECKPOINT: Duration = Duration::from_hours(25);
const QUESTION: Duration = Duration::from_secs(30);
/// On a standby the end waits for nothing; on a primary for one record of the log.
const END: Duration = Duration::from_mins(5);
/// Before this PostgreSQL called its functions otherwise.
const RENAMED: u32 = 15;

const FACTS: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::int8, \
    (select timeline_id from pg_control_checkpoint()), \
    (select system_identifier from pg_control_system()), \
    current_setting('server_version_num'), current_setting('data_checksums'), \
    current_setting('data_directory'), current_setting('config_file'), \
    current_setting('hba_file'), current_setting('ident_file'), \
    (select setting from pg_settings where name = 'wal_segment_size'), \
    (select setting from pg_settings where name = 'segment_size'), current_setting('block_size')";
const TABLESPACES: &str = "select spcname, oid, pg_tablespace_location(oid) from pg_tablespace \
    where pg_tablespace_location(oid) <> ''";
/// Up to where a standby has to be replayed, and on which timeline that is.
const MINIMUM: &str = "select min_recovery_end_timeline from pg_control_recovery()";

/// Tells what PostgreSQL said when the backup began.
type Tell = Box<dyn FnMut(&Started) + Send>;

pub(super) struct BackupSession {
    pub(super) session: Session,
    pub(super) major: u32,
    pub(super) role: Role,
    pub(super) checkpoint: Checkpoint,
    pub(super) tell: Tell,
    pub(super) timeline: Option<Timeline>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    Spread,
    Immediate,
}

#[derive(Debug, thiserror::Error)]
enum Strange {
    #[error("PostgreSQL says less than a backup needs to know")]
    TooLittle,
    #[error("another instance became the primary while the backup was taken: take another one")]
    OtherTimeline,
}

impl base::Session for BackupSession {
    async fn start(&mut self, label: &str) -> Result<Started, Refused> {
        let fast = self.checkpoint == Checkpoint::Immediate;
        let label = label.replace('\'', "''");
        let begin = if self.major >= RENAMED {
            format!("select pg_backup_start('{label}', {fast})")
        } else {
            format!("select pg_start_backup('{label}', {fast}, false)")
        };
        let begin = self.session.value(&begin, CHECKPOINT).await?;
        let started = self.facts(&begin).await?;
        self.timeline = Some(started.timeline);
        (self.tell)(&started);
        Ok(started)
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        let end = if self.major >= RENAMED {
            "pg_backup_stop(false)"
        } else {
            "pg_stop_backup(false, false)"
        };
        let end = format!(
            "select lsn, labelfile, (extract(epoch from clock_timestamp()) * 1000000)::int8 from {end}"
        );
        let row = self.row(&end, END).await?;
        let [lsn, label, at] = row.as_slice() else { return Err(Strange::TooLittle.into()) };
        let stopped =
            Stopped { end: Lsn::parse(lsn)?, at: Moment(at.parse()?), label: label.clone() };
        self.refuse_other_timeline(label).await?;
        Ok(stopped)
    }
}

impl BackupSession {
    async fn facts(&mut self, begin: &str) -> Result<Started, Refused> {
        let facts = self.row(FACTS, QUESTION).await?;
        let [at, timeline, system, version, checksums, rest @ ..] = facts.as_slice() else {
            return Err(Strange::TooLittle.into());
        };
        let [data, config, hba, ident, wal, of_a_file, page] = rest else {
            return Err(Strange::TooLittle.into());
        };
        let tablespaces = self.tablespaces().await?;
        Ok(Started {
            begin: Lsn::parse(begin)?,
            at: Moment(at.parse()?),
            timeline: Timeline(timeline.parse()?),
            system: SystemId(system.parse()?),
            segment_size: SegmentSize::new(Bytes(wal.parse()?))?,
            version: version.parse()?,
            pages: match (checksums.as_str(), page.as_str()) {
                ("on", "8192") => Pages::Checksums { of_a_file: of_a_file.parse()? },
                _ => Pages::Unverifiable,
            },
            pgdata: data.into(),
            config_file: config.into(),
            hba_file: hba.into(),
            ident_file: ident.into(),
            tablespaces,
        })
    }

    async fn tablespaces(&mut self) -> Result<Vec<Tablespace>, Refused> {
        let mut tablespaces = Vec::new();
        for row in self.rows(TABLESPACES, QUESTION).await? {
            let [name, oid, location] = row.as_slice() else {
                return Err(Strange::TooLittle.into());
            };
            let (name, location) = (name.clone(), location.clone());
            tablespaces.push(Tablespace { name, oid: oid.parse()?, location });
        }
        Ok(tablespaces)
    }

    /// What was copied of a standby that followed on to another timeline is consistent only there,
    /// and where the backup ends would be told as of the first one.
    async fn refuse_other_timeline(&mut self, label: &str) -> Result<(), Refused> {
        let said = label.lines().find_map(|line| line.strip_prefix("START TIMELINE: "));
        let said = said.and_then(|said| said.trim().parse().ok()).map(Timeline);
        let mut seen = vec![said];
        if self.role == Role::Standby {
            let minimum = self.session.value(MINIMUM, QUESTION).await?;
            seen.push(minimum.parse().ok().map(Timeline));
        }
        if seen.iter().all(|timeline| *timeline == self.timeline) {
            Ok(())
        } else {
            Err(Strange::OtherTimeline.into())
        }
    }

    async fn row(&mut self, sql: &str, within: Duration) -> Result<Vec<String>, Refused> {
        Ok(self.rows(sql, within).await?.into_iter().next().ok_or(Strange::TooLittle)?)
    }

    async fn rows(&mut self, sql: &str, within: Duration) -> Result<Vec<Vec<String>>, Refused> {
        let sets = self.session.ask(sql, within).await?;
        let rows: Rows = sets.into_iter().next().unwrap_or_default();
        let text = |row: &tokio_postgres::SimpleQueryRow, at| {
            row.try_get(at).ok().flatten().unwrap_or_default().to_owned()
        };
        Ok(rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect())
    }
}
