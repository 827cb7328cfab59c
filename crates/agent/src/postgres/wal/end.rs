//! Finds where the valid log of a stopped or crashed server ends.
//!
//! Never looks at a server that runs, and never guesses: `pg_waldump` reads the records.

use crate::postgres::control::{Control, ControlError};
use crate::postgres::site::Site;
use crate::postgres::wal::history::{self, HistoryError};
use crate::postgres::wal::{self, PAGE, Segment, WalError};
use crate::process::tool::{Next, Stream, Tool, ToolError};
use pgherd_core::units::{Bytes, Lsn, Timeline, WalPosition};
use std::time::Duration;

/// The first version whose `pg_waldump --stats` says where it came to.
const SAYS_END: u32 = 15;
const PAGE_HEADER: u64 = 24;
const SEGMENT_HEADER: u64 = 40;

#[derive(Debug, thiserror::Error)]
pub enum EndError {
    #[error("reading the control file")]
    ReadControl { source: ControlError },
    #[error("listing the log")]
    ListLog { source: WalError },
    #[error("reading the history of the newest timeline")]
    ReadHistory { source: HistoryError },
    #[error("timeline {timeline} has segments here but no history: clone the instance again")]
    FindHistory { timeline: Timeline },
    #[error("scanning the log with pg_waldump")]
    ScanLog { source: ToolError },
    #[error("segment {missing} is missing from the log: clone the instance again")]
    FindSegment { missing: Segment },
    #[error(
        "there is no valid record at {start}, where recovery would begin: the log is damaged, clone the instance again"
    )]
    FindRecord { start: Lsn },
}

/// The end of the last whole record on the newest timeline of a stopped server.
pub async fn find(
    site: &Site,
    control: &Control,
    within: Duration,
) -> Result<WalPosition, EndError> {
    let redo = control.checkpoint.redo;
    let newest = wal::highest_timeline(&site.data)
        .map_err(|source| EndError::ListLog { source })?
        .max(control.checkpoint.timeline);
    if newest == control.checkpoint.timeline {
        let end = scan(site, newest, redo, control.segment_size, within).await?;
        let lsn = end.ok_or(EndError::FindRecord { start: redo })?;
        return Ok(WalPosition { timeline: newest, lsn });
    }
    let begins = history::read(&site.data, newest)
        .map_err(|source| EndError::ReadHistory { source })?
        .and_then(|history| history.begins())
        .ok_or(EndError::FindHistory { timeline: newest })?;
    // Nothing may have been written yet on a timeline that was just begun.
    let start = begins.max(redo);
    let end = scan(site, newest, start, control.segment_size, within).await?;
    Ok(WalPosition { timeline: newest, lsn: end.unwrap_or(start) })
}

/// How a scan came to its end.
enum Stopped {
    /// At something that is no record.
    AtNoRecord,
    /// At a segment that does not exist.
    AtMissing(Segment),
}

async fn scan(
    site: &Site,
    timeline: Timeline,
    start: Lsn,
    segment: Bytes,
    within: Duration,
) -> Result<Option<Lsn>, EndError> {
    if site.installation.version.major >= SAYS_END {
        let tool = waldump(site, timeline, start).argument("--stats");
        let mut said = Vec::new();
        let listen = &mut |stream, piece: &[u8]| {
            if stream == Stream::Stdout {
                said.extend_from_slice(piece);
            }
            Next::GoOn
        };
        match stopped(tool.run_listening(within, listen).await)? {
            Stopped::AtNoRecord => {
                return Ok(String::from_utf8_lossy(&said).lines().find_map(parse_statistics));
            }
            // It ends there without a word about where it came to.
            Stopped::AtMissing(_) => {}
        }
    }
    scan_records(waldump(site, timeline, start), segment, within).await
}

fn waldump(site: &Site, timeline: Timeline, start: Lsn) -> Tool {
    Tool::new(site.installation.tool("pg_waldump"))
        .argument("--path")
        .argument(wal::folder(&site.data))
        .argument(format!("--timeline={timeline}"))
        .argument(format!("--start={start}"))
        .run_as(site.owner)
}

