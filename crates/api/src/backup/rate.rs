//! Decides how fast a backup reads at most, from how people write it.
//!
//! Never so slow that nobody could tell it from one that stands still.

use crate::agent::ReadRate;
use crate::quantity::parse_bytes;
use pgherd_core::units::Bytes;

/// How much of its files a backup reads in a second at most: a quantity such as `50Mi`, `1Mi` at least, or
/// `off`. On a Cluster for all its backups, on a Backup, and on a ScheduledBackup for all that it makes.
/// Default: as fast as it can.
pub const BACKUP_RATE: &str = "pgherd.dev/backupRate";

/// Slower than this a chunk takes longer than people wait for a sign of life.
pub const SLOWEST: Bytes = Bytes(1 << 20);

/// Why a rate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is {given:?}: write off, or how much is read in a second, 1Mi at least, such as 50Mi")]
pub struct RateRefusal {
    given: String,
}

/// The rate that somebody wrote.
pub fn parse(given: &str) -> Result<ReadRate, RateRefusal> {
    if given == "off" {
        return Ok(ReadRate::Unlimited);
    }
    match parse_bytes(given) {
        Ok(bytes) if bytes >= SLOWEST => Ok(ReadRate::AtMost(bytes)),
        Ok(_) | Err(_) => Err(RateRefusal { given: given.to_owned() }),
    }
}

/// The same, as it is written.
pub fn written(rate: ReadRate) -> String {
    match rate {
        ReadRate::Unlimited => "off".to_owned(),
        ReadRate::AtMost(bytes) => bytes.0.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_quantity_of_some_size_or_off() {
        assert_eq!(parse("off"), Ok(ReadRate::Unlimited));
        assert_eq!(parse("50Mi"), Ok(ReadRate::AtMost(Bytes(50 << 20))));
        assert_eq!(parse("1Mi"), Ok(ReadRate::AtMost(SLOWEST)));
        for bad in ["", "0", "1023Ki", "-5Mi", "50MB/s", "fast", "Off"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for rate in [ReadRate::Unlimited, ReadRate::AtMost(Bytes(3 << 20))] {
            assert_eq!(parse(&written(rate)), Ok(rate));
        }
    }
}
