//! Reads from PostgreSQL's own log when it had each segment.
//!
//! Never asks who fetched them.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::time::Duration;

/// Each line begins with the time, in seconds since 1970 with milliseconds.
pub(super) const SETTINGS: &str = "log_destination = 'stderr'\nlogging_collector = off\n\
    log_line_prefix = '%n '\n";
const SAID: &str = "LOG:  restored log file \"";
/// So much of it tells what went wrong.
const LINES: usize = 8;

/// From each segment to the next one, beginning with the second: the one before may have been
/// replayed in part only.
pub(super) fn between_segments(said: &str, segments: usize) -> Result<Vec<Duration>> {
    let mut had: BTreeMap<&str, Duration> = BTreeMap::new();
    for line in said.lines() {
        let Some((at, rest)) = line.split_once(SAID) else { continue };
        let name = rest.split('"').next().unwrap_or_default();
        if name.len() == 24
            && let Ok(at) = at.trim().parse()
        {
            // The first is fetched twice: for its checkpoint, and to be replayed.
            had.insert(name, Duration::try_from_secs_f64(at)?);
        }
    }
    if had.len() != segments {
        bail!("{} segments were replayed instead of {segments}", had.len());
    }
    let had: Vec<Duration> = had.into_values().skip(1).collect();
    Ok(had.iter().zip(had.iter().skip(1)).map(|(one, next)| next.saturating_sub(*one)).collect())
}

/// What it said last.
pub(super) fn end_of(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines.get(from..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "1795346554.018 LOG:  starting archive recovery\n\
        1795346554.100 LOG:  restored log file \"000000010000000000000003\" from archive\n\
        1795346554.150 LOG:  restored log file \"000000010000000000000003\" from archive\n\
        1795346555.000 LOG:  restored log file \"000000010000000000000004\" from archive\n\
        1795346555.100 LOG:  redo starts at 0/3000028\n\
        1795346555.250 LOG:  restored log file \"000000010000000000000005\" from archive\n\
        1795346555.375 LOG:  restored log file \"000000010000000000000006\" from archive\n";

    #[test]
    fn the_first_segment_and_the_way_to_the_second_do_not_count() {
        let waits = between_segments(TOLD, 4).unwrap();
        let milliseconds: Vec<_> = waits.iter().map(|wait| wait.as_secs_f64() * 1000.0).collect();
        assert_eq!(milliseconds.iter().map(|it| it.round()).collect::<Vec<_>>(), [250.0, 125.0]);
    }

    #[test]
    fn a_recovery_that_ended_early_is_no_figure() {
        let error = between_segments(TOLD, 5).unwrap_err().to_string();
        assert_eq!(error, "4 segments were replayed instead of 5");
    }
}
