//! Writes the agent's log: one JSON object per line, in a file that cannot grow without end, or on
//! standard output together with PostgreSQL's.
//!
//! Never loses a line of the file that was written before a crash of the agent: they are not
//! buffered.

pub mod follow;
mod output;
mod shape;

use crate::config::AgentConfig;
use crate::postgres::site;
use follow::Follower;
use output::Output;
use shape::Shape;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// PostgreSQL's messages that standard output has not taken: more are skipped.
pub const BEHIND: u64 = 32 << 20;
/// The file is then set aside as `agent.log.1`, in place of the one before it.
const LIMIT: u64 = 8 << 20;

/// Where what is logged goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// `agent.log` in the folder for logs.
    Folder,
    /// Standard output: whoever runs containers keeps it.
    Output,
}

/// Sends everything that is logged to `destination`. What it returns is to be finished at the
/// end, so that the last lines come out. It starts a thread, which must not be sent signals.
pub fn start(destination: Destination, config: &AgentConfig) -> io::Result<Option<Output>> {
    match destination {
        Destination::Folder => {
            let folder = config.folder().log();
            std::fs::create_dir_all(&folder)?;
            start_in(Log::open(folder.join("agent.log"))?)?;
            Ok(None)
        }
        Destination::Output => {
            let shape = Shape { logger: "agent", pod: Some(config.instance.to_string()) };
            let log = site::log_among_sockets(&config.folder().run());
            let follower = Follower::open(&log, BEHIND);
            let (output, queue) = Output::start(io::stdout(), shape.clone(), follower)?;
            start_shaped(shape, queue)?;
            Ok(Some(output))
        }
    }
}

/// Sends everything that the operator logs to standard output.
pub fn start_on_output() -> io::Result<()> {
    start_shaped(Shape { logger: "operator", pod: None }, io::stdout)
}

fn start_shaped(
    shape: Shape,
    writer: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
) -> io::Result<()> {
    tracing_subscriber::fmt()
        .event_format(shape)
        .with_max_level(LevelFilter::INFO)
        .with_writer(writer)
        .try_init()
        .map_err(io::Error::other)
}

fn start_in(
    writer: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
) -> io::Result<()> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(LevelFilter::INFO)
        .with_writer(writer)
        .try_init()
        .map_err(io::Error::other)
}

struct Log {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    length: u64,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let open = Mutex::new(open(&path)?);
        Ok(Self { path, open })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut present = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if present.length >= LIMIT {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *present = open(&self.path)?;
        }
        present.file.write_all(line)?;
        present.length += line.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Open> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let length = file.metadata()?.len();
    Ok(Open { file, length })
}

/// One line on its way.
struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.append(piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Box<dyn Write + 'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Box::new(Line(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_set_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.log");
        std::fs::write(&path, vec![b'x'; usize::try_from(LIMIT).unwrap()]).unwrap();
        let log = Log::open(path.clone()).unwrap();
        log.append(b"first\n").unwrap();
        log.append(b"second\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first\nsecond\n");
        let aside = folder.path().join("agent.log.1");
        assert_eq!(std::fs::metadata(aside).unwrap().len(), LIMIT);
    }
}
