//! Follows PostgreSQL's log, a file, from where an earlier agent has come to.
//!
//! Never reads on from a place that belonged to another file, and never holds PostgreSQL up: who
//! is too far behind skips, and says how much.

use crate::postgres::said::{Assembler, Said};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// A line that is longer comes out in pieces.
const LINE_BYTES: usize = 1 << 20;

/// The place in the file that was come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    inode: u64,
    offset: u64,
}

/// One look at the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub said: Vec<Said>,
    /// Bytes that were skipped before.
    pub skipped: u64,
    /// There may be more at once.
    pub is_full: bool,
}

/// A reader of one log.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Where the next byte is read.
    place: Place,
    /// Where an incomplete message begins.
    complete: u64,
    rest: Vec<u8>,
    assembler: Assembler,
    /// How far behind it may be.
    most: u64,
}

impl Follower {
    pub fn open(path: &Path, most: u64) -> Self {
        let place = std::fs::read_to_string(mark(path)).ok().and_then(|text| parse(&text));
        let place = place.unwrap_or_default();
        Self {
            path: path.to_owned(),
            file: None,
            place,
            complete: place.offset,
            rest: Vec::new(),
            assembler: Assembler::default(),
            most,
        }
    }

    /// What has been said since the last look. A message is complete once another one begins, or
    /// a look finds nothing more.
    pub fn look(&mut self) -> io::Result<Look> {
        let mut look = Look::default();
        if !self.reach(&mut look)? {
            return Ok(look);
        }
        let Some(file) = &self.file else { return Ok(look) };
        let mut piece = vec![0; PIECE_BYTES];
        let length = file.read_at(&mut piece, self.place.offset)?;
        let read = piece.get(..length).unwrap_or_default();
        self.place.offset += length as u64;
        look.is_full = length == PIECE_BYTES;
        if read.is_empty() {
            look.said.extend(self.assembler.finish());
            self.complete = self.place.offset.saturating_sub(self.rest.len() as u64);
            return Ok(look);
        }
        self.rest.extend_from_slice(read);
        self.take_lines(&mut look);
        Ok(look)
    }

    /// Remembers, for the agent after this one, what has been passed on.
    pub fn remember(&self) -> io::Result<()> {
        std::fs::write(mark(&self.path), format!("{} {}\n", self.place.inode, self.complete))
    }

    /// Opens the file if need be and goes to where it is to be read; false if there is none.
    fn reach(&mut self, look: &mut Look) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                opened => Some(opened?),
            };
        }
        let Some(file) = &self.file else { return Ok(false) };
        let facts = file.metadata()?;
        if facts.ino() != self.place.inode || facts.len() < self.place.offset {
            self.go_to(facts.ino(), 0, look);
        }
        let behind = facts.len().saturating_sub(self.place.offset);
        if behind > self.most {
            look.skipped = behind - self.most / 2;
            self.go_to(facts.ino(), facts.len() - self.most / 2, look);
        }
        Ok(true)
    }

    fn go_to(&mut self, inode: u64, offset: u64, look: &mut Look) {
        look.said.extend(self.assembler.finish());
        self.rest.clear();
        self.place = Place { inode, offset };
        self.complete = offset;
    }

    fn take_lines(&mut self, look: &mut Look) {
        let mut at = self.place.offset.saturating_sub(self.rest.len() as u64);
        let mut rest = std::mem::take(&mut self.rest);
        let mut taken = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            let is_whole = line.ends_with(b"\n");
            if !is_whole && line.len() < LINE_BYTES {
                break;
            }
            taken += line.len();
            // Where holes were made, there is nothing but zeros.
            let text = String::from_utf8_lossy(line);
            let text = text.trim_matches('\0').trim_end_matches(['\n', '\r']);
            if !text.is_empty() {
                let before = look.said.len();
                let was_empty = self.assembler.is_empty();
                look.said.extend(self.assembler.push(text));
                if was_empty || look.said.len() > before {
                    self.complete = at;
                }
            }
            at += line.len() as u64;
            if self.assembler.is_empty() {
                self.complete = at;
            }
        }
        rest.drain(..taken);
        self.rest = rest;
    }
}

