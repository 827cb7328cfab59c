//! Puts figures of one kind side by side.
//!
//! Never compares what was packed otherwise, or stored elsewhere.

use super::{Act, Figure, Who};
use std::fmt;

/// A table for people.
pub struct Table<'a>(pub &'a [Figure]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("{:<15}{:<16}{:<16}", "ACT", "KIND", "WHO");
        write!(
            f,
            "{title}{:>10}{:>9}{:>9}{:>10}{:>10}",
            "WALL", "CPU", "S3 CPU", "MEMORY", "RATE"
        )?;
        writeln!(f, "{:>11}{:>8}{:>10}{:>10}", "STORED", "RATIO", "P50", "P95")?;
        let mut all: Vec<&Figure> = self.0.iter().collect();
        all.sort_by(|a, b| (a.act, &a.kind, a.who).cmp(&(b.act, &b.kind, b.who)));
        for one in all {
            let who = one.who.to_string();
            write!(f, "{:<15}{:<16}{who:<16}", one.act.to_string(), one.kind)?;
            for seconds in [one.seconds, one.processor_seconds] {
                write!(f, "{:>9}", format!("{seconds:.2} s"))?;
            }
            write!(f, "{:>10}", format!("{:.2} s", one.store_seconds))?;
            write!(f, "{:>10}", format!("{} MB", one.memory >> 20))?;
            write!(f, "{:>10}", format!("{:.0} MB/s", rate(one)))?;
            write!(f, "{:>11}{:>8}", format!("{} MB", one.stored >> 20), self.ratio(one))?;
            match one.wait {
                None => writeln!(f)?,
                Some(wait) => {
                    let (p50, p95) = (wait.p50_milliseconds, wait.p95_milliseconds);
                    writeln!(f, "{:>10}{:>10}", format!("{p50:.1} ms"), format!("{p95:.1} ms"))?;
                }
            }
        }
        Ok(())
    }
}

impl Table<'_> {
    /// How many times as long as with pgherd for the same amount.
    fn ratio(&self, one: &Figure) -> String {
        let is_ours = |other: &&Figure| {
            other.who == Who::Pgherd && other.act == one.act && other.kind == one.kind
        };
        let ours = self.0.iter().find(is_ours).map(rate);
        ours.map_or_else(|| "-".to_owned(), |ours| format!("{:.2}", ours / rate(one).max(0.001)))
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
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pgherd => "pgherd",
            Self::PgherdByScan => "pgherd by scan",
            Self::PgBackRest => "pgBackRest",
            Self::BarmanCloud => "barman-cloud",
            Self::Floor => "floor",
        })
    }
}
