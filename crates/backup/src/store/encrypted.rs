//! Encrypts each object when it is put and opens it when it is got, whole or in part.
//!
//! Never lets anything through as it is: there is no way around it once keys are declared.

use super::{Store, Trouble};
use crate::destination::Prefix;
use crate::encryption::{
    Decrypter, Encrypter, EnvelopeError, Flow, HEAD, HEADER, KeyId, Keyring, clear_size, span,
};
use crate::layout::Key;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use object_store::{GetOptions, GetRange};
use pgherd_core::units::Bytes as Size;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Of so many objects the keys are kept, to read parts of them without their headers.
const KEPT: usize = 256;
/// A header this near is fetched with the part.
const NEAR: u64 = 256 << 10;
/// What is encrypted before others have a turn.
const TURN: usize = 1 << 20;

/// What content passes through.
#[derive(Debug)]
pub(super) struct Encrypted {
    keys: Keyring,
    /// Objects are bound to what follows it in their keys.
    prefix: String,
    kept: Mutex<HashMap<Key, Arc<Decrypter>>>,
}

impl Store {
    /// As it is stored, with the size of the whole object.
    pub(super) async fn part(&self, key: &Key, range: Range<u64>) -> Result<(Bytes, u64), Trouble> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let read = async {
            let found = self.objects.get_opts(key.path(), options).await?;
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        };
        self.within(read).await
    }

    /// How much content an object of this size has.
    pub(super) fn size(&self, stored: u64) -> Size {
        match &self.encrypted {
            // One of another size is none of ours, and that is told when it is read.
            Some(_) => Size(clear_size(stored).unwrap_or(stored)),
            None => Size(stored),
        }
    }
}

impl Encrypted {
    pub(super) fn with(keys: Keyring, prefix: &Prefix) -> Self {
        Self { keys, prefix: prefix.as_str().to_owned(), kept: Mutex::default() }
    }

    /// Of the key that encrypts.
    pub(super) fn id(&self) -> KeyId {
        self.keys.id()
    }

    /// The header of an object as it is to be, from the one that it has; none if that is the same.
    pub(super) fn rewrapped(&self, header: &[u8]) -> Result<Option<[u8; HEAD]>, EnvelopeError> {
        self.keys.rewrapped(header)
    }

    /// What an object is bound to: what it is moved with, the whole repository, may be elsewhere.
    fn name<'a>(&self, key: &'a Key) -> &'a str {
        let name = key.as_str();
        let inside = name.strip_prefix(self.prefix.as_str()).unwrap_or(name);
        inside.trim_start_matches('/')
    }

    pub(super) fn begin(&self, key: &Key) -> Result<Encrypter, Trouble> {
        Encrypter::begin(&self.keys, self.name(key)).map_err(Trouble::Envelope)
    }

    /// A whole object as it is stored.
    pub(super) async fn seal(&self, key: &Key, content: &Bytes) -> Result<Bytes, Trouble> {
        let mut encrypter = self.begin(key)?;
        let mut stored = Vec::new();
        for some in content.chunks(TURN) {
            encrypter.push(some, &mut stored).map_err(Trouble::Envelope)?;
            if content.len() > TURN {
                tokio::task::yield_now().await;
            }
        }
        encrypter.finish(&mut stored).map_err(Trouble::Envelope)?;
        Ok(stored.into())
    }

    /// The content of a whole object.
    pub(super) fn open(&self, key: &Key, stored: Bytes) -> Result<Bytes, Trouble> {
        let opened = Decrypter::open(&self.keys, self.name(key), &stored);
        opened.and_then(|opened| opened.whole(stored)).map_err(Trouble::Envelope)
    }

    /// The content of an object of this size as it comes.
    pub(super) fn flow<'a>(
        &'a self,
        key: &'a Key,
        size: u64,
        stored: impl Stream<Item = Result<Bytes, Trouble>> + Send + 'a,
    ) -> impl Stream<Item = Result<Bytes, Trouble>> + Send + 'a {
        let flow = Flow::of(&self.keys, self.name(key), size);
        let state = (Box::pin(stored), Some(flow));
        futures_util::stream::unfold(state, |(mut rest, mut flow)| async move {
            loop {
                let mut passing = flow.take()?;
                let piece = match rest.next().await {
                    Some(Ok(piece)) => passing.push(&piece).map_err(Trouble::Envelope),
                    Some(Err(trouble)) => Err(trouble),
                    // Only now it shows whether there should have been more.
                    None => match passing.end() {
                        Ok(()) => return None,
                        Err(error) => Err(Trouble::Envelope(error)),
                    },
                };
                match piece {
                    Ok(piece) if piece.is_empty() => flow = Some(passing),
                    Ok(piece) => return Some((Ok(piece), (rest, Some(passing)))),
                    Err(trouble) => return Some((Err(trouble), (rest, None))),
                }
            }
        })
    }

    /// A part of the content.
    pub(super) async fn part(
        &self,
        store: &Store,
        key: &Key,
        part: Range<u64>,
    ) -> Result<Bytes, Trouble> {
        if part.is_empty() {
            return Ok(Bytes::new());
        }
        let span = span(&part);
        if let Some(known) = self.known(key) {
            let (stored, size) = store.part(key, span.stored.clone()).await?;
            match known.part(&span, stored, size) {
                // Another object may have come into its place, with another key.
                Err(EnvelopeError::Damaged { .. }) => {}
                opened => return opened.map_err(Trouble::Envelope),
            }
        }
        let (header, stored, size) = if span.stored.start <= NEAR {
            let (all, size) = store.part(key, 0..span.stored.end).await?;
            let at = usize::try_from(span.stored.start).unwrap_or(usize::MAX).min(all.len());
            (all.clone(), all.slice(at..), size)
        } else {
            let (header, _) = store.part(key, 0..HEADER).await?;
            let (stored, size) = store.part(key, span.stored.clone()).await?;
            (header, stored, size)
        };
        let opened = Decrypter::open(&self.keys, self.name(key), &header);
        let opened = Arc::new(opened.map_err(Trouble::Envelope)?);
        drop(header);
        let content = opened.part(&span, stored, size).map_err(Trouble::Envelope)?;
        self.keep(key, opened);
        Ok(content)
    }

    fn known(&self, key: &Key) -> Option<Arc<Decrypter>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: &Key, opened: Arc<Decrypter>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key.clone(), opened);
    }
}

#[cfg(test)]
mod tests;
