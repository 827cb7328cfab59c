//! Speaks to what stores objects: S3, Azure, Google Cloud, or a folder.
//!
//! Never knows what an object holds, and never replaces one where a new one is asked for.

mod encrypted;
mod folder;
mod leftover;
mod listed;
mod open;
mod rewrap;
mod trouble;
mod writer;

pub(crate) use rewrap::Rewrapped;
pub use trouble::{Retry, StoreError, Trouble};
pub use writer::Writer;

use crate::layout::Key;
use bytes::Bytes;
use encrypted::Encrypted;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::{GetOptions, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload};
use pgherd_core::units::{Bytes as Size, Moment};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long we wait for a store, and how often we ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub connect: Duration,
    /// For one request with all that it carries.
    pub request: Duration,
    pub retries: usize,
    /// After this no further attempt is begun.
    pub give_up: Duration,
}

impl Patience {
    /// Slower than this is as good as broken.
    const SLOWEST_PER_SECOND: u64 = 256 << 10;

    /// Enough for requests that carry as much as this.
    pub fn carrying(largest: Size) -> Self {
        let transfer = Duration::from_secs(largest.0 / Self::SLOWEST_PER_SECOND);
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(30) + transfer,
            retries: 5,
            give_up: Duration::from_mins(1),
        }
    }

    /// Enough to look into a store for somebody who tries again anyway, and tells why it failed.
    pub fn asking() -> Self {
        Self { retries: 2, give_up: Duration::from_secs(15), ..Self::carrying(Size(0)) }
    }

    /// A bound for an attempt with all its repetitions.
    fn whole(self) -> Duration {
        self.give_up + self.request * 2
    }
}

/// An opened destination. Cheap to clone; its connections are shared.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// For people.
    place: Arc<str>,
    patience: Patience,
    exclusive: Arc<OnceLock<Exclusive>>,
    kind: Kind,
    /// What content passes through on both ways, if it is encrypted.
    encrypted: Option<Arc<Encrypted>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Folder(folder::Root),
    /// Never says that something it was to delete is missing.
    S3,
    OtherServer,
}

/// Whether the store itself refuses to create what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusive {
    Honoured,
    /// Some stores take the condition and do not look at it: we look first, which leaves a moment
    /// for somebody else.
    Ignored,
}

/// What became of an object that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Now,
    /// Something is there; whether it is the same is for the caller to find out.
    WasThere,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: Key,
    pub size: Size,
    pub modified: Moment,
}

/// What lies directly in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    pub folders: Vec<Key>,
    pub objects: Vec<Object>,
}

/// A 409 says that somebody else is at it right now; then the object is there or it is not.
const CREATE_ATTEMPTS: u32 = 4;
/// What is compared or read at once.
const CHUNK: u64 = 8 << 20;

impl Store {
    /// Whose this is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Creates an object unless there is one under this key.
    pub async fn create(&self, key: &Key, content: Bytes) -> Result<Created, StoreError> {
        for _ in 0..CREATE_ATTEMPTS {
            // Asking first costs a request, and is only needed where the store may not look.
            if self.exclusive.get() != Some(&Exclusive::Honoured) && self.head(key).await?.is_some()
            {
                return Ok(Created::WasThere);
            }
            match self.put(key, content.clone(), self.create_mode()).await {
                Ok(()) => return Ok(Created::Now),
                Err(Trouble::Exists) if self.head(key).await?.is_some() => {
                    return Ok(Created::WasThere);
                }
                Err(Trouble::Exists) => {}
                Err(Trouble::Unsupported(_)) if self.exclusive.get().is_none() => {
                    self.know(Exclusive::Ignored);
                }
                Err(trouble) => return Err(self.writing(key, trouble)),
            }
        }
        Err(self.writing(key, Trouble::Contended))
    }

    fn create_mode(&self) -> PutMode {
        match self.exclusive.get() {
            Some(Exclusive::Ignored) => PutMode::Overwrite,
            Some(Exclusive::Honoured) | None => PutMode::Create,
        }
    }

    fn know(&self, exclusive: Exclusive) {
        // The first one to find out is right; others found out the same.
        let _first = self.exclusive.set(exclusive);
    }

    /// Creates an object, or finds that the very same is there: a repetition of what succeeded
    /// before is a success. Other content under this key is an error.
    pub async fn put_new(&self, key: &Key, content: Bytes) -> Result<Created, StoreError> {
        let created = self.create(key, content.clone()).await?;
        if created == Created::WasThere && !self.holds(key, &content).await? {
            return Err(StoreError::Taken { key: key.clone(), place: self.place.to_string() });
        }
        Ok(created)
    }