/// It always fails: that is how it says that the valid log ends. Any other failure would make the
/// log look shorter than it is.
fn stopped(outcome: Result<String, ToolError>) -> Result<Stopped, EndError> {
    let Err(error) = outcome else { return Ok(Stopped::AtNoRecord) };
    let complaint = match &error {
        ToolError::Fail { complaint, .. } => complaint.as_str(),
        ToolError::Start { .. }
        | ToolError::Listen { .. }
        | ToolError::Deadline { .. }
        | ToolError::Stop { .. } => "",
    };
    let missing = complaint
        .split_once("could not find file \"")
        .and_then(|(_, rest)| Segment::parse(rest.split('"').next()?));
    if let Some(missing) = missing {
        return Ok(Stopped::AtMissing(missing));
    }
    let at_no_record = ["error in WAL record at", "could not find a valid record after"];
    if at_no_record.iter().any(|words| complaint.contains(words)) {
        return Ok(Stopped::AtNoRecord);
    }
    Err(EndError::ScanLog { source: error })
}

/// Reads `WAL statistics between 0/17414F8 and 0/1741570:`.
fn parse_statistics(line: &str) -> Option<Lsn> {
    let (_, end) = line.strip_prefix("WAL statistics between ")?.split_once(" and ")?;
    Lsn::parse(end.trim_end_matches(':')).ok()
}

async fn scan_records(
    tool: Tool,
    segment: Bytes,
    within: Duration,
) -> Result<Option<Lsn>, EndError> {
    let mut end = None;
    let mut rest = Vec::new();
    let listen = &mut |stream, piece: &[u8]| {
        if stream == Stream::Stdout {
            rest.extend_from_slice(piece);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines = String::from_utf8_lossy(rest.get(..whole).unwrap_or_default());
            end = lines.lines().filter_map(|line| parse_record(line, segment)).next_back().or(end);
            rest.drain(..whole);
        }
        Next::GoOn
    };
    match stopped(tool.run_listening(within, listen).await)? {
        Stopped::AtNoRecord => Ok(end),
        Stopped::AtMissing(missing) if end.is_some_and(|end| missing.begins(segment) >= end) => {
            Ok(end)
        }
        Stopped::AtMissing(missing) => Err(EndError::FindSegment { missing }),
    }
}

/// Reads `rmgr: XLOG  len (rec/tot):  114/  114, tx: 0, lsn: 0/017414F8, prev 0/017414B0, desc: ..`
/// and tells where that record ends.
fn parse_record(line: &str, segment: Bytes) -> Option<Lsn> {
    let (lengths, rest) = line.split_once("len (rec/tot):")?.1.split_once(", tx:")?;
    let total: u64 = lengths.split_once('/')?.1.trim().parse().ok()?;
    let (lsn, rest) = rest.split_once("lsn: ")?.1.split_once(", prev")?;
    let begins = Lsn::parse(lsn).ok()?;
    if line.starts_with("rmgr: XLOG") && rest.contains("desc: SWITCH") {
        // The rest of its segment is empty.
        return Some(Lsn((begins.0 / segment.0 + 1) * segment.0));
    }
    Some(ends(begins, total, segment))
}

/// Where a record of `total` bytes ends that begins at `begins`: each page it enters has a header,
/// and the next record begins at a multiple of eight.
pub fn ends(begins: Lsn, total: u64, segment: Bytes) -> Lsn {
    let mut at = begins.0;
    let mut left = total;
    loop {
        let room = PAGE - at % PAGE;
        if left <= room {
            return Lsn((at + left).next_multiple_of(8));
        }
        left -= room;
        at += room;
        at += if at.is_multiple_of(segment.0) { SEGMENT_HEADER } else { PAGE_HEADER };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Bytes = Bytes(16 << 20);

    #[test]
    fn the_end_is_read_from_statistics() {
        let line = "WAL statistics between 0/17414F8 and 16/1741570:";
        assert_eq!(parse_statistics(line).map(|lsn| lsn.to_string()), Some("16/1741570".into()));
        assert_eq!(parse_statistics("Type    N   (%)"), None);
    }

    #[test]
    fn the_end_is_computed_from_a_record() {
        let line = "rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/017414F8, prev 0/017414B0, desc: CHECKPOINT_SHUTDOWN redo 0/17414F8";
        let end = parse_record(line, SEGMENT).unwrap();
        assert_eq!(end.to_string(), "0/1741570");
        let line = "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/017414F8, prev 0/017414B0, desc: SWITCH ";
        let end = parse_record(line, SEGMENT).unwrap();
        assert_eq!(end.to_string(), "0/2000000");
        let across_a_page = ends(Lsn(0x1FF0), 100, SEGMENT);
        assert_eq!(across_a_page, Lsn(0x2000 + 24 + 84 + 4));
    }
}
