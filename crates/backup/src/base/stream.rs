//! Writes one archive: takes its chunks in their order, whoever is done first, and stores them.
//!
//! Never completes an archive that was not ended on purpose: then it is taken back.

use super::batch::{Form, Packed};
use super::index::Chunk;
use super::ledger::Entry;
use super::packing::{Closing, Packer, Packing};
use super::{BackupError, BadPage, Progress, member};
use crate::layout::Key;
use crate::store::{Store, Writer};
use crate::workers::Answer;
use bytes::Bytes;
use pgherd_core::units::Bytes as Size;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What is done with an archive next.
pub(super) enum Step {
    Chunk(Answer<Result<Packed, BackupError>>),
    /// Answers when all before it is with the store's writer.
    Wait(oneshot::Sender<()>),
    End,
}

pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) form: Form,
    pub(super) packing: Packing,
    pub(super) ledger: mpsc::Sender<Entry>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) began: Instant,
}

/// What became of an archive.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) bytes: u64,
    pub(super) bad: Vec<BadPage>,
    pub(super) bad_in_all: u64,
}

/// So many bad pages are named; beyond that they are counted.
pub(super) const NAMED: usize = 1000;

impl Stream {
    pub(super) async fn run(
        self,
        store: Store,
        mut steps: mpsc::Receiver<Step>,
    ) -> Result<Stored, BackupError> {
        let mut writer = store.writer(&self.key).await.map_err(BackupError::store)?;
        let mut stored = Stored::default();
        match self.follow(&mut writer, &mut steps, &mut stored).await {
            Ok(()) => {
                stored.bytes = writer.finish().await.map_err(BackupError::store)?.0;
                Ok(stored)
            }
            Err(error) => {
                if let Err(left) = writer.abort().await {
                    tracing::warn!(key = %self.key, error = %left, "parts of an archive were left");
                }
                Err(error)
            }
        }
    }

    async fn follow(
        &self,
        writer: &mut Writer,
        steps: &mut mpsc::Receiver<Step>,
        stored: &mut Stored,
    ) -> Result<(), BackupError> {
        let (mut closing, mut plain) = (Closing::default(), 0_u64);
        self.put(writer, Bytes::from_static(self.packing.opening())).await?;
        loop {
            match steps.recv().await {
                Some(Step::Chunk(answer)) => {
                    let packed = answer.get().await.map_err(BackupError::WorkerLost)??;
                    closing.add(packed.sum, packed.plain);
                    plain += packed.plain as u64;
                    self.chunk(writer, packed, stored).await?;
                }
                Some(Step::Wait(done)) => {
                    // Nobody may wait any more.
                    let _abandoned = done.send(());
                }
                Some(Step::End) => {
                    if self.form == Form::Tar {
                        let end = self.end(plain, &mut closing)?;
                        self.put(writer, end.into()).await?;
                    }
                    return self.put(writer, closing.bytes(self.packing).into()).await;
                }
                None => return Err(BackupError::Abandoned),
            }
        }
    }

    async fn chunk(
        &self,
        writer: &mut Writer,
        packed: Packed,
        stored: &mut Stored,
    ) -> Result<(), BackupError> {
        let Packed { bytes, plain, pieces, bad, sum: _ } = packed;
        stored.bad_in_all += bad.len() as u64;
        let room = NAMED.saturating_sub(stored.bad.len());
        stored.bad.extend(bad.into_iter().take(room));
        let length = bytes.len();
        let at = writer.written().0;
        self.put(writer, bytes).await?;
        let done: u64 = pieces.iter().map(|piece| u64::from(piece.length)).sum();
        let fits = |length| u32::try_from(length).unwrap_or(u32::MAX);
        let archive = self.key.name().to_owned();
        let chunk = Chunk { archive, at, packed: fits(length), plain: fits(plain), pieces };
        let noted = self.ledger.send(Entry::Chunk(chunk)).await;
        noted.map_err(|_| BackupError::Abandoned)?;
        self.progress.send_modify(|progress| {
            progress.done = Size(progress.done.0 + done);
            progress.moved = Size(progress.moved.0 + length as u64);
            progress.elapsed = self.began.elapsed();
        });
        Ok(())
    }

    /// The end of the tar, packed.
    fn end(&self, plain: u64, closing: &mut Closing) -> Result<Vec<u8>, BackupError> {
        let mut end = member::end(plain);
        let length = end.len();
        let packed = Packer::new(self.packing).and_then(|mut packer| packer.pack(&mut end));
        let failed = |source| BackupError::Pack { key: self.key.clone(), source };
        let (bytes, sum) = packed.map_err(failed)?;
        closing.add(sum, length);
        Ok(bytes)
    }

    async fn put(&self, writer: &mut Writer, bytes: Bytes) -> Result<(), BackupError> {
        if bytes.is_empty() {
            return Ok(());
        }
        writer.write(bytes).await.map_err(BackupError::store)
    }
}
