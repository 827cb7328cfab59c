//! Looks what was streamed before: by an agent that was here, or by an earlier primary.
//!
//! Never removes the only copy of anything: what is removed is in a segment that is there as a whole.

use super::super::opened::Opened;
use pgherd_backup::store::StoreError;
use pgherd_core::units::{Lsn, WalPosition};
use pgherd_core::wal::stream::{Piece, cover};
use pgherd_core::wal::{Segment, SegmentSize};
use std::collections::{BTreeMap, BTreeSet};
use tracing::info;

#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error("listing what was streamed before")]
    List(#[source] StoreError),
    #[error("looking which segments are archived")]
    Whole(#[source] StoreError),
    #[error("removing what was streamed before")]
    Remove(#[source] StoreError),
}

/// What goes on from there.
pub(in super::super) struct Leftovers {
    /// Nothing before is to be streamed.
    pub(super) next: Lsn,
    pub(super) held: BTreeMap<Segment, BTreeSet<Piece>>,
}

/// What an older timeline ended with stays: a later one has of it what a standby had, and its own primary
/// may have stored more than that.
pub(super) async fn look(
    opened: &Opened,
    present: WalPosition,
    size: SegmentSize,
) -> Result<Leftovers, LookError> {
    let timeline = present.timeline;
    let pieces = opened.archive.pieces(None).await.map_err(LookError::List)?;
    let whole = opened.archive.whole(pieces.keys().copied()).await;
    let whole = whole.map_err(LookError::Whole)?;
    let (mut useless, mut held) = (Vec::new(), BTreeMap::new());
    for (segment, pieces) in pieces {
        if whole.contains(&segment) {
            useless.extend(pieces.into_keys());
        } else if segment.timeline() == timeline {
            held.insert(segment, pieces.into_keys().collect::<BTreeSet<_>>());
        }
    }
    if !useless.is_empty() {
        info!(pieces = useless.len(), "removing what was streamed and is archived by now");
        opened.archive.drop_pieces(&useless).await.map_err(LookError::Remove)?;
    }
    let segment = Segment::holding(timeline, present.lsn, size);
    let next = held.get(&segment).map_or_else(
        || segment.start(size),
        |pieces: &BTreeSet<Piece>| cover(pieces, segment, size).1,
    );
    Ok(Leftovers { next, held })
}