    /// Whether the object is this one, byte for byte.
    async fn holds(&self, key: &Key, content: &Bytes) -> Result<bool, StoreError> {
        let length = content.len() as u64;
        // Nobody has seen other content of what cannot be had.
        let found = self.head(key).await?.ok_or_else(|| self.vanished(key))?;
        if found.size.0 != length {
            return Ok(false);
        }
        let mut from = 0;
        while from < length {
            let chunk = self.get_range(key, from..length.min(from + CHUNK)).await?;
            let (start, end) = (usize_of(from), usize_of(from).saturating_add(chunk.len()));
            if chunk.is_empty() || content.get(start..end) != Some(chunk.as_ref()) {
                return Ok(false);
            }
            from += chunk.len() as u64;
        }
        Ok(true)
    }

    /// Writes an object, whether or not there is one.
    pub async fn replace(&self, key: &Key, content: Bytes) -> Result<(), StoreError> {
        let put = self.put(key, content, PutMode::Overwrite).await;
        put.map_err(|trouble| self.writing(key, trouble))
    }

    async fn put(&self, key: &Key, content: Bytes, mode: PutMode) -> Result<(), Trouble> {
        self.is_there_to_write().await?;
        let content = match &self.encrypted {
            Some(encrypted) => encrypted.seal(key, &content).await?,
            None => content,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.objects.put_opts(key.path(), PutPayload::from(content), options);
        self.within(put).await.map(drop)
    }

    /// Writes an object that is too large to be held at once; it appears when it is finished.
    pub async fn writer(&self, key: &Key) -> Result<Writer, StoreError> {
        Writer::begin(self.clone(), key.clone()).await
    }

    /// Finds out whether this store refuses to create what is there, and whether we may write.
    /// Leaves a small object under this key.
    pub async fn probe(&self, key: &Key) -> Result<Exclusive, StoreError> {
        if let Some(known) = self.exclusive.get() {
            return Ok(*known);
        }
        let content =
            Bytes::from_static(b"Shows whether this store refuses to create what is there.\n");
        let mut found = Exclusive::Ignored;
        // The first one may create it; the second one meets what is there.
        for _ in 0..2 {
            match self.put(key, content.clone(), PutMode::Create).await {
                Ok(()) => {}
                Err(Trouble::Exists) => {
                    found = Exclusive::Honoured;
                    break;
                }
                Err(Trouble::Unsupported(_)) => break,
                Err(trouble) => return Err(self.writing(key, trouble)),
            }
        }
        self.know(found);
        Ok(found)
    }

    /// What is known of an object without reading it.
    pub async fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.within(self.objects.get_opts(key.path(), options)).await {
            Ok(found) => Ok(Some(self.object(found.meta))),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(self.reading(key, trouble)),
        }
    }

    /// A whole object, if there is one; one larger than the limit is an error.
    pub async fn get(&self, key: &Key, limit: Size) -> Result<Option<Bytes>, StoreError> {
        let read = async {
            let found = self.objects.get_opts(key.path(), GetOptions::default()).await?;
            let size = self.size(found.meta.size);
            if size > limit {
                return Ok(Err(size));
            }
            found.bytes().await.map(Ok)
        };
        match self.within(read).await {
            Ok(Ok(content)) => match &self.encrypted {
                Some(encrypted) => encrypted.open(key, content).map(Some),
                None => Ok(Some(content)),
            }
            .map_err(|trouble| self.reading(key, trouble)),
            Ok(Err(size)) => Err(StoreError::TooLarge { key: key.clone(), size, limit }),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(self.reading(key, trouble)),
        }
    }

