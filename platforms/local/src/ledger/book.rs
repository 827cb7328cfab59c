//! The file that says what was promised: one line per number, written before anything is counted.
//!
//! Never lies inside the cluster it judges, and never holds a number twice.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Debug, thiserror::Error)]
pub enum BookError {
    #[error("creating {path:?}: choose a file that does not exist yet")]
    Create { path: PathBuf, source: io::Error },
    #[error("writing {path:?}: what is not in the book cannot be judged")]
    Write { path: PathBuf, source: io::Error },
    #[error("reading {path:?}")]
    Read { path: PathBuf, source: io::Error },
    #[error("line {line} of {path:?} is not an entry: the book was changed or damaged")]
    Damaged { path: PathBuf, line: usize },
}

/// Who acknowledged: the server's port and the timeline it wrote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    pub timeline: u32,
    pub port: u16,
}

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server said that it is committed.
    Acknowledged(Witness),
    /// Sent, and no answer that can be relied on: it may be there or not.
    Unknown,
    /// The server said that it is not committed.
    Refused,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub outcome: Outcome,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, outcome } = self;
        match outcome {
            Outcome::Acknowledged(Witness { timeline, port }) => {
                write!(f, "ack {number} {timeline} {port}")
            }
            Outcome::Unknown => write!(f, "unknown {number}"),
            Outcome::Refused => write!(f, "refused {number}"),
        }
    }
}

impl FromStr for Entry {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        fn parsed<T: FromStr>(word: Option<&str>) -> Result<T, ()> {
            word.and_then(|word| word.parse().ok()).ok_or(())
        }
        let mut words = line.split(' ');
        let kind = words.next();
        let number = parsed(words.next())?;
        let outcome = match kind {
            Some("ack") => {
                let timeline = parsed(words.next())?;
                Outcome::Acknowledged(Witness { timeline, port: parsed(words.next())? })
            }
            Some("unknown") => Outcome::Unknown,
            Some("refused") => Outcome::Refused,
            _ => return Err(()),
        };
        if words.next().is_some() { Err(()) } else { Ok(Self { number, outcome }) }
    }
}

/// A book being written.
pub(super) struct Book {
    file: File,
    path: PathBuf,
}

impl Book {
    pub(super) fn create(path: &Path) -> Result<Self, BookError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = file.map_err(|source| BookError::Create { path: path.to_owned(), source })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Adds a line; it is the operating system's when this returns.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), BookError> {
        let line = format!("{entry}\n");
        self.file.write_all(line.as_bytes()).map_err(|source| self.writing(source))
    }

    /// Makes what was written survive a loss of power.
    pub(super) fn sync(&self) -> Result<(), BookError> {
        self.file.sync_all().map_err(|source| self.writing(source))
    }

    fn writing(&self, source: io::Error) -> BookError {
        BookError::Write { path: self.path.clone(), source }
    }
}

/// Reads a book in the order it was written. A last line without its end was not finished, and
/// what it would have said was not counted.
pub fn read(path: &Path) -> Result<Vec<Entry>, BookError> {
    let reading = |source| BookError::Read { path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(reading)?);
    let mut entries = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).map_err(reading)? > 0 {
        let Some(whole) = line.strip_suffix('\n') else { break };
        let damaged = |()| BookError::Damaged { path: path.to_owned(), line: entries.len() + 1 };
        let entry = whole.parse().map_err(damaged)?;
        entries.push(entry);
        line.clear();
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(number: u64) -> Entry {
        let witness = Witness { timeline: 3, port: 5441 };
        Entry { number, outcome: Outcome::Acknowledged(witness) }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book");
        let unknown = Entry { number: 8, outcome: Outcome::Unknown };
        let refused = Entry { number: u64::MAX, outcome: Outcome::Refused };
        let all = [ack(7), unknown, refused];
        let mut book = Book::create(&path).unwrap();
        for entry in all {
            book.add(entry).unwrap();
        }
        book.sync().unwrap();
        assert_eq!(read(&path).unwrap(), all);
        assert!(Book::create(&path).is_err(), "an old book is not continued");
    }

    #[test]
    fn an_unfinished_line_is_no_promise_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book");
        std::fs::write(&path, "ack 7 3 5441\nack 8 3 54").unwrap();
        assert_eq!(read(&path).unwrap(), [ack(7)]);
        std::fs::write(&path, "ack 7 3 5441\nack 8 3\n").unwrap();
        assert!(matches!(read(&path).unwrap_err(), BookError::Damaged { line: 2, .. }));
    }
}
