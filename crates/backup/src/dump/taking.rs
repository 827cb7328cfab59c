//! Brings a dump into the store: says who takes it, stores its files, and describes it at the end.
//!
//! Never leaves half of one: who takes it removes it, and whoever comes later does when that one has
//! gone.

use super::{Description, DumpError, DumpFile, DumpedFile, Dumps, Upload};
use crate::store::{Created, StoreError};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes as Size;
use serde::{Deserialize, Serialize};
use std::io::Write;

const LARGEST_MARKER: Size = Size(64 << 10);

/// Who takes a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    pub by: String,
    /// After this nobody takes it any more, whatever has become of them.
    pub until: Timestamp,
}

/// A dump on its way into the store.
#[derive(Debug, Clone)]
pub struct Taking {
    pub dumps: Dumps,
    pub id: BackupId,
}

impl Dumps {
    /// Nothing if there is a dump of this id already, or one is being taken.
    pub async fn begin(&self, id: &BackupId, marker: &Marker) -> Result<Option<Taking>, DumpError> {
        let text = serde_json::to_vec(marker).map_err(|source| DumpError::Encode { source })?;
        let failed =
            |source| DumpError::Store { dump: id.clone(), what: "who takes it".to_owned(), source };
        if self.is_described(id).await.map_err(failed)? {
            return Ok(None);
        }
        let created = self.store.create(&self.layout.dump_taker(id), text.into()).await;
        Ok(match created.map_err(failed)? {
            Created::Now => Some(Taking { dumps: self.clone(), id: id.clone() }),
            Created::WasThere => None,
        })
    }

    /// Removes what `by` began and did not end, and what others did if their time is over.
    pub async fn clear(&self, by: &str, now: Timestamp) -> Result<Vec<BackupId>, DumpError> {
        let mut cleared = Vec::new();
        for id in self.folders().await? {
            let failed = |source| DumpError::Describe { dump: id.clone(), source };
            let taker = self.layout.dump_taker(&id);
            let text = match self.store.get(&taker, LARGEST_MARKER).await {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(error) if error.damage().is_some() => continue,
                Err(error) => return Err(failed(error)),
            };
            // One that cannot be read was written by somebody newer, or is damaged: it stays.
            let Ok(marker) = serde_json::from_slice::<Marker>(&text) else { continue };
            if marker.by != by && now < marker.until {
                continue;
            }
            if self.is_described(&id).await.map_err(failed)? {
                // It is whole, and only this was left.
                self.store.delete(vec![taker]).await.map_err(failed)?;
            } else {
                self.remove(&id).await?;
                cleared.push(id);
            }
        }
        Ok(cleared)
    }

    async fn is_described(&self, id: &BackupId) -> Result<bool, StoreError> {
        self.store.is_listed(&self.layout.dump(id), &self.layout.dump_description(id)).await
    }
}

impl Taking {
    /// Begins a file.
    pub async fn upload(&self, name: DumpFile) -> Result<Upload, DumpError> {
        Upload::begin(self, name).await
    }

    /// Stores a small file packed.
    pub async fn put_packed(&self, name: DumpFile, text: &[u8]) -> Result<DumpedFile, DumpError> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        let packed = packer.write_all(text).and_then(|()| packer.finish());
        self.put(name, packed.map_err(|source| DumpError::Pack { source })?.into()).await
    }

    /// Stores a small file.
    pub async fn put(&self, name: DumpFile, content: Bytes) -> Result<DumpedFile, DumpError> {
        let mut upload = self.upload(name).await?;
        match upload.write(content).await {
            Ok(()) => upload.finish().await,
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// From here on it is a dump, unless another one took this one for given up and removed it.
    pub async fn commit(&self, description: &Description) -> Result<(), DumpError> {
        let text = serde_json::to_vec_pretty(description);
        let text = text.map_err(|source| DumpError::Encode { source })?;
        let Dumps { store, layout } = &self.dumps;
        let put = store.put_new(&layout.dump_description(&self.id), text.into()).await;
        let failed = |source| DumpError::Store {
            dump: self.id.clone(),
            what: "the description".to_owned(),
            source,
        };
        put.map_err(failed)?;
        let taker = layout.dump_taker(&self.id);
        if !store.is_listed(&layout.dump(&self.id), &taker).await.map_err(failed)? {
            let description = layout.dump_description(&self.id);
            store.delete(vec![description]).await.map_err(failed)?;
            return Err(DumpError::GivenUp { dump: self.id.clone() });
        }
        if let Err(error) = store.delete(vec![taker]).await {
            // The next one removes it.
            tracing::warn!(dump = %self.id, %error, "the mark of a dump's taker was left");
        }
        Ok(())
    }
}
