//! `pgherd wal-archive`, `wal-restore` and `wal-recover`: what PostgreSQL runs for each file of its log.
//!
//! Never does the work: it asks the agent, and tells PostgreSQL by the exit code what came of it.
#![expect(clippy::print_stderr, reason = "PostgreSQL puts it into its log")]

use pgherd_agent::archive::client::{self, ClientError};
use pgherd_agent::archive::exchange::{Reply, Request};
use pgherd_agent::chain::chain;
use pgherd_core::wal::{WalFile, WalFileError};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// PostgreSQL asks again.
const FAILED: u8 = 1;
/// Above 125, PostgreSQL does not.
const STOP: u8 = 126;

#[derive(Debug, thiserror::Error)]
enum WalError {
    #[error(
        "PostgreSQL runs this: pgherd wal-archive --socket PATH FILE, or pgherd wal-restore or \
         wal-recover --socket PATH NAME TARGET"
    )]
    Usage,
    #[error("reading what PostgreSQL asks for")]
    Name(#[source] WalFileError),
    #[error("reaching the agent")]
    Ask(#[source] ClientError),
}

/// Does it if these words are one of the two commands. Other commands are parsed with help and
/// completion, which takes longer than the whole of this.
pub(crate) fn answered(words: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = words.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let request = match words.as_slice() {
        ["wal-archive", "--socket", socket, path] => archive(path).map(|it| (*socket, it)),
        ["wal-restore", "--socket", socket, name, path] => {
            restore(name, path).map(|it| (*socket, it))
        }
        ["wal-recover", "--socket", socket, name, path] => {
            return Some(ExitCode::from(recover(Path::new(socket), name, path)));
        }
        ["wal-archive" | "wal-restore" | "wal-recover", ..] => Err(WalError::Usage),
        _ => return None,
    };
    let reply = request.and_then(|(socket, request)| {
        client::ask(Path::new(socket), &request).map_err(WalError::Ask)
    });
    Some(ExitCode::from(match reply {
        Ok(Reply::Done) => 0,
        // Standbys ask for much that is not there: that is nothing to tell.
        Ok(Reply::Absent) => FAILED,
        Ok(Reply::Failed(why)) => told(&why, FAILED),
        Ok(Reply::Stop(why)) => told(&why, STOP),
        Err(error) => told(&chain(&error).to_string(), FAILED),
    }))
}

/// A file that is not there is the end of the log; whatever else keeps it from coming must not be
/// taken for that, so PostgreSQL is stopped.
fn recover(socket: &Path, name: &str, path: &str) -> u8 {
    let request = WalFile::parse(name).map_err(WalError::Name).map(|file| {
        let target = last(path).to_owned();
        Request::Recover { file, target }
    });
    let reply = request.and_then(|it| client::ask(socket, &it).map_err(WalError::Ask));
    match reply {
        Ok(Reply::Done) => 0,
        Ok(Reply::Absent) => FAILED,
        Ok(Reply::Failed(why) | Reply::Stop(why)) => told(&why, STOP),
        Err(error) => told(&chain(&error).to_string(), STOP),
    }
}

fn told(why: &str, code: u8) -> u8 {
    eprintln!("pgherd: {why}");
    code
}

fn archive(path: &str) -> Result<Request, WalError> {
    let file = WalFile::parse(last(path)).map_err(WalError::Name)?;
    Ok(Request::Archive { file })
}

fn restore(name: &str, path: &str) -> Result<Request, WalError> {
    let file = WalFile::parse(name).map_err(WalError::Name)?;
    Ok(Request::Fetch { file, target: last(path).to_owned() })
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
