//! Sends an object in parts while it is made.
//!
//! Never keeps a part without memory that was taken for it, and never leaves a half-sent object:
//! it is completed or aborted.

use crate::budget::Taken;
use crate::layout::Key;
use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::sync::Arc;
use tokio::task::JoinSet;

/// All parts but the last have this size; a store takes ten thousand of them.
pub(crate) const PART: usize = 16 << 20;
/// How many parts of one object are under way at most.
const AT_ONCE: usize = 3;

/// An attempt that failed.
#[derive(Debug, thiserror::Error)]
#[error("storing {key}")]
pub struct UploadError {
    pub key: Key,
    pub source: object_store::Error,
}

/// Bytes and the memory they lie in.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) taken: Arc<Taken>,
}

impl Held {
    /// Few bytes, which are not counted.
    pub(crate) fn small(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), taken: Arc::new(Taken::nothing()) }
    }
}

pub(crate) struct Upload {
    key: Key,
    upload: Box<dyn MultipartUpload>,
    waiting: Vec<Held>,
    length: usize,
    sent: u64,
    under_way: JoinSet<object_store::Result<()>>,
}

impl Upload {
    pub(crate) async fn begin(store: &dyn ObjectStore, key: Key) -> Result<Self, UploadError> {
        match store.put_multipart(key.path()).await {
            Ok(upload) => Ok(Self {
                key,
                upload,
                waiting: Vec::new(),
                length: 0,
                sent: 0,
                under_way: JoinSet::new(),
            }),
            Err(source) => Err(UploadError { key, source }),
        }
    }

    /// How many bytes it has so far.
    pub(crate) fn length(&self) -> u64 {
        self.sent + self.length as u64
    }

    /// Adds bytes; waits when too much is under way.
    pub(crate) async fn write(&mut self, mut held: Held) -> Result<(), UploadError> {
        while self.length + held.bytes.len() >= PART {
            let rest = held.bytes.split_off(PART - self.length);
            let taken = Arc::clone(&held.taken);
            self.waiting.push(held);
            self.send().await?;
            held = Held { bytes: rest, taken };
        }
        self.length += held.bytes.len();
        if !held.bytes.is_empty() {
            self.waiting.push(held);
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), UploadError> {
        while self.under_way.len() >= AT_ONCE {
            self.one_done().await?;
        }
        let held = std::mem::take(&mut self.waiting);
        let payload: PutPayload = held.iter().map(|held| held.bytes.clone()).collect();
        self.sent += payload.content_length() as u64;
        self.length = 0;
        let part = self.upload.put_part(payload);
        self.under_way.spawn(async move {
            let sent = part.await;
            drop(held);
            sent
        });
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), UploadError> {
        let failed = |source| UploadError { key: self.key.clone(), source };
        match self.under_way.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(source))) => Err(failed(source)),
            Some(Err(source)) => Err(failed(object_store::Error::JoinError { source })),
        }
    }

    /// Sends the rest and makes the object visible; says its length.
    pub(crate) async fn complete(mut self) -> Result<u64, UploadError> {
        match self.finish().await {
            Ok(()) => Ok(self.sent),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn finish(&mut self) -> Result<(), UploadError> {
        if !self.waiting.is_empty() || self.sent == 0 {
            self.send().await?;
        }
        while !self.under_way.is_empty() {
            self.one_done().await?;
        }
        let completed = self.upload.complete().await;
        completed.map(drop).map_err(|source| UploadError { key: self.key.clone(), source })
    }

    /// Removes what was sent.
    pub(crate) async fn abort(mut self) {
        self.under_way.shutdown().await;
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(key = %self.key, %error, "parts of an upload were left in the store");
        }
    }
}