/// Beside the log: where its reader has come to.
fn mark(path: &Path) -> PathBuf {
    path.with_extension("log.read")
}

fn parse(text: &str) -> Option<Place> {
    let (inode, offset) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Place { inode: inode.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MOST: u64 = 1 << 20;

    struct Log {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("postgres.log");
            Self { _folder: folder, path }
        }

        fn write(&self, text: &str) {
            let file = File::options().create(true).append(true).open(&self.path);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }
    }

    fn message(text: &str) -> String {
        let fixed = "2026-11-28 05:30:30.207 UTC|7|c|1|2026-11-28 05:30:02 UTC|||00000|||||";
        let fixed = fixed.replace('|', "\u{1f}");
        format!("{fixed}\u{1e}u\u{1e}d\u{1e}a\u{1e}LOG:  {text}\n")
    }

    fn texts(follower: &mut Follower) -> Vec<String> {
        let said = follower.look().unwrap().said.into_iter();
        let texts = said.map(|said| match said {
            Said::Record(record) => record.message,
            Said::Line(line) => line,
        });
        texts.collect()
    }

    #[test]
    fn a_message_comes_once_it_is_whole() {
        let log = Log::new();
        let mut follower = Follower::open(&log.path, MOST);
        assert_eq!(texts(&mut follower), [""; 0]);
        let (one, two) = (message("one"), message("two"));
        let (begin, end) = two.split_at(20);
        log.write(&format!("{one}{begin}"));
        assert_eq!(texts(&mut follower), [""; 0]);
        log.write(end);
        assert_eq!(texts(&mut follower), ["one"]);
        log.write("\tand more\n");
        assert_eq!(texts(&mut follower), [""; 0]);
        assert_eq!(texts(&mut follower), ["two\nand more"]);
        log.write("plain\n");
        assert_eq!(texts(&mut follower), ["plain"]);
    }

    #[test]
    fn the_next_agent_goes_on_where_messages_were_complete() {
        let log = Log::new();
        log.write(&(message("one") + &message("two")));
        let mut follower = Follower::open(&log.path, MOST);
        assert_eq!(texts(&mut follower), ["one"]);
        follower.remember().unwrap();
        let mut next = Follower::open(&log.path, MOST);
        assert_eq!(texts(&mut next), [""; 0]);
        assert_eq!(texts(&mut next), ["two"]);
        next.remember().unwrap();
        assert_eq!(texts(&mut Follower::open(&log.path, MOST)), [""; 0]);

        let other = log.path.with_extension("other");
        std::fs::write(&other, "another file\n").unwrap();
        std::fs::rename(&other, &log.path).unwrap();
        assert_eq!(texts(&mut Follower::open(&log.path, MOST)), ["another file"]);
    }

    #[test]
    fn who_is_far_behind_skips_and_says_so() {
        let log = Log::new();
        for _ in 0..100 {
            log.write("0123456789\n");
        }
        let mut follower = Follower::open(&log.path, 110);
        let look = follower.look().unwrap();
        assert_eq!(look.skipped, 1100 - 55);
        assert_eq!(look.said.len(), 5);
        // A log that was cut is another one.
        File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
        log.write("new\n");
        assert_eq!(texts(&mut follower), ["new"]);
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let log = Log::new();
        log.write(&"x".repeat(LINE_BYTES + 100));
        let mut follower = Follower::open(&log.path, u64::MAX);
        let mut lengths = Vec::new();
        for _ in 0..20 {
            lengths.extend(texts(&mut follower).iter().map(String::len));
        }
        assert_eq!(lengths, [LINE_BYTES]);
    }
}
