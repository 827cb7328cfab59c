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
