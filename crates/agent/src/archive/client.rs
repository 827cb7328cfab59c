//! The other end of the agent's socket: what PostgreSQL runs as its commands.
//!
//! Never waits without a bound, and needs no runtime: PostgreSQL starts it for every file.

use super::exchange::{LONGEST, Reply, Request};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than the agent takes for any answer.
const ARCHIVING: Duration = Duration::from_mins(1);
/// A standby asks again anyhow, and until it may do so it cannot be promoted.
const FETCHING: Duration = Duration::from_secs(2);
/// Longer than the agent tries to reach an archive.
const RECOVERING: Duration = Duration::from_mins(30);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("asking the agent at {path:?}: is it running?")]
    Ask { path: PathBuf, source: io::Error },
    #[error("the agent at {path:?} has gone while it was asked")]
    Answer { path: PathBuf },
}

/// Asks the agent, and waits for its answer.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, ClientError> {
    let failed = |source| ClientError::Ask { path: socket.to_owned(), source };
    let patience = match request {
        Request::Archive { .. } => ARCHIVING,
        Request::Fetch { .. } => FETCHING,
        Request::Recover { .. } => RECOVERING,
    };
    let line = exchange(socket, request, patience).map_err(failed)?;
    Reply::parse(&line).ok_or_else(|| ClientError::Answer { path: socket.to_owned() })
}

fn exchange(socket: &Path, request: &Request, patience: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request.to_string().as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST as u64)).read_line(&mut line)?;
    Ok(line)
}
