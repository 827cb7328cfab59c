//! Puts another header before the content of an encrypted object, as it is stored.
//!
//! Never opens or changes content, and never brings back what somebody removed or wrote meanwhile, as
//! far as the store can be asked.

use super::writer::{PART, Writer};
use super::{Store, StoreError, Trouble};
use crate::encryption::{HEADER, KeyId};
use crate::layout::Key;
use bytes::{Bytes, BytesMut};
use object_store::{
    GetOptions, GetRange, ObjectMeta, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use std::ops::Range;

/// What is written in one request; larger objects go in parts.
const AT_ONCE: u64 = 8 << 20;
/// Somebody else may write the same object, but not all the time.
const ATTEMPTS: u32 = 4;

/// What became of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewrapped {
    /// Its key is wrapped by the key that encrypts now; so much was moved for that.
    Now(u64),
    /// It was so before.
    Before,
    /// It is not there any more.
    Gone,
}

impl Store {
    /// By which key everything that is written is encrypted, if it is.
    pub(crate) fn encrypts_with(&self) -> Option<KeyId> {
        self.encrypted.as_ref().map(|encrypted| encrypted.id())
    }

    /// Wraps the key of an object by the key that encrypts now.
    pub(crate) async fn rewrap(&self, key: &Key) -> Result<Rewrapped, StoreError> {
        for _ in 0..ATTEMPTS {
            match self.rewrap_once(key).await {
                Ok(Some(done)) => return Ok(done),
                // Somebody else has written it; what is there now counts.
                Ok(None) => {}
                Err(Trouble::Missing) => return Ok(Rewrapped::Gone),
                Err(trouble) => return Err(self.writing(key, trouble)),
            }
        }
        Err(self.writing(key, Trouble::Contended))
    }

    /// Whether nothing can be read of it.
    pub(crate) async fn is_unreadable(&self, key: &Key) -> bool {
        self.raw(key, 0..HEADER, None).await.is_err()
    }

    /// Nothing if it was changed meanwhile.
    async fn rewrap_once(&self, key: &Key) -> Result<Option<Rewrapped>, Trouble> {
        let Some(encrypted) = &self.encrypted else { return Ok(Some(Rewrapped::Before)) };
        let (begun, meta) = self.raw(key, 0..HEADER, None).await?;
        let Some(header) = encrypted.rewrapped(&begun).map_err(Trouble::Envelope)? else {
            return Ok(Some(Rewrapped::Before));
        };
        let done = if meta.size <= AT_ONCE {
            self.rewrap_small(key, &header, &meta).await?
        } else {
            self.rewrap_large(key, &header, &meta).await?
        };
        Ok(done.then_some(Rewrapped::Now(meta.size)))
    }

