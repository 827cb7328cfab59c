//! Quantities with their unit in the type, so that a signature cannot mix them up.
//!
//! Never reads a clock: [`Time`] is handed in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// An instant on one machine's own clock, in microseconds since an origin of its own. Never
/// compared between machines.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    pub const ZERO: Self = Self(0);
    /// Later than any instant: "no end".
    pub const NEVER: Self = Self(u64::MAX);

    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

/// A point in calendar time, in microseconds since 1970 in UTC: what machines write for each other.
/// Good for people and for days; what happened first is not told by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub i64);

impl Moment {
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000_000;
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let seconds = self.0.rem_euclid(DAY) / 1_000_000;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Year, month and day of the Gregorian calendar, so many days after 1970 began.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from March of the year 0, so that the leap day is the last of a year.
    const CYCLE: i64 = 146_097;
    let shifted = days + 719_468;
    let day_of_cycle = shifted.rem_euclid(CYCLE);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = shifted.div_euclid(CYCLE) * 400 + year_of_cycle;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// A term of office: each has one holder and one fork point, and it only grows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// PostgreSQL's timeline id.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timeline(pub u32);

impl Timeline {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// PostgreSQL's system identifier: two folders with the same one come from one initdb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A byte position in the WAL, written as PostgreSQL does: `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an LSN: use the form 16/B374D848")]
pub struct LsnError {
    given: String,
}

impl Lsn {
    pub fn parse(given: &str) -> Result<Self, LsnError> {
        let refused = || LsnError { given: given.to_owned() };
        let (high, low) = given.split_once('/').ok_or_else(refused)?;
        let half = |text: &str| {
            let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(text, 16).ok().filter(|_| hex).map(u64::from)
        };
        let (high, low) = half(high).zip(half(low)).ok_or_else(refused)?;
        Ok(Self(high << 32 | low))
    }

    /// How far `self` is ahead of `other`; zero when it is not.
    pub fn ahead_of(self, other: Self) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        Self::parse(&given).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a log ends. Ordered by timeline first: a longer log of an older timeline is behind.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct WalPosition {
    pub timeline: Timeline,
    pub lsn: Lsn,
}

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on timeline {}", self.lsn, self.timeline)
    }
}

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut tenths = u128::from(self.0) * 10 / 1024;
        let mut unit = UNITS.iter();
        let mut name = unit.next();
        while tenths >= 10_240 {
            let Some(next) = unit.next() else { break };
            tenths /= 1024;
            name = Some(next);
        }
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, name.unwrap_or(&"KiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsns_read_back_as_written() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(Lsn::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "16", "16/", "/1", "x/1", "+1/1", "1/123456789"] {
            assert!(Lsn::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn moments_are_written_as_dates() {
        let shown = [0, -1, 951_782_400_000_000, 1_795_346_554_018_037, 4_107_542_399_999_999]
            .map(|micros| Moment(micros).to_string());
        assert_eq!(
            shown,
            [
                "1970-01-01 00:00:00 UTC",
                "1969-12-31 23:59:59 UTC",
                "2000-02-29 00:00:00 UTC",
                "2026-11-22 11:22:34 UTC",
                "2100-02-28 23:59:59 UTC",
            ]
        );
    }

    #[test]
    fn a_newer_timeline_beats_a_longer_log() {
        let at = |timeline, lsn| WalPosition { timeline: Timeline(timeline), lsn: Lsn(lsn) };
        assert!(at(2, 10) > at(1, 99));
        assert!(at(2, 11) > at(2, 10));
    }

    #[test]
    fn bytes_are_written_in_iec_units() {
        let shown = [0, 1023, 1024, 1_258_292, 13_314_398_618].map(|n| Bytes(n).to_string());
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.2 MiB", "12.4 GiB"]);
    }
}
