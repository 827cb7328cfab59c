//! Puts the end of a dead primary's log into a standby's folder, where it is replayed.
//!
//! Never lets PostgreSQL see half a segment.

use crate::durable::{self, DurableError};
use crate::postgres::site::Site;
use crate::postgres::wal::{self, Segment};
use pgherd_core::units::{Bytes, Lsn, Timeline};

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("segment {segment} has {found} and not {expected}: ask for it again")]
    AcceptLength { segment: Segment, found: Bytes, expected: Bytes },
    #[error("writing segment {segment}")]
    Write { segment: Segment, source: DurableError },
}

/// The segments that lead from `have` to `until` on one timeline. The first one is asked for again
/// as a whole, because only a part of it is here.
pub fn wanted(timeline: Timeline, have: Lsn, until: Lsn, size: Bytes) -> Vec<Segment> {
    let step = size.0.max(1);
    let first = have.0 - have.0 % step;
    let mut begins = Vec::new();
    let mut at = first;
    while at < until.0 {
        begins.push(Segment::holding(timeline, Lsn(at), size));
        at = at.saturating_add(step);
    }
    begins
}

/// Puts a segment in place. A sealed standby looks for log in its folder all the time and goes on
/// with what it finds.
pub fn install(
    site: &Site,
    segment: Segment,
    content: &[u8],
    size: Bytes,
) -> Result<(), TailError> {
    let found = Bytes(content.len() as u64);
    if found != size {
        return Err(TailError::AcceptLength { segment, found, expected: size });
    }
    let path = wal::folder(&site.data).join(segment.to_string());
    durable::write(&path, content, site.private())
        .map_err(|source| TailError::Write { segment, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_missing_is_asked_for() {
        let size = Bytes(16 << 20);
        let names = |have, until| {
            let wanted = wanted(Timeline(2), Lsn(have), Lsn(until), size);
            wanted.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            names(0x1_FFFF_0000, 0x2_0100_0001),
            ["0000000200000001000000FF", "000000020000000200000000", "000000020000000200000001"]
        );
        assert_eq!(names(0x100_0000, 0x200_0000), ["000000020000000000000001"]);
        assert_eq!(names(0x200_0000, 0x200_0000), [""; 0]);
    }
}