    /// An object as it arrives, if there is one; each piece has the patience of a whole attempt.
    pub async fn stream<'a>(
        &'a self,
        key: &'a Key,
    ) -> Result<
        Option<(Object, impl Stream<Item = Result<Bytes, StoreError>> + Send + use<'a>)>,
        StoreError,
    > {
        let found =
            match self.within(self.objects.get_opts(key.path(), GetOptions::default())).await {
                Ok(found) => found,
                Err(Trouble::Missing) => return Ok(None),
                Err(trouble) => return Err(self.reading(key, trouble)),
            };
        let stored = found.meta.size;
        let object = self.object(found.meta.clone());
        let pieces =
            futures_util::stream::unfold(found.into_stream(), move |mut rest| async move {
                let next = tokio::time::timeout(self.patience.whole(), rest.next()).await;
                let piece = match next {
                    Ok(piece) => piece?.map_err(|error| Trouble::of(&error)),
                    Err(_elapsed) => Err(Trouble::TimedOut),
                };
                Some((piece, rest))
            });
        let pieces = match &self.encrypted {
            Some(encrypted) => encrypted.flow(key, stored, pieces).left_stream(),
            None => pieces.right_stream(),
        };
        Ok(Some((object, pieces.map_err(|trouble| self.reading(key, trouble)))))
    }

    /// A part of an object, which has to be there. Keep parts small enough for one request.
    pub async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, StoreError> {
        let got = match &self.encrypted {
            Some(encrypted) => encrypted.part(self, key, range).await,
            None => self.part(key, range).await.map(|(part, _)| part),
        };
        got.map_err(|trouble| self.reading(key, trouble))
    }

    /// All objects under a folder, in the order of their keys as far as the store gives them so.
    pub fn list<'a>(
        &'a self,
        folder: &'a Key,
        after: Option<&Key>,
    ) -> impl Stream<Item = Result<Object, StoreError>> + Send + use<'a> {
        let objects = match after {
            Some(after) => self.objects.list_with_offset(Some(folder.path()), after.path()),
            None => self.objects.list(Some(folder.path())),
        };
        // The bound is for each step: a listing of millions takes as long as it takes.
        let stepwise = futures_util::stream::unfold(objects, move |mut objects| async move {
            let next = tokio::time::timeout(self.patience.whole(), objects.next()).await;
            let item = match next {
                Ok(item) => item?.map(|it| self.object(it)).map_err(|error| Trouble::of(&error)),
                Err(_elapsed) => Err(Trouble::TimedOut),
            };
            Some((item.map_err(|trouble| self.listing(folder, trouble)), objects))
        });
        // After an error there is nothing more to be had.
        let mut failed = false;
        stepwise.take_while(move |item| {
            let go_on = !failed;
            failed |= item.is_err();
            std::future::ready(go_on)
        })
    }

    /// What lies directly in a folder; one that is not there is empty. A server of objects lists
    /// what it has not, too: a 404 instead comes from something that stands in front of it.
    pub async fn folder(&self, folder: &Key) -> Result<Folder, StoreError> {
        match self.within(self.objects.list_with_delimiter(Some(folder.path()))).await {
            Ok(found) => Ok(Folder {
                folders: found.common_prefixes.into_iter().map(Key::from_path).collect(),
                objects: found.objects.into_iter().map(|it| self.object(it)).collect(),
            }),
            Err(Trouble::Missing) if matches!(self.kind, Kind::Folder(_)) => Ok(Folder::default()),
            Err(Trouble::Missing) => Err(self.listing(folder, Trouble::NoStore)),
            Err(trouble) => Err(self.listing(folder, trouble)),
        }
    }

    /// Deletes objects, as many at once as the store takes; those that are gone are no error.
    pub async fn delete(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        const AT_ONCE: usize = 1000;
        for batch in keys.chunks(AT_ONCE) {
            let paths: Vec<_> = batch.iter().map(|key| Ok(key.path().clone())).collect();
            let deleted = self.objects.delete_stream(futures_util::stream::iter(paths).boxed());
            let gone = deleted.map(|done| match done {
                Err(object_store::Error::NotFound { .. }) if self.kind != Kind::S3 => Ok(()),
                done => done.map(drop),
            });
            let done = self.within(gone.try_collect::<Vec<()>>()).await;
            done.map_err(|source| self.deleting(source))?;
        }
        Ok(())
    }

    fn object(&self, meta: ObjectMeta) -> Object {
        Object {
            key: Key::from_path(meta.location),
            size: self.size(meta.size),
            modified: Moment(meta.last_modified.timestamp_micros()),
        }
    }

    /// Waits no longer than we have patience.
    async fn within<T>(
        &self,
        attempt: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(self.patience.whole(), attempt).await {
            Ok(done) => done.map_err(|error| Trouble::of(&error)),
            Err(_elapsed) => Err(Trouble::TimedOut),
        }
    }

    fn deleting(&self, source: Trouble) -> StoreError {
        let source = if source == Trouble::Missing { Trouble::NoStore } else { source };
        StoreError::Delete { place: self.place.to_string(), source }
    }

    fn writing(&self, key: &Key, source: Trouble) -> StoreError {
        StoreError::Write { key: key.clone(), place: self.place.to_string(), source }
    }

    fn reading(&self, key: &Key, source: Trouble) -> StoreError {
        StoreError::Read { key: key.clone(), place: self.place.to_string(), source }
    }

    fn listing(&self, folder: &Key, source: Trouble) -> StoreError {
        StoreError::List { folder: folder.clone(), place: self.place.to_string(), source }
    }
}

fn usize_of(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
