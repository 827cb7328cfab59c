//! Stores pieces of the log before their segment is finished, lists and removes them.
//!
//! Never replaces one: a position of a timeline has one content for ever.

use super::{Archive, WalError};
use crate::compression::{Compression, unpacked};
use crate::layout::{Key, Layout};
use crate::store::{Created, Store, StoreError};
use bytes::Bytes;
use futures_util::StreamExt;
use pgherd_core::units::{Bytes as Size, Moment};
use pgherd_core::wal::stream::Piece;
use pgherd_core::wal::{Segment, WalFile};
use std::collections::BTreeMap;

/// Larger than any piece, packed or not.
pub(super) const LARGEST: Size = Size(64 << 20);

/// What there is of segments, and since when.
pub type Pieces = BTreeMap<Segment, BTreeMap<Piece, Moment>>;

impl Archive {
    /// Returns once it is durable in the repository. Repeating it changes nothing.
    pub async fn put_piece(&self, piece: Piece, content: Bytes) -> Result<(), WalError> {
        let file = WalFile::Segment(piece.segment);
        let key = self.layout.piece(piece);
        let plain = content.clone();
        let packed = self.compute(move || {
            let mut packed = Vec::new();
            let done = Compression::Zstd.pack(&mut plain.as_ref(), &mut packed);
            done.map(|()| Bytes::from(packed))
        });
        let packed = packed.await?;
        let packed = packed.map_err(|source| WalError::Unpack { stored: key.clone(), source })?;
        let created = self.store.create(&key, packed).await;
        match created.map_err(|source| WalError::Push { file, source })? {
            Created::Now => Ok(()),
            Created::WasThere if self.is_same_piece(piece, &key, &content).await? => Ok(()),
            Created::WasThere => Err(WalError::Different { file, stored: key }),
        }
    }

    /// Packed by another version the same content looks different.
    async fn is_same_piece(
        &self,
        piece: Piece,
        key: &Key,
        content: &Bytes,
    ) -> Result<bool, WalError> {
        let file = WalFile::Segment(piece.segment);
        let stored = self.store.get(key, LARGEST).await;
        let stored = stored.map_err(|source| WalError::Push { file, source })?;
        let plain = stored.map(|packed| unpacked(Compression::Zstd, &packed, LARGEST));
        Ok(plain.is_some_and(|plain| plain.is_ok_and(|plain| plain == *content)))
    }

    /// All pieces that there are, or those of one segment.
    pub async fn pieces(&self, of: Option<Segment>) -> Result<Pieces, StoreError> {
        pieces(&self.store, &self.layout, of).await
    }

    /// Removes pieces; those that are gone are no error.
    pub async fn drop_pieces(&self, pieces: &[Piece]) -> Result<(), StoreError> {
        self.store.delete(pieces.iter().map(|piece| self.layout.piece(*piece)).collect()).await
    }

    /// Which of these segments are in the repository as a whole. Each folder is listed once.
    pub async fn whole(
        &self,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<Vec<Segment>, StoreError> {
        let mut folders: BTreeMap<Key, Vec<Segment>> = BTreeMap::new();
        for segment in segments {
            let folder = self.layout.wal_folder(WalFile::Segment(segment));
            folders.entry(folder).or_default().push(segment);
        }
        let mut found = Vec::new();
        for (folder, wanted) in folders {
            let listed = self.store.folder(&folder).await?;
            let there = listed.objects.iter().filter_map(|object| {
                match self.layout.wal_at(&object.key)?.0 {
                    WalFile::Segment(segment) => Some(segment),
                    WalFile::History(_) | WalFile::Partial(_) | WalFile::Label { .. } => None,
                }
            });
            found.extend(there.filter(|segment| wanted.contains(segment)));
        }
        Ok(found)
    }
}

/// All pieces that there are, or those of one segment.
pub(crate) async fn pieces(
    store: &Store,
    layout: &Layout,
    of: Option<Segment>,
) -> Result<Pieces, StoreError> {
    let folder = of.map_or_else(|| layout.stream(), |segment| layout.stream_of(segment));
    let mut pieces = Pieces::new();
    let mut objects = std::pin::pin!(store.list(&folder, None));
    while let Some(object) = objects.next().await {
        let object = object?;
        if let Some(piece) = layout.piece_at(&object.key) {
            pieces.entry(piece.segment).or_default().insert(piece, object.modified);
        }
    }
    Ok(pieces)
}
