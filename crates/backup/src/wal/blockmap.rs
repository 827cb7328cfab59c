//! Stores the maps of segments and reads them, or makes them of segments that are stored.
//!
//! Never under `wals`, and never one of a segment that is not archived with that content.

use super::header::{self, Expected, Header};
use super::unpack::{Failed, unpack};
use super::{Archive, WalError};
use crate::blockmap::{SegmentMap, Unreadable, Unusable, Walk};
use crate::compression::Compression;
use crate::layout::{Key, Layout};
use crate::store::{Store, StoreError};
use bytes::Bytes;
use pgherd_core::units::{Bytes as Size, Lsn, SystemId};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::io::{self, Read};

/// Larger than any map, packed or not.
const LARGEST: Size = Size(64 << 20);

/// What was attempted with the map of a segment.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("reading or storing the map of {segment}")]
    Store { segment: Segment, source: StoreError },
    #[error("packing the map of {segment}")]
    Pack { segment: Segment, source: io::Error },
    #[error("reading {key}, which is damaged")]
    Unusable { key: Key, source: Unusable },
    #[error("reading {segment} from the archive")]
    Segment { segment: Segment, source: Box<WalError> },
    #[error("reading {segment}")]
    Unreadable { segment: Segment, source: Unreadable },
}

impl Archive {
    /// Returns once it is durable. What somebody left there who had other log is replaced: this one
    /// is of the segment that is archived.
    pub async fn put_map(&self, map: SegmentMap) -> Result<(), MapError> {
        let segment = map.segment;
        let packed = self.compute(move || map.pack()).await;
        let packed = packed
            .map_err(|source| MapError::Segment { segment, source: Box::new(source) })?
            .map_err(|source| MapError::Pack { segment, source })?;
        let put = self.store.replace(&self.layout.blockmap(segment), Bytes::from(packed)).await;
        put.map_err(|source| MapError::Store { segment, source })
    }
}

/// The map of a segment, if there is one.
pub(crate) async fn stored_map(
    (store, layout): (&Store, &Layout),
    segment: Segment,
) -> Result<Option<SegmentMap>, MapError> {
    let key = layout.blockmap(segment);
    let packed = store.get(&key, LARGEST).await;
    let packed = packed.map_err(|source| MapError::Store { segment, source })?;
    let map = packed.map(|packed| SegmentMap::unpack(segment, &packed)).transpose();
    map.map_err(|source| MapError::Unusable { key, source })
}

/// Under which name a segment is archived, if it is.
pub(crate) async fn archived(
    (store, layout): (&Store, &Layout),
    segment: Segment,
) -> Result<Option<(Key, Compression)>, StoreError> {
    let file = WalFile::Segment(segment);
    let listed = store.folder(&layout.wal_folder(file)).await?;
    Ok(listed.objects.into_iter().find_map(|object| {
        let (found, compression) = layout.wal_at(&object.key)?;
        (found == file).then_some((object.key, compression))
    }))
}

/// Makes the map of a segment that is archived, if it is.
pub(crate) async fn archived_map(
    (store, layout): (&Store, &Layout),
    segment: Segment,
    (size, system): (SegmentSize, SystemId),
) -> Result<Option<SegmentMap>, MapError> {
    let failed = |source| MapError::Store { segment, source };
    let found = archived((store, layout), segment).await.map_err(failed)?;
    let Some((key, compression)) = found else { return Ok(None) };
    let Some((_, packed)) = store.stream(&key).await.map_err(failed)? else { return Ok(None) };
    let stored = key.clone();
    let read = move |unpacked: &mut dyn Read| {
        let expected = Expected { segment, system: Some(system) };
        walked(unpacked, &expected, (size, None))
            .map_err(|source| WalError::Unpack { stored, source })
    };
    match unpack(packed, compression, read, &key).await {
        Ok(walk) => {
            walk.finish().map(Some).map_err(|source| MapError::Unreadable { segment, source })
        }
        Err(Failed::OnTheWay(source)) => Err(failed(source)),
        Err(Failed::Inside(source)) => Err(MapError::Segment { segment, source: Box::new(source) }),
    }
}

/// Walks through a segment, which has to be the one that is expected, up to a position of it.
pub(crate) fn walked(
    content: &mut dyn Read,
    expected: &Expected,
    (size, until): (SegmentSize, Option<Lsn>),
) -> io::Result<Walk> {
    let mut begin = Vec::with_capacity(header::LENGTH);
    Read::take(&mut *content, header::LENGTH as u64).read_to_end(&mut begin)?;
    let header = Header::read(&begin).and_then(|header| header.check(expected));
    header.map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))?;
    let walk = Walk::new(expected.segment, size);
    let mut walk = match until {
        Some(until) => walk.until(until),
        None => walk,
    };
    walk.feed(&begin);
    let mut left = size.bytes().0.saturating_sub(begin.len() as u64);
    let mut block = vec![0; 1 << 17];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let length = match content.read(block.get_mut(..most).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        walk.feed(block.get(..length).unwrap_or_default());
        left -= length as u64;
    }
    Ok(walk)
}
