//! Deals the files of one part out to its archives, the largest first, chunk by chunk.
//!
//! Never splits a file over two archives, and never reads one.

use super::CHUNK;
use super::batch::Content;
use super::read::Opened;
use super::scan::{FoundFile, Source};
use std::io;
use std::sync::Arc;

/// So many files share a chunk at most.
const FILES: usize = 512;

/// What is still to be dealt out, and what each archive is in the middle of.
pub(super) struct Planner {
    source: Arc<Source>,
    /// The smallest first: they are taken from the end.
    waiting: Vec<FoundFile>,
    archives: Vec<Dealt>,
}

#[derive(Default)]
struct Dealt {
    bytes: u64,
    /// A large file, and how much of it was dealt out.
    current: Option<(Arc<Opened>, u64)>,
}

/// The next chunk of one archive.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) archive: usize,
    pub(super) contents: Vec<Content>,
    /// Whether another file may follow in another archive.
    pub(super) between_files: bool,
}

impl Planner {
    pub(super) fn new(source: Arc<Source>, mut files: Vec<FoundFile>, archives: usize) -> Self {
        // Equal sizes in a fixed order, so that the same folder gives the same archives.
        files.sort_unstable_by(|a, b| a.size.cmp(&b.size).then_with(|| b.path.cmp(&a.path)));
        let archives = std::iter::repeat_with(Dealt::default).take(archives.max(1)).collect();
        Self { source, waiting: files, archives }
    }

    /// `None` when everything was dealt out. Fails with the path of what cannot be opened.
    pub(super) fn next(&mut self) -> Result<Option<Next>, (String, io::Error)> {
        loop {
            let Some(archive) = self.turn() else { return Ok(None) };
            let Some(dealt) = self.archives.get_mut(archive) else { return Ok(None) };
            if let Some((file, from)) = dealt.current.take() {
                let left = file.size - from;
                let length = left.min(CHUNK as u64);
                dealt.bytes += length;
                let length = usize::try_from(length).unwrap_or(CHUNK);
                let next = from + length as u64;
                if next < file.size {
                    dealt.current = Some((Arc::clone(&file), next));
                }
                let between_files = dealt.current.is_none();
                let contents = vec![Content::Range { file, from, length, known: None }];
                return Ok(Some(Next { archive, contents, between_files }));
            }
            if self.waiting.last().is_some_and(|found| found.size > CHUNK as u64) {
                // What has vanished since gives its turn away.
                let Some(found) = self.waiting.pop() else { continue };
                let opened = Opened::open(&self.source, &found);
                let opened = opened.map_err(|error| (found.path.into_string(), error))?;
                dealt.current = opened.map(|file| (Arc::new(file), 0));
                continue;
            }
            let contents = gather(&self.source, &mut self.waiting, &mut dealt.bytes);
            return Ok(Some(Next { archive, contents, between_files: true }));
        }
    }

    /// The archive with the least, of those that have something to do.
    fn turn(&self) -> Option<usize> {
        let more = !self.waiting.is_empty();
        let busy = self.archives.iter().enumerate();
        let busy = busy.filter(|(_, dealt)| more || dealt.current.is_some());
        busy.min_by_key(|(_, dealt)| dealt.bytes).map(|(number, _)| number)
    }
}

/// Small files that share a chunk.
fn gather(source: &Arc<Source>, waiting: &mut Vec<FoundFile>, bytes: &mut u64) -> Vec<Content> {
    let (mut contents, mut size) = (Vec::new(), 0);
    while let Some(found) = waiting.pop_if(|found| {
        contents.is_empty() || (size + found.size <= CHUNK as u64 && contents.len() < FILES)
    }) {
        size += found.size;
        contents.push(Content::File { source: Arc::clone(source), found, known: None });
    }
    *bytes += size;
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::scan::Part;
    use expect_test::expect;

    #[test]
    fn the_largest_come_first_and_small_ones_share_a_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let file = |path: &str, size: u64| {
            let made = std::fs::File::create(folder.path().join(path)).unwrap();
            made.set_len(size).unwrap();
            FoundFile { path: path.into(), size }
        };
        let chunk = CHUNK as u64;
        let files = vec![
            file("small", 5),
            file("empty", 0),
            file("whole", chunk),
            file("huge", 3 * chunk + 1),
            file("large", chunk + 1),
            file("shrunk", 2 * chunk),
            FoundFile { path: "vanished".into(), size: 2 * chunk },
        ];
        file("shrunk", 10);
        let source = Arc::new(Source { part: Part::Data, root: folder.path().into() });
        let mut planner = Planner::new(source, files, 2);
        let shown = |content| match content {
            Content::Range { file, from, length, .. } => format!("{} {from}+{length}", file.path),
            Content::File { found, .. } => found.path.into_string(),
            Content::Folder { .. } | Content::Text { .. } => unreachable!(),
        };
        let mut lines = Vec::new();
        while let Some(next) = planner.next().unwrap() {
            let contents: Vec<String> = next.contents.into_iter().map(shown).collect();
            lines.push(format!("{}: {}\n", next.archive, contents.join(" ")));
        }
        expect![[r#"
            0: huge 0+4194304
            1: shrunk 0+10
            1: large 0+4194304
            0: huge 4194304+4194304
            1: large 4194304+1
            1: whole
            0: huge 8388608+4194304
            1: small empty
            0: huge 12582912+1
        "#]]
        .assert_eq(&lines.concat());
    }
}
