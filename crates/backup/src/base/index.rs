//! Our own table of contents of a backup: where in which archive each piece of each file lies.
//!
//! Never needed to restore a backup, only to restore it in parallel and in part. Lines of JSON, so
//! that neither side holds all of it at once; what a reader does not know it leaves out.

use super::sums::Sums;
use serde::{Deserialize, Serialize};

/// What is written; readers refuse greater ones.
pub const FORMAT: u32 = 1;
const PAGE: u32 = 8192;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    Begin(Begin),
    /// A folder as seen from the data folder.
    Folder(String),
    Chunk(Chunk),
    /// Without it the table is not whole.
    End(End),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begin {
    pub format: u32,
    pub backup: String,
    /// What was found before anything was read.
    pub bytes: u64,
    /// Whether the sums of pages are noted, so that another backup can be incremental to it.
    #[serde(default)]
    pub pages: bool,
    /// Whether pages had checksums; unless they had, others may have them now.
    #[serde(default)]
    pub checksums: bool,
    /// The backup that this one is incremental to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// A part of an archive that can be unpacked alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// The name of the archive, `data_0001.tar.gz`.
    pub archive: String,
    /// Where in it the packed bytes begin, and how many there are.
    pub at: u64,
    pub packed: u32,
    /// How many bytes they unpack to.
    pub plain: u32,
    pub pieces: Vec<Piece>,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    /// The file as seen from the data folder.
    pub path: String,
    /// Of the whole file.
    pub size: u64,
    pub mode: u32,
    /// In seconds since 1970.
    pub modified: u64,
    /// Where in the file the piece begins.
    pub from: u64,
    /// Where in the unpacked chunk it begins.
    pub at: u32,
    pub length: u32,
    pub crc32c: u32,
    /// Of each page, where an incremental backup may ask whether it is still the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Sums>,
    /// Only these pages of it are in the chunk: the others are as in the backup that this one
    /// builds on. All that is said above is of the whole piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// Pages of a piece, and the sum of what is stored of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// The first page of a run in the piece, and how many there are; in their order.
    pub runs: Vec<(u32, u32)>,
    pub crc32c: u32,
}

impl Changed {
    /// How many pages are stored. None when they cannot be pages of a piece of this length.
    pub fn count(&self, length: u32) -> Option<u32> {
        let pages = length.is_multiple_of(PAGE).then_some(length / PAGE)?;
        let (mut count, mut free) = (0, 0);
        for (first, many) in &self.runs {
            let end = first.checked_add(*many)?;
            if *first < free || *many == 0 || end > pages {
                return None;
            }
            (count, free) = (count + many, end);
        }
        Some(count)
    }
}

impl Piece {
    /// How much of it is in its chunk. None when that cannot be.
    pub fn stored(&self) -> Option<u32> {
        match &self.changed {
            None => Some(self.length),
            Some(changed) => changed.count(self.length).map(|pages| pages * PAGE),
        }
    }

    pub fn is_first(&self) -> bool {
        self.from == 0
    }

    pub fn is_last(&self) -> bool {
        self.from.saturating_add(self.length.into()) == self.size
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    pub files: u64,
    pub bytes: u64,
}

impl End {
    pub(crate) fn count(&mut self, piece: &Piece) {
        self.files += u64::from(piece.is_last());
        self.bytes += u64::from(piece.length);
    }
}
