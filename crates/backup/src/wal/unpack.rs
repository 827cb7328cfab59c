//! Unpacks an object while it is on its way, with a few pieces of it in memory.
//!
//! Never waits for a piece on a thread that others need.

use super::WalError;
use crate::compression::Compression;
use crate::layout::Key;
use crate::store::{Retry, StoreError};
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use std::io::{self, Read};
use tokio::sync::mpsc;

/// Pieces are as large as the network hands them over.
const PIECES: usize = 16;

/// How an object could not be taken in.
pub(super) enum Failed {
    OnTheWay(StoreError),
    Inside(WalError),
}

/// Gives the unpacked object to `take`, which runs where it may wait.
pub(super) async fn unpack<T: Send + 'static>(
    packed: impl Stream<Item = Result<Bytes, StoreError>> + Send,
    compression: Compression,
    take: impl FnOnce(&mut dyn Read) -> Result<T, WalError> + Send + 'static,
    key: &Key,
) -> Result<T, Failed> {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let stored = key.clone();
    // Not counted as computing: it mostly waits for the network.
    let taking = tokio::task::spawn_blocking(move || {
        let pieces = Pieces { receiver, piece: Bytes::new() };
        let reader = compression.reader(pieces);
        let mut reader = reader.map_err(|source| WalError::Unpack { stored, source })?;
        take(&mut *reader)
    });
    let sending = async {
        let mut packed = std::pin::pin!(packed);
        while let Some(piece) = packed.next().await {
            let (piece, failed) = match piece {
                Ok(piece) => (Ok(piece), None),
                Err(error) => (Err(io::ErrorKind::BrokenPipe.into()), Some(error)),
            };
            // Who takes may have seen enough.
            let is_wanted = sender.send(piece).await.is_ok();
            if failed.is_some() || !is_wanted {
                return failed;
            }
        }
        drop(sender);
        None
    };
    let (sent, taken) = futures_util::future::join(sending, taking).await;
    match (sent, taken) {
        (Some(error), _) => Err(Failed::OnTheWay(error)),
        (None, Ok(Ok(taken))) => Ok(taken),
        (None, Ok(Err(error))) => Err(Failed::Inside(error)),
        (None, Err(_)) => Err(Failed::Inside(WalError::Interrupted)),
    }
}

/// Reads what another task sends.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

impl Failed {
    /// Whether the same object may be whole the next time.
    pub(super) fn passes(&self) -> Retry {
        match self {
            Self::OnTheWay(error) => error.retry(),
            Self::Inside(error) => error.retry(),
        }
    }
}
