//! Timeline histories: which log a timeline grew from, and names that are taken for nobody.
//!
//! Never changes a history that PostgreSQL wrote.

use crate::durable::{self, Access, DurableError};
use pgherd_core::units::{Lsn, Timeline};
use std::path::{Path, PathBuf};

/// The ancestors of a timeline, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    pub forks: Vec<Fork>,
}

/// Where an ancestor was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    pub timeline: Timeline,
    pub at: Lsn,
    pub reason: String,
}

/// Marks a file that only says: this timeline was given to somebody, and is not one's own.
const RESERVED: &str = "# This timeline was handed out and never used here; written by pgherd.\n";

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("reading the history of timeline {timeline}")]
    Read { timeline: Timeline, source: DurableError },
    #[error(
        "line {line} of the history {path:?} cannot be understood: restore it from the archive or clone again"
    )]
    Parse { path: PathBuf, line: usize },
    #[error("reserving timeline {timeline}")]
    Reserve { timeline: Timeline, source: DurableError },
    #[error("giving up the reservation of timeline {timeline}")]
    GiveUp { timeline: Timeline, source: DurableError },
    #[error("listing the histories")]
    List { source: super::WalError },
}

pub fn file_name(timeline: Timeline) -> String {
    format!("{:08X}.history", timeline.0)
}

pub fn parse_name(name: &str) -> Option<Timeline> {
    let digits = name.strip_suffix(".history")?;
    let plain = digits.len() == 8
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    u32::from_str_radix(digits, 16).ok().filter(|_| plain).map(Timeline)
}

impl History {
    /// Reads lines of `timeline <tab> LSN <tab> reason`; `Err` is the number of the line.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut forks = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fork = parse_fork(line).ok_or(index + 1)?;
            forks.push(fork);
        }
        Ok(Self { forks })
    }

    pub fn format(&self) -> String {
        let line = |fork: &Fork| format!("{}\t{}\t{}\n", fork.timeline, fork.at, fork.reason);
        self.forks.iter().map(line).collect()
    }

    /// Where the timeline of this history begins, unless it is the first one.
    pub fn begins(&self) -> Option<Lsn> {
        self.forks.last().map(|fork| fork.at)
    }

    /// Where `ancestor` was left on the way to this timeline, if it is an ancestor.
    pub fn leaves(&self, ancestor: Timeline) -> Option<Lsn> {
        self.forks.iter().find(|fork| fork.timeline == ancestor).map(|fork| fork.at)
    }
}

fn parse_fork(line: &str) -> Option<Fork> {
    let mut fields = line.splitn(3, char::is_whitespace);
    let timeline = Timeline(fields.next()?.parse().ok()?);
    let at = Lsn::parse(fields.next()?).ok()?;
    Some(Fork { timeline, at, reason: fields.next().unwrap_or_default().trim().to_owned() })
}

/// The history of a timeline as this folder has it, or `None` when it has none.
pub fn read(data: &Path, timeline: Timeline) -> Result<Option<History>, HistoryError> {
    let path = super::folder(data).join(file_name(timeline));
    let content = durable::read(&path).map_err(|source| HistoryError::Read { timeline, source })?;
    content
        .map(|content| History::parse(&String::from_utf8_lossy(&content)))
        .transpose()
        .map_err(|line| HistoryError::Parse { path, line })
}

/// Makes every timeline below `timeline` look taken, so that PostgreSQL promotes to exactly this
/// one. A standby asks its new primary for all histories in between; these are the ones it gets for
/// timelines that nobody used.
pub fn reserve_below(data: &Path, timeline: Timeline, access: Access) -> Result<(), HistoryError> {
    let folder = super::folder(data);
    for between in 2..timeline.0 {
        let path = folder.join(file_name(Timeline(between)));
        if !path.exists() {
            durable::write(&path, RESERVED.as_bytes(), access)
                .map_err(|source| HistoryError::Reserve { timeline: Timeline(between), source })?;
        }
    }
    Ok(())
}

/// Removes the reservations above `timeline`: a primary may have used one of these after all, and
/// a standby would never fetch a history that it seems to have.
pub fn give_up_above(data: &Path, timeline: Timeline) -> Result<(), HistoryError> {
    let names = super::names(data).map_err(|source| HistoryError::List { source })?;
    for taken in names.iter().filter_map(|name| parse_name(name)).filter(|taken| *taken > timeline)
    {
        let path = super::folder(data).join(file_name(taken));
        let content = durable::read(&path)
            .map_err(|source| HistoryError::Read { timeline: taken, source })?;
        if content.as_deref() == Some(RESERVED.as_bytes()) {
            durable::remove(&path)
                .map_err(|source| HistoryError::GiveUp { timeline: taken, source })?;
        }
    }
    Ok(())
}

/// Removes the reservations above the newest history that PostgreSQL wrote. A promotion that ended
/// halfway leaves them, and a server that starts takes the newest history for its goal: it would
/// wait forever for the log of a timeline that nobody used. The next promotion reserves anew.
pub fn give_up_unused(data: &Path) -> Result<(), HistoryError> {
    let names = super::names(data).map_err(|source| HistoryError::List { source })?;
    let mut newest = Timeline(1);
    for timeline in names.iter().filter_map(|name| parse_name(name)) {
        let path = super::folder(data).join(file_name(timeline));
        let content =
            durable::read(&path).map_err(|source| HistoryError::Read { timeline, source })?;
        if content.as_deref() != Some(RESERVED.as_bytes()) {
            newest = newest.max(timeline);
        }
    }
    give_up_above(data, newest)
}

/// The newest timeline that seems taken in this folder: a promotion would go beyond it.
pub fn highest(data: &Path) -> Result<Option<Timeline>, HistoryError> {
    let names = super::names(data).map_err(|source| HistoryError::List { source })?;
    Ok(names.iter().filter_map(|name| parse_name(name)).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "1\t0/3000110\tno recovery target specified\n4\t16/B374D848\t\n";

    #[test]
    fn histories_read_back_as_written() {
        let history = History::parse(TEXT).unwrap();
        assert_eq!(history.format(), TEXT);
        assert_eq!(history.begins(), Some(Lsn(0x16_B374_D848)));
        assert_eq!(history.leaves(Timeline(1)), Some(Lsn(0x300_0110)));
        assert_eq!(history.leaves(Timeline(2)), None);
        assert_eq!(History::parse(RESERVED), Ok(History::default()));
        assert_eq!(History::parse("1\t0/1\tx\n\nnonsense\n"), Err(3));
    }

    #[test]
    fn reservations_fill_gaps_and_spare_what_is_real() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let wal = data.join("pg_wal");
        std::fs::create_dir(&wal).unwrap();
        std::fs::write(wal.join("00000003.history"), TEXT).unwrap();
        reserve_below(data, Timeline(6), Access::PRIVATE).unwrap();
        let present = || {
            let mut names = crate::postgres::wal::names(data).unwrap();
            names.sort();
            names.iter().filter_map(|name| parse_name(name)).map(|t| t.0).collect::<Vec<_>>()
        };
        assert_eq!(present(), [2, 3, 4, 5]);
        assert_eq!(highest(data).unwrap(), Some(Timeline(5)));
        assert_eq!(read(data, Timeline(3)).unwrap().unwrap().forks.len(), 2);
        give_up_above(data, Timeline(2)).unwrap();
        assert_eq!(present(), [2, 3]);
    }
}
