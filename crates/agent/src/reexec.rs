//! Replaces the running agent by the program that is installed now, and keeps PostgreSQL.
//!
//! Never hands anything to another process than this very one: PostgreSQL stays its child, and
//! what was only in memory goes through a private file that names it.

use crate::config::Folder;
use crate::durable::{self, Access, DurableError};
use crate::events::Events;
use crate::perform::Manner;
use jiff::Timestamp;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use pgherd_core::seen::Seen;
use pgherd_core::units::{Epoch, Time};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const THIS_PROGRAM: &str = "/proc/self/exe";

#[derive(Debug, thiserror::Error)]
pub enum ReexecError {
    #[error("handing over what is in memory")]
    HandOver(#[source] DurableError),
    #[error("reading what another program would hand over")]
    Understand(#[source] DurableError),
    #[error("nothing is handed over in {path:?}")]
    Miss { path: PathBuf },
    #[error("reading who this process is")]
    Identify { source: io::Error },
    #[error("holding signals back")]
    HoldSignals { source: io::Error },
    #[error("becoming {program:?}")]
    Become { program: PathBuf, source: io::Error },
}

/// What only this process knows, and its next program must.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Handover {
    pub seen: Seen,
    /// The process id of PostgreSQL, when it runs.
    pub postmaster: Option<i32>,
    pub manner: Manner,
    pub events: Events,
    pub started: Timestamp,
    /// The deadline that PostgreSQL lives under, with its epoch.
    pub armed: Option<(Epoch, Time)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    to: Process,
    handover: Handover,
}

/// One process of one boot; the same before and after it executes another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    boot: String,
    id: u32,
    /// In clock ticks since boot: an id alone may be used again.
    started: String,
}

/// The program to become: where it was found at the start, whatever is there by then.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from(THIS_PROGRAM))
}

/// What an earlier program of this very process handed over. It is given once.
pub fn taken_over(folder: &Folder) -> Result<Option<Handover>, ReexecError> {
    let path = letter(folder);
    if !path.exists() {
        return Ok(None);
    }
    // A damaged one tells nothing, and is nobody's memory of a promise.
    let letter: Option<Letter> = durable::load(&path).unwrap_or_default();
    durable::remove(&path).map_err(ReexecError::HandOver)?;
    let own = this_process()?;
    Ok(letter.filter(|letter| letter.to == own).map(|letter| letter.handover))
}

/// Becomes `program` with the arguments of this one. Returns only when that failed; then nothing
/// has changed.
/// A way to the program of this agent that PostgreSQL can take, which runs as the same user: where its
/// file lies that user may not go, or the file is gone by now.
pub fn reachable(program: PathBuf) -> PathBuf {
    match rustix::fs::access(&program, rustix::fs::Access::EXEC_OK) {
        Ok(()) => program,
        Err(_) => PathBuf::from(format!("/proc/{}/exe", std::process::id())),
    }
}

pub fn reexecute(folder: &Folder, program: &Path, handover: Handover) -> ReexecError {
    match attempt(folder, program, handover) {
        Ok(never) => match never {},
        Err(error) => {
            let _outdated = durable::remove(&letter(folder));
            let _as_before = release_signals();
            error
        }
    }
}

fn attempt(
    folder: &Folder,
    program: &Path,
    handover: Handover,
) -> Result<std::convert::Infallible, ReexecError> {
    hand_over(folder, handover)?;
    hold_signals()?;
    let failed = |source: io::Error| ReexecError::Become { program: program.to_owned(), source };
    let words: Result<Vec<CString>, _> = std::env::args_os().map(word).collect();
    let words = words.map_err(failed)?;
    let path = word(program.as_os_str().to_owned()).map_err(failed)?;
    nix::unistd::execv(&path, &words)
        // The file may be gone, or out of reach for this user; the running program never is.
        .or_else(|_| nix::unistd::execv(c"/proc/self/exe", &words))
        .map_err(|error| failed(error.into()))
}

pub(crate) fn hand_over(folder: &Folder, handover: Handover) -> Result<(), ReexecError> {
    write_letter(&letter(folder), handover)
}

/// Writes what a next program would have to go on with.
pub(crate) fn write_letter(path: &Path, handover: Handover) -> Result<(), ReexecError> {
    let letter_to_self = Letter { to: this_process()?, handover };
    durable::save(path, &letter_to_self, Access::PRIVATE).map_err(ReexecError::HandOver)
}

