//! Writes an object in parts, a bounded number of them under way.
//!
//! Never leaves parts behind when it fails, and never shows half an object.

use super::{Store, StoreError, Trouble};
use crate::encryption::Encrypter;
use crate::layout::Key;
use bytes::Bytes;
use object_store::{PutMultipartOptions, WriteMultipart};
use pgherd_core::units::Bytes as Size;

/// Every part but the last has this size, as some stores want it; 10 000 of them are 156 GiB.
pub(super) const PART: usize = 16 << 20;
const MOST_PARTS: u64 = 10_000;
/// With the one that is being filled, this bounds the memory of one object.
const UNDER_WAY: usize = 3;

/// An object that is being written. Finish or abort it: dropping it leaves its parts in the store,
/// for which a bucket should have a rule.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    key: Key,
    upload: WriteMultipart,
    /// What the content passes through, if it is encrypted.
    encrypter: Option<Encrypter>,
    written: u64,
    /// Which is more than was written if it is encrypted.
    stored: u64,
}

impl Writer {
    pub(super) async fn begin(store: Store, key: Key) -> Result<Self, StoreError> {
        let encrypter = store.encrypted.as_ref().map(|encrypted| encrypted.begin(&key));
        let encrypter = encrypter.transpose().map_err(|trouble| store.writing(&key, trouble))?;
        match Self::begin_stored(store.clone(), key.clone()).await {
            Ok(begun) => Ok(Self { encrypter, ..begun }),
            Err(trouble) => Err(store.writing(&key, trouble)),
        }
    }

    /// For content that is as it shall be stored.
    pub(super) async fn begin_stored(store: Store, key: Key) -> Result<Self, Trouble> {
        store.is_there_to_write().await?;
        let options = PutMultipartOptions::default();
        let begun = store.objects.put_multipart_opts(key.path(), options);
        let upload = WriteMultipart::new_with_chunk_size(store.within(begun).await?, PART);
        Ok(Self { store, key, upload, encrypter: None, written: 0, stored: 0 })
    }

    pub(super) async fn send_stored(&mut self, content: Bytes) -> Result<(), Trouble> {
        self.stored += content.len() as u64;
        for piece in content.chunks(PART) {
            self.store.within(self.upload.wait_for_capacity(UNDER_WAY)).await?;
            self.upload.put(content.slice_ref(piece));
        }
        Ok(())
    }

    /// Makes it appear.
    pub(super) async fn finish_stored(mut self) -> Result<(), Trouble> {
        for under_way in (1..=UNDER_WAY).rev() {
            if let Err(trouble) = self.store.within(self.upload.wait_for_capacity(under_way)).await
            {
                self.give_back().await;
                return Err(trouble);
            }
        }
        let Self { store, upload, .. } = self;
        store.within(upload.finish()).await.map(drop)
    }

    /// Takes back what was written; what cannot be is told.
    pub(super) async fn give_back(self) {
        let key = self.key.clone();
        if let Err(error) = self.abort().await {
            tracing::warn!(%key, %error, "parts of an unfinished object were left behind");
        }
    }

    /// Takes more of the object; waits while too much is under way. After a failure it can only be
    /// aborted.
    pub async fn write(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.written += content.len() as u64;
        let content = match &mut self.encrypter {
            None => content,
            Some(encrypter) => {
                let mut stored = Vec::new();
                let encrypted = encrypter.push(&content, &mut stored).map_err(Trouble::Envelope);
                encrypted.map_err(|trouble| self.store.writing(&self.key, trouble))?;
                stored.into()
            }
        };
        self.send(content).await
    }

    async fn send(&mut self, content: Bytes) -> Result<(), StoreError> {
        self.stored += content.len() as u64;
        if self.stored > MOST_PARTS * PART as u64 {
            let limit = Size(MOST_PARTS * PART as u64);
            return Err(StoreError::TooLarge {
                key: self.key.clone(),
                size: Size(self.stored),
                limit,
            });
        }
        for piece in content.chunks(PART) {
            self.room().await?;
            self.upload.put(content.slice_ref(piece));
        }
        Ok(())
    }

    async fn room(&mut self) -> Result<(), StoreError> {
        let room = self.store.within(self.upload.wait_for_capacity(UNDER_WAY)).await;
        room.map_err(|trouble| self.store.writing(&self.key, trouble))
    }

    /// So much was written.
    pub fn written(&self) -> Size {
        Size(self.written)
    }

    /// Makes the object appear.
    pub async fn finish(mut self) -> Result<Size, StoreError> {
        if let Some(encrypter) = self.encrypter.take() {
            let mut rest = Vec::new();
            let ended = encrypter.finish(&mut rest).map_err(Trouble::Envelope);
            let sent = match ended {
                Ok(()) => self.send(rest.into()).await,
                Err(trouble) => Err(self.store.writing(&self.key, trouble)),
            };
            if let Err(error) = sent {
                return Err(self.give_up(error).await);
            }
        }
        // One after the other, so that each gets the patience of one.
        for under_way in (1..=UNDER_WAY).rev() {
            let waited = self.store.within(self.upload.wait_for_capacity(under_way)).await;
            if let Err(trouble) = waited {
                let error = self.store.writing(&self.key, trouble);
                return Err(self.give_up(error).await);
            }
        }
        let Self { store, key, upload, written, .. } = self;
        match store.within(upload.finish()).await {
            Ok(_) => Ok(Size(written)),
            Err(trouble) => Err(store.writing(&key, trouble)),
        }
    }

    /// Takes back what was written.
    pub async fn abort(self) -> Result<(), StoreError> {
        let Self { store, key, upload, .. } = self;
        store.within(upload.abort()).await.map_err(|trouble| store.writing(&key, trouble))
    }

    async fn give_up(self, cause: StoreError) -> StoreError {
        let key = self.key.clone();
        if let Err(error) = self.abort().await {
            tracing::warn!(%key, %error, "parts of an unfinished object were left behind");
        }
        cause
    }
}
