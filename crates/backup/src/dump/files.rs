//! Stores files of a dump as they are produced, and reads them back as they are needed.
//!
//! Never calls a file whole whose bytes are not those that were stored.

use super::{DumpError, DumpFile, DumpedFile, Dumps, Taking};
use crate::layout::Key;
use crate::store::{StoreError, Writer};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::StreamExt;
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes as Size;
use std::fmt::Write;

/// What is read with one request.
const PIECE: u64 = 4 << 20;
/// So many are asked for ahead.
const AHEAD: usize = 3;

/// A file that is being stored. Finish or abort it.
pub struct Upload {
    dump: BackupId,
    name: DumpFile,
    writer: Writer,
    digest: Context,
}

impl Upload {
    pub(super) async fn begin(taking: &Taking, name: DumpFile) -> Result<Self, DumpError> {
        let (dump, Dumps { store, layout }) = (taking.id.clone(), &taking.dumps);
        match store.writer(&layout.dump_file(&dump, &name)).await {
            Ok(writer) => Ok(Self { dump, name, writer, digest: Context::new(&SHA256) }),
            Err(source) => Err(storing(dump, &name, source)),
        }
    }

    /// Waits while too much is on its way.
    pub async fn write(&mut self, content: Bytes) -> Result<(), DumpError> {
        self.digest.update(&content);
        let written = self.writer.write(content).await;
        written.map_err(|source| storing(self.dump.clone(), &self.name, source))
    }

    pub async fn finish(self) -> Result<DumpedFile, DumpError> {
        let Self { dump, name, writer, digest } = self;
        match writer.finish().await {
            Ok(bytes) => Ok(DumpedFile { name, bytes, sha256: hexadecimal(digest) }),
            Err(source) => Err(storing(dump, &name, source)),
        }
    }

    /// Takes back what was stored of it.
    pub async fn abort(self) {
        let Self { name, writer, .. } = self;
        if let Err(error) = writer.abort().await {
            tracing::warn!(file = name.as_str(), %error, "parts of a dump's file were left");
        }
    }
}

fn storing(dump: BackupId, name: &DumpFile, source: StoreError) -> DumpError {
    DumpError::Store { dump, what: name.as_str().to_owned(), source }
}

fn hexadecimal(digest: Context) -> String {
    digest.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// A file of a dump that is being read, piece by piece.
pub struct Reading<'a> {
    dumps: &'a Dumps,
    dump: &'a BackupId,
    file: &'a DumpedFile,
    key: Key,
}

impl Dumps {
    pub fn reading<'a>(&'a self, dump: &'a BackupId, file: &'a DumpedFile) -> Reading<'a> {
        let key = self.layout.dump_file(dump, &file.name);
        Reading { dumps: self, dump, file, key }
    }

    /// A whole small file.
    pub async fn fetch(&self, dump: &BackupId, file: &DumpedFile) -> Result<Vec<u8>, DumpError> {
        let (reading, mut whole) = (self.reading(dump, file), Vec::new());
        let mut take = async |piece: Bytes| {
            whole.extend_from_slice(&piece);
            Ok::<_, DumpError>(())
        };
        reading.each(&mut take).await?;
        Ok(whole)
    }
}

impl Reading<'_> {
    /// Hands over each piece. The last one comes only when all of them are those that were stored,
    /// so that whoever counts on the end of the file never gets there with a damaged one.
    pub async fn each<Failure: From<DumpError>>(
        &self,
        take: &mut impl AsyncFnMut(Bytes) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut digest = Context::new(&SHA256);
        let (whole, store) = (self.file.bytes.0, &self.dumps.store);
        self.check_size().await?;
        let from = (0..whole.div_ceil(PIECE)).map(|index| index * PIECE);
        let pieces = from.map(|from| store.get_range(&self.key, from..whole.min(from + PIECE)));
        let mut pieces = futures_util::stream::iter(pieces).buffered(AHEAD);
        let mut held: Option<Bytes> = None;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|source| self.failed(source))?;
            digest.update(&piece);
            if let Some(before) = held.replace(piece) {
                take(before).await?;
            }
        }
        if hexadecimal(digest) != self.file.sha256 {
            return Err(DumpError::Damaged { key: self.key.clone() }.into());
        }
        match held {
            Some(last) => take(last).await,
            None => Ok(()),
        }
    }

    async fn check_size(&self) -> Result<(), DumpError> {
        let found = self.dumps.store.head(&self.key).await.map_err(|source| self.failed(source))?;
        match found {
            None => Err(DumpError::Missing { key: self.key.clone() }),
            Some(object) if object.size != Size(self.file.bytes.0) => {
                Err(DumpError::Damaged { key: self.key.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    fn failed(&self, source: StoreError) -> DumpError {
        let what = self.file.name.as_str().to_owned();
        DumpError::Read { dump: self.dump.clone(), what, source }
    }
}
