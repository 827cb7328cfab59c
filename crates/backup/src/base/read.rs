//! Reads pieces of files that PostgreSQL may be writing at the same time.
//!
//! Never fails because a file shrank or a page is bad: recovery repairs the one, and of the other
//! somebody is told.

use super::member::Owner;
use super::page::{self, PAGE, Page};
use super::scan::{FoundFile, Part, Relation, Source};
use super::session::Pages;
use super::{BadPage, CHUNK};
use pgherd_core::units::Lsn;
use rustix::buffer::spare_capacity;
use rustix::fs::Advice;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

/// A page that is being written while it is read is read again so many times.
const LOOKS: usize = 5;

/// A file whose size in the backup is decided.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    pub(super) part: Part,
    pub(super) path: Box<str>,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) modified: u64,
}

impl Opened {
    /// `None` when the file has vanished: then it was not needed.
    pub(super) fn open(source: &Source, found: &FoundFile) -> io::Result<Option<Self>> {
        let file = match File::open(source.root.join(&*found.path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let size = match Relation::of(source.part, &found.path) {
            // What was added since is in the log.
            Some(_) => metadata.len().min(found.size),
            None if found.size > CHUNK as u64 => metadata.len(),
            // It may have been replaced by a longer one, and half of that would be no use.
            None => metadata.len().min(CHUNK as u64),
        };
        // Hints that the kernel may not know.
        let _refused = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        let _refused = rustix::fs::fadvise(&file, 0, None, Advice::NoReuse);
        Ok(Some(Self {
            file,
            part: source.part,
            path: found.path.clone(),
            size,
            mode: metadata.permissions().mode() & 0o7777,
            owner: Owner { user: metadata.uid(), group: metadata.gid() },
            modified: u64::try_from(metadata.mtime()).unwrap_or_default(),
        }))
    }

    /// Only some pages will be read: what lies between is not worth reading ahead.
    pub(super) fn of_some_pages(self) -> Self {
        let _refused = rustix::fs::fadvise(&self.file, 0, None, Advice::Random);
        self
    }

    /// Appends this piece, filled up with zeros if the file has become shorter. Says how much
    /// was there.
    pub(super) fn append(&self, from: u64, length: usize, to: &mut Vec<u8>) -> io::Result<usize> {
        let (start, end) = (to.len(), to.len() + length);
        to.reserve(length);
        // It is read into all the room there is: clearing it first would cost more.
        while to.len() < end {
            let offset = from + (to.len() - start) as u64;
            match rustix::io::pread(&self.file, spare_capacity(to), offset) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let there = to.len().min(end) - start;
        to.resize(end, 0);
        Ok(there)
    }

    fn page_again(&self, offset: u64) -> io::Result<[u8; PAGE]> {
        let mut page = [0; PAGE];
        self.file.read_exact_at(&mut page, offset)?;
        Ok(page)
    }
}

/// What pages are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verification {
    pub(super) pages: Pages,
    /// What was changed later is in the log.
    pub(super) begin: Lsn,
}

impl Verification {
    /// Verifies the pages of a piece that begins here in its file, puts in what a second look
    /// found, and says which are bad, with their numbers in the piece.
    pub(super) fn verify(
        self,
        file: &Opened,
        from: u64,
        piece: &mut [u8],
    ) -> Vec<(usize, BadPage)> {
        let Pages::Checksums { of_a_file } = self.pages else { return Vec::new() };
        let Some(relation) = Relation::of(file.part, &file.path) else { return Vec::new() };
        let first = u32::try_from(from / PAGE as u64).unwrap_or_default();
        let first = first.wrapping_add(relation.segment.wrapping_mul(of_a_file));
        let (pages, _) = piece.as_chunks_mut::<PAGE>();
        let mut bad = Vec::new();
        for (at, (number, page)) in (0..).zip(pages).enumerate() {
            let block = first.wrapping_add(number);
            let offset = from + u64::from(number) * PAGE as u64;
            if self.is_bad(file, offset, page, block) {
                bad.push((at, BadPage { path: file.part.within_data(&file.path), block }));
            }
        }
        bad
    }

    fn is_bad(self, file: &Opened, offset: u64, page: &mut [u8; PAGE], block: u32) -> bool {
        for _ in 0..LOOKS {
            match page::look(page, block) {
                Page::Good => return false,
                Page::Bad { changed } if changed >= self.begin => {
                    return false;
                }
                Page::Bad { .. } => {}
            }
            match file.page_again(offset) {
                Ok(again) => *page = again,
                // It was cut off meanwhile.
                Err(_) => return false,
            }
        }
        page::look(page, block) != Page::Good
    }
}
