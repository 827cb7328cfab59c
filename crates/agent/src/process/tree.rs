//! Kills every process of one PostgreSQL and reaps it, also those that outlived their postmaster.
//!
//! Never returns success while one of them lives: whoever sees [`Dead`] may give the office away.

use crate::process::table::{FolderId, Life, Process, Program, Table};
use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many of the killed are remembered by id; the others are still found in other ways.
const REMEMBERED: usize = 4096;
/// Between two looks at the dying; exit takes them milliseconds.
const PAUSE: Duration = Duration::from_millis(1);

/// Evidence that no process of a PostgreSQL is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dead {
    /// How many had to be killed.
    pub killed: usize,
    pub took: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("opening /proc to see the processes of PostgreSQL")]
    OpenProcesses { source: io::Error },
    #[error("listing the processes of PostgreSQL")]
    ListProcesses { source: io::Error },
    #[error(
        "killing process {id}, which works in the data folder: run the agent as its user or as root"
    )]
    KillProcess { id: i32, source: io::Error },
    #[error(
        "{left} killed processes still exist after {waited:?}, one is {example}: the disk they wait for may hang"
    )]
    AwaitDeath { left: usize, example: i32, waited: Duration },
    #[error("{path:?} cannot be a folder, its name holds a zero byte")]
    NameFolder { path: PathBuf },
    #[error("taking over the orphans of our children")]
    AdoptOrphans { source: io::Error },
}

/// Makes this process the parent of orphaned backends, so that it can reap them.
pub fn adopt_orphans() -> Result<(), TreeError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| TreeError::AdoptOrphans { source: error.into() })
}

/// Finds and kills the processes of the PostgreSQL in one folder. Made once, because it must work
/// when memory is short.
pub struct Reaper {
    folder: CString,
    table: Table,
    /// By id and start: an id alone may belong to a stranger by now.
    killed: Vec<(i32, u64)>,
    own: i32,
    own_session: i32,
}

impl Reaper {
    pub fn new(data: &Path) -> Result<Self, TreeError> {
        let folder = CString::new(data.as_os_str().as_bytes())
            .map_err(|_| TreeError::NameFolder { path: data.to_owned() })?;
        let table = Table::new().map_err(|source| TreeError::OpenProcesses { source })?;
        let own = rustix::process::getpid().as_raw_pid();
        // Not getsid: the leader of our session may be outside of our PID namespace, and then the
        // answer is 0, which is no process id.
        let own_session = table.read(own).map_or(0, |process| process.session);
        Ok(Self { folder, table, killed: Vec::with_capacity(REMEMBERED), own, own_session })
    }

