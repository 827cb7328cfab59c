//! Notes what has been stored: the table of contents, and for each file what the manifest says.
//!
//! Never stores a table that is not whole.

use super::BackupError;
use super::index::{Begin, Chunk, End, Piece, Record};
use crate::layout::Key;
use crate::store::{Store, Writer};
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use std::collections::HashMap;
use std::io::{self, Write};
use tokio::sync::{mpsc, oneshot};

/// What is noted next.
pub(super) enum Entry {
    Folder(String),
    Chunk(Chunk),
    /// Asks for all files that are whole by now.
    Files(oneshot::Sender<Vec<Whole>>),
    End,
}

/// A file that is wholly stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) path: Box<str>,
    pub(super) size: u64,
    pub(super) modified: u64,
    pub(super) crc32c: u32,
}

pub(super) struct Ledger {
    packed: zstd::stream::write::Encoder<'static, Vec<u8>>,
    whole: Vec<Whole>,
    /// Files of which pieces are still to come, with the sum of those that came.
    growing: HashMap<String, u32>,
    end: End,
}

/// Packed lines are handed on in pieces of about this size.
const LINES: usize = 256 << 10;

/// Notes until the end; without one, nothing is stored.
pub(super) async fn run(
    store: Store,
    key: Key,
    begin: Begin,
    mut entries: mpsc::Receiver<Entry>,
) -> Result<End, BackupError> {
    let mut writer = store.writer(&key).await.map_err(BackupError::store)?;
    match follow(&mut writer, begin, &mut entries).await {
        Ok(end) => writer.finish().await.map(|_| end).map_err(BackupError::store),
        Err(error) => {
            if let Err(left) = writer.abort().await {
                tracing::warn!(%key, error = %left, "parts of a table of contents were left");
            }
            Err(error)
        }
    }
}

async fn follow(
    writer: &mut Writer,
    begin: Begin,
    entries: &mut mpsc::Receiver<Entry>,
) -> Result<End, BackupError> {
    let mut ledger = Ledger::new().map_err(failed)?;
    ledger.note(&Record::Begin(begin)).map_err(failed)?;
    while let Some(entry) = entries.recv().await {
        match entry {
            Entry::Folder(path) => ledger.note(&Record::Folder(path)).map_err(failed)?,
            Entry::Chunk(chunk) => ledger.chunk(chunk).map_err(failed)?,
            Entry::Files(answer) => {
                // Nobody may wait any more.
                let _abandoned = answer.send(std::mem::take(&mut ledger.whole));
            }
            Entry::End => {
                ledger.note(&Record::End(ledger.end)).map_err(failed)?;
                entries.close();
                if entries.recv().await.is_some() {
                    return Err(failed(io::Error::other("an entry came after the last one")));
                }
                let end = ledger.end;
                let rest = ledger.packed.finish().map_err(failed)?;
                writer.write(rest.into()).await.map_err(BackupError::store)?;
                return Ok(end);
            }
        }
        let lines = ledger.packed.get_mut();
        if lines.len() >= LINES {
            let lines = std::mem::take(lines);
            writer.write(lines.into()).await.map_err(BackupError::store)?;
        }
    }
    Err(BackupError::Abandoned)
}

fn failed(source: io::Error) -> BackupError {
    BackupError::Index { source }
}

impl Ledger {
    fn new() -> io::Result<Self> {
        let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
        packed.include_checksum(true)?;
        let (whole, growing) = (Vec::new(), HashMap::new());
        Ok(Self { packed, whole, growing, end: End::default() })
    }

    fn note(&mut self, record: &Record) -> io::Result<()> {
        serde_json::to_writer(&mut self.packed, record)?;
        self.packed.write_all(b"\n")
    }

    fn chunk(&mut self, chunk: Chunk) -> io::Result<()> {
        for piece in &chunk.pieces {
            self.end.count(piece);
            self.piece(piece);
        }
        self.note(&Record::Chunk(chunk))
    }

    /// Pieces of a file come in their order: they are in one archive.
    fn piece(&mut self, piece: &Piece) {
        let before = if piece.is_first() { None } else { self.growing.remove(&piece.path) };
        let crc32c = match before {
            Some(before) => combine(before, piece.crc32c, piece.length),
            None => piece.crc32c,
        };
        if piece.is_last() {
            let path = piece.path.clone().into_boxed_str();
            self.whole.push(Whole { path, size: piece.size, modified: piece.modified, crc32c });
        } else {
            self.growing.insert(piece.path.clone(), crc32c);
        }
    }
}

/// The sum of what two sums were made of, one after the other.
fn combine(first: u32, second: u32, length: u32) -> u32 {
    let whole = crc_fast::checksum_combine(Crc32Iscsi, first.into(), second.into(), length.into());
    u32::try_from(whole & u64::from(u32::MAX)).unwrap_or_default()
}
