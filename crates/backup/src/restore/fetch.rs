//! Reads an object from its beginning to its end, a bounded part ahead.
//!
//! Never holds more than a few parts of it.

use crate::layout::Key;
use crate::store::{Store, StoreError};
use bytes::{Buf, Bytes};
use std::io::{self, Read};
use tokio::sync::mpsc;

/// What is asked for at once.
const PART: u64 = 4 << 20;
/// Parts that wait to be read.
const AHEAD: usize = 2;

/// Reads what [`send`] sends. For threads that may block.
pub(super) struct Received {
    parts: mpsc::Receiver<Result<Bytes, StoreError>>,
    current: Bytes,
}

/// Two ends: one is filled by [`send`], the other is read.
pub(super) fn pair() -> (mpsc::Sender<Result<Bytes, StoreError>>, Received) {
    let (sender, parts) = mpsc::channel(AHEAD);
    (sender, Received { parts, current: Bytes::new() })
}

/// Fetches an object of this size part by part, until nobody reads any more.
pub(super) async fn send(
    store: Store,
    key: Key,
    size: u64,
    to: mpsc::Sender<Result<Bytes, StoreError>>,
) {
    let mut from = 0;
    while from < size {
        let part = store.get_range(&key, from..size.min(from + PART)).await;
        let length = part.as_ref().map_or(0, |part| part.len() as u64);
        let is_last = length == 0;
        from += length;
        if to.send(part).await.is_err() || is_last {
            return;
        }
    }
}

impl Read for Received {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.parts.blocking_recv() {
                Some(Ok(part)) if part.is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(Ok(part)) => self.current = part,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let length = to.len().min(self.current.len());
        let part = self.current.split_to(length);
        part.reader().read(to)
    }
}