    /// Kills the tree of `postmaster`, if it is known, and everything that works in the folder.
    pub fn kill(&mut self, postmaster: Option<Pid>, within: Duration) -> Result<Dead, TreeError> {
        let began = Instant::now();
        self.killed.clear();
        let mut killed = 0;
        let postmaster = postmaster.filter(|id| self.is_ours(*id));
        if let Some(postmaster) = postmaster {
            // A stopped postmaster starts no new process and reaps none, so that no id of its
            // children can be given to a stranger meanwhile.
            ignore_gone(postmaster, Signal::STOP)?;
        }
        loop {
            self.look(postmaster)?;
            killed += self.kill_chosen()?;
            let left = self.reap_chosen();
            let waited = began.elapsed();
            match left {
                None => return Ok(Dead { killed, took: waited }),
                Some((left, example)) if waited >= within => {
                    return Err(TreeError::AwaitDeath { left, example, waited });
                }
                Some(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// How many processes of the folder live.
    pub fn count(&mut self) -> Result<usize, TreeError> {
        self.killed.clear();
        self.look(None)?;
        let living = |process: &&Process| process.chosen && process.life == Life::Running;
        Ok(self.table.processes.iter().filter(living).count())
    }

    /// Reaps children that others left to us; those we started ourselves share our session.
    pub fn reap_strays(&mut self) -> Result<usize, TreeError> {
        self.table.refresh().map_err(|source| TreeError::ListProcesses { source })?;
        let strays = self.table.processes.iter().filter(|process| {
            process.life == Life::Zombie
                && process.parent == self.own
                && process.session != self.own_session
        });
        Ok(strays.filter(|process| reap(process.id)).count())
    }

    /// The id of a postmaster that ended long ago may belong to a stranger by now.
    fn is_ours(&self, postmaster: Pid) -> bool {
        let id = postmaster.as_raw_pid();
        self.table.read(id).is_some_and(|process| process.parent == self.own)
            || FolderId::of(&self.folder).is_some_and(|folder| self.table.works_in(id, folder))
    }

    /// Takes a snapshot and chooses what belongs to the tree.
    fn look(&mut self, postmaster: Option<Pid>) -> Result<(), TreeError> {
        self.table.refresh().map_err(|source| TreeError::ListProcesses { source })?;
        let folder = FolderId::of(&self.folder);
        let postmaster = postmaster.map(Pid::as_raw_pid);
        for at in 0..self.table.processes.len() {
            let Some(process) = self.table.processes.get(at).copied() else { break };
            let works_here = process.program == Program::Postgres
                && process.life == Life::Running
                && folder.is_some_and(|folder| self.table.works_in(process.id, folder));
            // Only PostgreSQL is looked at by its folder: a person's shell may stand there too.
            let chosen = Some(process.id) == postmaster
                || works_here
                || self.killed.iter().any(|(id, started)| {
                    // A backend leads its own session, and so its children are known by it.
                    *id == process.session || (*id == process.id && *started == process.started)
                });
            if let Some(process) = self.table.processes.get_mut(at) {
                process.chosen = chosen && process.id != self.own;
            }
        }
        self.choose_descendants();
        Ok(())
    }

    /// A child of a chosen process belongs to it; repeated, because ids are in no order of birth.
    fn choose_descendants(&mut self) {
        loop {
            let mut grown = false;
            for at in 0..self.table.processes.len() {
                let Some(process) = self.table.processes.get(at).copied() else { break };
                if process.chosen || process.id == self.own || !self.is_chosen(process.parent) {
                    continue;
                }
                if let Some(process) = self.table.processes.get_mut(at) {
                    process.chosen = true;
                    grown = true;
                }
            }
            if !grown {
                return;
            }
        }
    }

    fn is_chosen(&self, id: i32) -> bool {
        // /proc lists ids in ascending order.
        let found = self.table.processes.binary_search_by_key(&id, |process| process.id);
        found.ok().and_then(|at| self.table.processes.get(at)).is_some_and(|process| process.chosen)
    }

    fn kill_chosen(&mut self) -> Result<usize, TreeError> {
        let mut count = 0;
        for process in &self.table.processes {
            if !process.chosen || process.life == Life::Zombie {
                continue;
            }
            let Some(id) = Pid::from_raw(process.id) else { continue };
            ignore_gone(id, Signal::KILL)?;
            let identity = (process.id, process.started);
            if !self.killed.contains(&identity) {
                count += 1;
                if self.killed.len() < REMEMBERED {
                    self.killed.push(identity);
                }
            }
        }
        Ok(count)
    }

    /// Reaps the dead that are ours; tells how many are still to die, and the id of one of them.
    fn reap_chosen(&self) -> Option<(usize, i32)> {
        let mut left = None;
        for process in self.table.processes.iter().filter(|process| process.chosen) {
            let waits = match process.life {
                Life::Running => true,
                // One whose parent is being killed comes to us when that one is dead. A zombie of
                // any other parent is dead, and reaping it is that parent's business.
                Life::Zombie if process.parent == self.own => !reap(process.id),
                Life::Zombie => self.is_chosen(process.parent),
            };
            if waits {
                left = Some((left.map_or(1, |(count, _)| count + 1), process.id));
            }
        }
        left
    }
}

/// A process that is gone already is what was wanted.
fn ignore_gone(id: Pid, signal: Signal) -> Result<(), TreeError> {
    match rustix::process::kill_process(id, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(TreeError::KillProcess { id: id.as_raw_pid(), source: error.into() }),
    }
}

/// Whether nothing is left of that child: it was reaped here, or by its owner before.
fn reap(id: i32) -> bool {
    let Some(id) = Pid::from_raw(id) else { return true };
    match rustix::process::waitpid(Some(id), WaitOptions::NOHANG) {
        Ok(status) => status.is_some(),
        Err(_) => true,
    }
}
