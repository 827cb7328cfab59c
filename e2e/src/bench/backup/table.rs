//! Puts figures of one kind side by side.
//!
//! Never compares what was packed otherwise, or stored elsewhere.

use super::{Act, Figure, Wait, Who};
use std::fmt;

/// A table for people.
pub struct Table<'a>(pub &'a [Figure]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<15}{:<20}{:<18}", "ACT", "KIND", "WHO")?;
        write!(f, "{:>9}{:>9}{:>9}", "WALL", "CPU", "S3 CPU")?;
        write!(f, "{:>9}{:>10}{:>10}{:>8}", "MEMORY", "RATE", "STORED", "RATIO")?;
        write!(f, "{:>10}{:>10}{:>10}", "MEAN", "P50", "P95")?;
        writeln!(f, "{:>10}{:>10}{:>8}", "P99", "MAX", "TPS")?;
        let mut all: Vec<&Figure> = self.0.iter().collect();
        all.sort_by(|a, b| (a.act, &a.kind, a.who).cmp(&(b.act, &b.kind, b.who)));
        for one in all {
            let (act, who) = (one.act.to_string(), one.who.to_string());
            write!(f, "{act:<15}{:<20}{who:<18}", one.kind)?;
            for seconds in [one.seconds, one.processor_seconds, one.store_seconds] {
                write!(f, "{:>9}", format!("{seconds:.2} s"))?;
            }
            write!(f, "{:>9}", known(one.memory, |memory| format!("{} MB", memory >> 20)))?;
            write!(f, "{:>10}", format!("{:.0} MB/s", rate(one)))?;
            write!(f, "{:>10}", format!("{} MB", one.stored >> 20))?;
            write!(f, "{:>8}", known(self.ratio(one), |ratio| format!("{ratio:.2}")))?;
            for which in [
                |wait: Wait| wait.mean_milliseconds,
                |wait: Wait| wait.p50_milliseconds,
                |wait: Wait| wait.p95_milliseconds,
                |wait: Wait| wait.p99_milliseconds,
                |wait: Wait| wait.max_milliseconds,
            ] {
                write!(f, "{:>10}", known(one.wait, |wait| milliseconds(which(wait))))?;
            }
            writeln!(f, "{:>8}", known(one.transactions_per_second, |rate| format!("{rate:.0}")))?;
        }
        Ok(())
    }
}

fn known<T>(value: Option<T>, told: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), told)
}

/// A lag may be of minutes.
fn milliseconds(value: f64) -> String {
    if value < 10_000.0 { format!("{value:.1} ms") } else { format!("{:.1} s", value / 1000.0) }
}

impl Table<'_> {
    /// How many times as much as with pgherd: time for the same amount, or lag.
    fn ratio(&self, one: &Figure) -> Option<f64> {
        let is_ours = |other: &&Figure| {
            other.who == Who::Pgherd && other.act == one.act && other.kind == one.kind
        };
        let ours = self.0.iter().find(is_ours).and_then(burden)?;
        Some(burden(one)? / ours.max(1e-9))
    }
}

/// What there should be little of.
fn burden(one: &Figure) -> Option<f64> {
    match one.act {
        Act::Backup
        | Act::Increment
        | Act::Restore
        | Act::RestoreAgain
        | Act::Archive
        | Act::Replay => Some(1.0 / rate(one).max(0.001)),
        Act::Answer => one.wait.map(|wait| wait.p50_milliseconds),
        Act::Lag => one.wait.map(|wait| wait.p99_milliseconds),
        Act::Write => one.transactions_per_second.map(|rate| 1.0 / rate.max(0.001)),
    }
}

/// In megabytes a second, of what the cluster has.
#[expect(clippy::cast_precision_loss, reason = "nobody reads the fifth digit")]
fn rate(one: &Figure) -> f64 {
    one.bytes as f64 / 1e6 / one.seconds.max(0.001)
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Increment => "increment",
            Self::Restore => "restore",
            Self::RestoreAgain => "restore again",
            Self::Archive => "archive",
            Self::Answer => "answer",
            Self::Replay => "replay",
            Self::Lag => "lag",
            Self::Write => "write",
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pgherd => "pgherd",
            Self::PgherdByScan => "pgherd by scan",
            Self::PgherdUnstreamed => "pgherd, no stream",
            Self::PgBackRest => "pgBackRest",
            Self::BarmanCloud => "barman-cloud",
            Self::Copy => "cp",
            Self::Floor => "floor",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(act: Act, who: Who, (rate, lag): (f64, f64)) -> Figure {
        let wait = Wait {
            count: 2,
            mean_milliseconds: lag,
            p50_milliseconds: lag,
            p95_milliseconds: lag,
            p99_milliseconds: lag,
            max_milliseconds: lag,
        };
        Figure {
            act,
            kind: "zstd, folder, full".to_owned(),
            who,
            seconds: 30.0,
            processor_seconds: 45.0,
            store_seconds: 0.0,
            memory: None,
            bytes: 900_000_000,
            stored: 400 << 20,
            wait: (act == Act::Lag).then_some(wait),
            transactions_per_second: Some(rate),
        }
    }

    #[test]
    fn a_ratio_is_of_what_there_should_be_little_of() {
        let (ours, theirs) = ((1000.0, 500.0), (1250.0, 15_000.0));
        let all = [
            written(Act::Write, Who::Floor, theirs),
            written(Act::Write, Who::Pgherd, ours),
            written(Act::Lag, Who::PgBackRest, theirs),
            written(Act::Lag, Who::Pgherd, ours),
        ];
        let told = Table(&all).to_string();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = told.lines().skip(1).map(words).collect();
        expect_test::expect![[r"
            lag zstd, folder, full pgherd 30.00 s 45.00 s 0.00 s - 30 MB/s 400 MB 1.00 500.0 ms 500.0 ms 500.0 ms 500.0 ms 500.0 ms 1000
            lag zstd, folder, full pgBackRest 30.00 s 45.00 s 0.00 s - 30 MB/s 400 MB 30.00 15.0 s 15.0 s 15.0 s 15.0 s 15.0 s 1250
            write zstd, folder, full pgherd 30.00 s 45.00 s 0.00 s - 30 MB/s 400 MB 1.00 - - - - - 1000
            write zstd, folder, full floor 30.00 s 45.00 s 0.00 s - 30 MB/s 400 MB 0.80 - - - - - 1250
        "]].assert_eq(&format!("{}\n", lines.join("\n")));
    }
}