    async fn rewrap_small(
        &self,
        key: &Key,
        header: &[u8],
        meta: &ObjectMeta,
    ) -> Result<bool, Trouble> {
        let whole = unchanged(self.raw(key, 0..meta.size, Some(meta)).await)?;
        let Some(whole) = whole.filter(|whole| whole.len() as u64 == meta.size) else {
            return Ok(false);
        };
        let mut content = BytesMut::from(header);
        content.extend_from_slice(whole.get(header.len()..).unwrap_or_default());
        let content = content.freeze();
        if meta.e_tag.is_some() {
            let version =
                UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() };
            match self.put_stored(key, content.clone(), PutMode::Update(version)).await {
                Ok(()) => return Ok(true),
                Err(Trouble::Exists | Trouble::Missing) => return Ok(false),
                Err(Trouble::Unsupported(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        // A folder cannot be asked to look and write in one step.
        if !self.is_still(key, meta).await? {
            return Ok(false);
        }
        self.put_stored(key, content, PutMode::Overwrite).await.map(|()| true)
    }

    async fn rewrap_large(
        &self,
        key: &Key,
        header: &[u8],
        meta: &ObjectMeta,
    ) -> Result<bool, Trouble> {
        let mut writer = Writer::begin_stored(self.clone(), key.clone()).await?;
        let copied = self.copy_into(&mut writer, (key, header), meta).await;
        // Looked at last: what is replaced is what was read.
        let is_still = match copied {
            Ok(true) => self.is_still(key, meta).await,
            other => other,
        };
        match is_still {
            Ok(true) => writer.finish_stored().await.map(|()| true),
            other => {
                writer.give_back().await;
                other
            }
        }
    }

    async fn copy_into(
        &self,
        writer: &mut Writer,
        (key, header): (&Key, &[u8]),
        meta: &ObjectMeta,
    ) -> Result<bool, Trouble> {
        writer.send_stored(Bytes::copy_from_slice(header)).await?;
        let mut from = header.len() as u64;
        while from < meta.size {
            let to = meta.size.min(from + PART as u64);
            let Some(some) = unchanged(self.raw(key, from..to, Some(meta)).await)? else {
                return Ok(false);
            };
            if some.len() as u64 != to - from {
                return Ok(false);
            }
            writer.send_stored(some).await?;
            from = to;
        }
        Ok(true)
    }

    /// Content as it is stored; of this object and of no other one if one is named.
    async fn raw(
        &self,
        key: &Key,
        range: Range<u64>,
        of: Option<&ObjectMeta>,
    ) -> Result<(Bytes, ObjectMeta), Trouble> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: of.and_then(|meta| meta.e_tag.clone()),
            ..GetOptions::default()
        };
        let read = async {
            let found = self.objects.get_opts(key.path(), options).await?;
            let meta = found.meta.clone();
            Ok((found.bytes().await?, meta))
        };
        self.within(read).await
    }

    /// Whether the object under this key is the one that this was told of.
    async fn is_still(&self, key: &Key, meta: &ObjectMeta) -> Result<bool, Trouble> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.within(self.objects.get_opts(key.path(), options)).await {
            Ok(found) => {
                let now = (found.meta.e_tag, found.meta.size, found.meta.last_modified);
                Ok(now == (meta.e_tag.clone(), meta.size, meta.last_modified))
            }
            Err(Trouble::Missing) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    async fn put_stored(&self, key: &Key, content: Bytes, mode: PutMode) -> Result<(), Trouble> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.objects.put_opts(key.path(), PutPayload::from(content), options);
        self.within(put).await.map(drop)
    }
}

/// What was read, unless it is of another object by now.
fn unchanged(read: Result<(Bytes, ObjectMeta), Trouble>) -> Result<Option<Bytes>, Trouble> {
    match read {
        Ok((content, _)) => Ok(Some(content)),
        Err(Trouble::Exists | Trouble::Missing) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;
    use crate::destination::{Destination, Place, Prefix};
    use crate::encryption::Keyring;
    use crate::store::Patience;

    const OLD: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const NEW: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn opened(folder: &std::path::Path, lines: &[&str]) -> Store {
        let place = Place::Folder(folder.to_owned());
        let destination = Destination { place, prefix: Prefix::default(), endpoint: None };
        let patience = Patience::carrying(pgherd_core::units::Bytes(1 << 20));
        let store = Store::open(&destination, &Credentials::Folder, patience).unwrap();
        let keys = Keyring::parse(lines.join("\n").as_bytes()).unwrap();
        store.encrypted(keys, &Prefix::default())
    }

    /// What was read of an object is of no use once another one has come into its place.
    #[tokio::test]
    async fn what_somebody_wrote_or_removed_meanwhile_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let (old, both) = (opened(folder.path(), &[OLD]), opened(folder.path(), &[NEW, OLD]));
        let key = Key::from_path("db/object".into());
        old.replace(&key, Bytes::from_static(b"first")).await.unwrap();
        let (begun, meta) = both.raw(&key, 0..HEADER, None).await.unwrap();
        let header = both.encrypted.as_ref().unwrap().rewrapped(&begun).unwrap().unwrap();

        old.replace(&key, Bytes::from_static(b"other")).await.unwrap();
        assert!(!both.is_still(&key, &meta).await.unwrap());
        assert!(!both.rewrap_small(&key, &header, &meta).await.unwrap());
        assert!(!both.rewrap_large(&key, &header, &meta).await.unwrap());
        let limit = pgherd_core::units::Bytes(100);
        assert_eq!(old.get(&key, limit).await.unwrap().as_deref(), Some(&b"other"[..]));

        old.delete(vec![key.clone()]).await.unwrap();
        assert!(!both.rewrap_small(&key, &header, &meta).await.unwrap());
        assert!(!both.rewrap_large(&key, &header, &meta).await.unwrap());
        assert_eq!(both.rewrap(&key).await.unwrap(), Rewrapped::Gone);
        // Nor is anything left of the attempts.
        let left = walk(folder.path());
        assert!(left.is_empty(), "{left:?}");
    }

    fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }
}