/// Whether this program could go on with what is in the letter `path`.
pub fn understand(path: &Path) -> Result<(), ReexecError> {
    let letter: Option<Letter> = durable::load(path).map_err(ReexecError::Understand)?;
    let missing = || ReexecError::Miss { path: path.to_owned() };
    letter.map(drop).ok_or_else(missing)
}

fn word(argument: OsString) -> io::Result<CString> {
    CString::new(argument.into_vec()).map_err(io::Error::other)
}

/// Signals that arrive while nobody handles them would kill the process: they wait instead.
pub fn hold_signals() -> Result<(), ReexecError> {
    change_mask(SigmaskHow::SIG_BLOCK)
}

pub fn release_signals() -> Result<(), ReexecError> {
    change_mask(SigmaskHow::SIG_UNBLOCK)
}

fn change_mask(how: SigmaskHow) -> Result<(), ReexecError> {
    let signals: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect();
    pthread_sigmask(how, Some(&signals), None)
        .map_err(|error| ReexecError::HoldSignals { source: error.into() })
}

fn letter(folder: &Folder) -> PathBuf {
    folder.run().join("handover.json")
}

fn this_process() -> Result<Process, ReexecError> {
    let read = |path: &str| std::fs::read(path).map_err(|source| ReexecError::Identify { source });
    let boot = read("/proc/sys/kernel/random/boot_id")?;
    let stat = read("/proc/self/stat")?;
    // The name in parentheses may hold anything, and changes with the program.
    let after_name = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    let fields = String::from_utf8_lossy(stat.get(after_name..).unwrap_or_default()).into_owned();
    Ok(Process {
        boot: String::from_utf8_lossy(boot.trim_ascii()).into_owned(),
        id: std::process::id(),
        started: fields.split_whitespace().nth(20).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pgherd_core::names::InstanceName;
    use pgherd_core::record::Holder;
    use pgherd_core::seen::Durable;
    use std::time::Duration;

    pub(crate) fn handover() -> Handover {
        let instance = InstanceName::parse("db-1").unwrap();
        let me = Holder { instance, volume: 1, incarnation: 2 };
        Handover {
            seen: Seen::new(me, Durable::default(), Time(7), Duration::ZERO),
            postmaster: Some(42),
            manner: Manner::default(),
            events: Events::new(Timestamp::UNIX_EPOCH),
            started: Timestamp::UNIX_EPOCH,
            armed: Some((Epoch(3), Time(9))),
        }
    }

    pub(crate) fn folder(root: &Path) -> Folder {
        let folder = Folder::at(root.to_owned());
        std::fs::create_dir_all(folder.run()).unwrap();
        folder
    }

    fn leave_letter(folder: &Folder, to: Process) {
        let left = Letter { to, handover: handover() };
        durable::save(&letter(folder), &left, Access::PRIVATE).unwrap();
    }

    #[test]
    fn what_was_handed_over_is_taken_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        leave_letter(&folder, this_process().unwrap());
        let taken = taken_over(&folder).unwrap().unwrap();
        assert_eq!((taken.seen, taken.postmaster), (handover().seen, Some(42)));
        assert!(taken_over(&folder).unwrap().is_none());
    }

    #[test]
    fn a_letter_is_understood_or_refused_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("trial.json");
        assert!(matches!(understand(&path), Err(ReexecError::Miss { .. })));
        write_letter(&path, handover()).unwrap();
        understand(&path).unwrap();
        durable::save(&path, &"of a later form", Access::PRIVATE).unwrap();
        assert!(matches!(understand(&path), Err(ReexecError::Understand(_))));
        assert!(path.exists());
    }

    #[test]
    fn another_process_takes_nothing_over() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let own = this_process().unwrap();
        assert!(own.started.parse::<u64>().is_ok(), "{own:?}");
        for other in [
            Process { id: own.id + 1, ..own.clone() },
            Process { boot: "another".to_owned(), ..own.clone() },
            Process { started: "1".to_owned(), ..own.clone() },
        ] {
            leave_letter(&folder, other);
            assert!(taken_over(&folder).unwrap().is_none());
            assert!(!letter(&folder).exists());
        }
    }
}
