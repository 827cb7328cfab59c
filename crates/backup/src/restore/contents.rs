//! Reads a backup's table of contents line by line.
//!
//! Never believes one that does not begin and end as it should.

use super::fetch::{Received, pair, send};
use super::{RestoreError, Unusable};
use crate::base::index::{Begin, End, FORMAT, Piece, Record};
use crate::layout::Key;
use crate::store::{Object, Store};
use pgherd_core::backup::BackupId;
use std::io::{self, BufRead, BufReader, Read};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A chunk of the most files with the longest names is far below this.
const LONGEST_LINE: u64 = 16 << 20;
const WAITING: usize = 64;

/// Lines as they come.
pub(crate) struct Contents {
    records: mpsc::Receiver<io::Result<Record>>,
    key: Key,
    is_increment: bool,
    counted: End,
    _work: JoinSet<()>,
}

impl Contents {
    /// Begins to read, and gives what stands first.
    pub(crate) async fn begin(
        store: &Store,
        object: &Object,
        backup: &BackupId,
    ) -> Result<(Self, Begin), RestoreError> {
        let (sender, received) = pair();
        let (found, records) = mpsc::channel(WAITING);
        let mut work = JoinSet::new();
        work.spawn(send(store.clone(), object.key.clone(), object.size.0, sender));
        work.spawn_blocking(move || lines(received, &found));
        let key = object.key.clone();
        let counted = End::default();
        let mut contents = Self { records, key, is_increment: false, counted, _work: work };
        match contents.record().await? {
            Record::Begin(begin) if begin.format > FORMAT => {
                let because = Unusable::NewerIndex;
                Err(RestoreError::Unusable { backup: backup.clone(), because })
            }
            Record::Begin(begin) if begin.backup == backup.as_str() => {
                contents.is_increment = begin.base.is_some();
                Ok((contents, begin))
            }
            Record::Begin(begin) => {
                Err(contents.damaged(format!("it is that of backup {:?}", begin.backup)))
            }
            Record::Folder(_) | Record::Chunk(_) | Record::End(_) => {
                Err(contents.damaged("it has no beginning".to_owned()))
            }
        }
    }

    /// The next line, or nothing after a proper end.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, RestoreError> {
        let record = self.record().await?;
        match &record {
            Record::Begin(_) => return Err(self.damaged("it begins twice".to_owned())),
            Record::Chunk(chunk) => {
                let of_another = |piece: &Piece| piece.changed.is_some() && !self.is_increment;
                if chunk.pieces.iter().any(of_another) {
                    let what = "it names pages of another backup, and builds on none".to_owned();
                    return Err(self.damaged(what));
                }
                chunk.pieces.iter().for_each(|piece| self.counted.count(piece));
            }
            Record::End(end) if *end == self.counted => return self.end().await,
            Record::End(_) => return Err(self.damaged("a part of it is missing".to_owned())),
            Record::Folder(_) => {}
        }
        Ok(Some(record))
    }

    /// Only behind the last line it shows whether all of it is what was written.
    async fn end(&mut self) -> Result<Option<Record>, RestoreError> {
        match self.records.recv().await {
            None => Ok(None),
            Some(Ok(_)) => Err(self.damaged("it goes on after its end".to_owned())),
            Some(Err(source)) => Err(RestoreError::Archive { key: self.key.clone(), source }),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn counted(&self) -> End {
        self.counted
    }

    async fn record(&mut self) -> Result<Record, RestoreError> {
        match self.records.recv().await {
            Some(Ok(record)) => Ok(record),
            Some(Err(source)) => Err(RestoreError::Archive { key: self.key.clone(), source }),
            None => Err(self.damaged("it ends early".to_owned())),
        }
    }

    fn damaged(&self, what: String) -> RestoreError {
        RestoreError::Damaged { key: self.key.clone(), what }
    }
}

/// Unpacks and parses, until there is no more or nobody listens.
fn lines(packed: Received, to: &mpsc::Sender<io::Result<Record>>) {
    let mut lines = match zstd::stream::read::Decoder::new(packed) {
        Ok(plain) => BufReader::new(plain),
        Err(error) => return drop(to.blocking_send(Err(error))),
    };
    loop {
        let mut line = Vec::new();
        let read = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        let record = match read {
            Ok(0) => return,
            Ok(_) => serde_json::from_slice(&line).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        let failed = record.is_err();
        if to.blocking_send(record).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
