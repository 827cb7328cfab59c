//! Finds the processes of an instance by where they work and what they are, and signals them.
//!
//! Never trusts a number alone: a process is told from a later one with the same id by its start.
//! Never touches what people run in the same folder: a shell is nobody of ours.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    #[error("listing the processes of this machine")]
    List { source: io::Error },
    #[error("sending {signal} to process {id}")]
    Signal { signal: &'static str, id: u32, source: io::Error },
}

/// A process of an instance that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub id: u32,
    /// Clock ticks after boot.
    pub started: u64,
    pub life: Life,
    pub part: Part,
    /// Its folder was removed while it works there; another one may have the name by now.
    pub removed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Stopped by a signal.
    Frozen,
}

/// What a process is to its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Agent,
    /// The first process of PostgreSQL.
    Postmaster,
    /// Another process of PostgreSQL, or a tool that the agent started.
    Other,
}

/// What is done to a process from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Terminate,
    Kill,
    Freeze,
    Thaw,
}

impl Act {
    fn signal(self) -> (Signal, &'static str) {
        match self {
            Self::Terminate => (Signal::TERM, "SIGTERM"),
            Self::Kill => (Signal::KILL, "SIGKILL"),
            Self::Freeze => (Signal::STOP, "SIGSTOP"),
            Self::Thaw => (Signal::CONT, "SIGCONT"),
        }
    }
}

/// The programs that an agent runs, as the kernel knows their names.
const PROGRAMS: [&str; 10] = [
    "postgres",
    "initdb",
    "pg_basebackup",
    "pg_rewind",
    "pg_controldata",
    "pg_waldump",
    "pg_archivecleanup",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
];
/// What the kernel adds to the name of a folder that was removed.
const REMOVED: &str = " (deleted)";
/// Our own program, also when it was started by way of /proc/self/exe.
const OWN: [&str; 2] = ["pgherd", "exe"];

/// Our processes that work in `instance`, the folder of an instance, or below it.
pub fn of(instance: &Path) -> Result<Vec<Process>, ProcessesError> {
    working_in(instance, is_ours)
}

/// All processes that work in `folder` or below it, whoever's: for folders in which nobody looks
/// around.
pub fn anybodys(folder: &Path) -> Result<Vec<Process>, ProcessesError> {
    working_in(folder, |_, _| true)
}

fn working_in(
    folder: &Path,
    counts: impl Fn(&str, &[String]) -> bool,
) -> Result<Vec<Process>, ProcessesError> {
    let list = |source| ProcessesError::List { source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let id = name.to_str().and_then(|name| name.parse().ok());
        // A process that ends meanwhile is not in the list.
        if let Some(process) = id.and_then(|id| look(id, folder, &counts)) {
            found.push(process);
        }
    }
    Ok(found)
}

/// The process that is the network of the cluster in `folder`.
pub fn network_of(folder: &Path) -> Result<Option<Process>, ProcessesError> {
    let here = |id| std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd == folder);
    find(|id, words| words.get(1..3) == Some(&["local".into(), "network".into()]) && here(id))
}

/// The supervisor of the cluster in `folder`.
pub fn supervisor_of(folder: &Path) -> Result<Option<Process>, ProcessesError> {
    let supervise = ["local", "supervise", "--staying", "--dir"].map(String::from);
    let (home, name) = (folder.parent(), folder.file_name());
    find(|_, words| {
        words.get(1..5) == Some(&supervise)
            && words.get(5).map(Path::new) == home
            && words.get(7).map(OsStr::new) == name
    })
}

fn find(is: impl Fn(u32, &[String]) -> bool) -> Result<Option<Process>, ProcessesError> {
    let list = |source| ProcessesError::List { source };
    for entry in std::fs::read_dir("/proc").map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if arguments(id).is_some_and(|words| is(id, &words))
            && let Some(stat) = stat(id)
            && let Some(life) = stat.life
        {
            return Ok(Some(Process {
                id,
                started: stat.started,
                life,
                part: Part::Other,
                removed: false,
            }));
        }
    }
    Ok(None)
}

/// Does `act` to a process, unless that process has ended.
pub fn act_on(process: &Process, act: Act) -> Result<(), ProcessesError> {
    let (signal, name) = act.signal();
    let failed = |source: rustix::io::Errno| ProcessesError::Signal {
        signal: name,
        id: process.id,
        source: source.into(),
    };
    let Some(handle) = open(process).map_err(failed)? else { return Ok(()) };
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// A handle that becomes readable when the process ends; `None` when it has.
pub fn watch(process: &Process) -> Result<Option<OwnedFd>, ProcessesError> {
    open(process).map_err(|source| ProcessesError::Signal {
        signal: "no signal",
        id: process.id,
        source: source.into(),
    })
}

fn open(process: &Process) -> rustix::io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.id).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let handle = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        other => other?,
    };
    // The handle is of whoever has the id now; only its start says that this is still the one.
    let same = stat(process.id).is_some_and(|stat| stat.started == process.started);
    Ok(same.then_some(handle))
}

fn look(id: u32, instance: &Path, counts: impl Fn(&str, &[String]) -> bool) -> Option<Process> {
    let link = std::fs::read_link(format!("/proc/{id}/cwd")).ok()?;
    let before = link.to_str().and_then(|link| link.strip_suffix(REMOVED)).map(PathBuf::from);
    let removed = before.is_some();
    let folder = before.unwrap_or(link);
    if !folder.starts_with(instance) {
        return None;
    }
    let (stat, words) = (stat(id)?, arguments(id)?);
    if !counts(&stat.name, &words) {
        return None;
    }
    let part = part(&folder, instance, id, &words);
    Some(Process { id, started: stat.started, life: stat.life?, part, removed })
}

fn is_ours(name: &str, words: &[String]) -> bool {
    let command = words.get(1).map(String::as_str);
    // `pgherd local` is what people run.
    let own = OWN.contains(&name) && command.is_some_and(|command| command != "local");
    // The kernel cuts names after 15 bytes.
    own || PROGRAMS.iter().any(|program| program.get(..15).unwrap_or(program) == name)
}

fn part(folder: &Path, instance: &Path, id: u32, arguments: &[String]) -> Part {
    if folder == instance && arguments.get(1).is_some_and(|word| word == "agent") {
        return Part::Agent;
    }
    let leads = folder == data(instance) && postmaster(instance) == Some(id);
    if leads { Part::Postmaster } else { Part::Other }
}

fn data(instance: &Path) -> PathBuf {
    instance.join("pgdata")
}

fn postmaster(instance: &Path) -> Option<u32> {
    let content = std::fs::read_to_string(data(instance).join("postmaster.pid")).ok()?;
    content.lines().next()?.trim().parse().ok()
}

fn arguments(id: u32) -> Option<Vec<String>> {
    let content = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    Some(
        content.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect(),
    )
}

struct Stat {
    name: String,
    started: u64,
    /// None: it has ended and is not reaped yet.
    life: Option<Life>,
}

fn stat(id: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// Reads `id (name) state ...`; the name may hold anything, and the 22nd field is the start.
fn parse_stat(line: &str) -> Option<Stat> {
    let (begin, rest) = line.rsplit_once(") ")?;
    let (_, name) = begin.split_once('(')?;
    let mut fields = rest.split(' ');
    let life = match fields.next()? {
        "Z" | "X" | "x" => None,
        "T" | "t" => Some(Life::Frozen),
        _ => Some(Life::Running),
    };
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { name: name.to_owned(), started, life })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "waited in vain: {what}");
            std::thread::yield_now();
        }
    }

    /// A process that sleeps, under the name of a program.
    fn sleeper(program: &str, folder: &Path) -> Child {
        let path = folder.join(program);
        if !path.exists() {
            // By a process of its own: a child of another test would hold the file open for writing
            // until it runs something else, and what is open like that cannot be run.
            assert!(Command::new("cp").arg("/bin/sleep").arg(&path).status().unwrap().success());
        }
        Command::new(path).arg("60").current_dir(folder).spawn().unwrap()
    }

    #[test]
    fn processes_are_found_by_where_they_work() {
        let folder = tempfile::tempdir().unwrap();
        let instance = folder.path().canonicalize().unwrap();
        let data = instance.join("pgdata");
        std::fs::create_dir(&data).unwrap();
        let mut children = [
            sleeper("postgres", &data),
            sleeper("postgres", &data),
            sleeper("pg_rewind", &instance),
            sleeper("bash", &data),
        ];
        std::fs::write(data.join("postmaster.pid"), format!("{}\n/data\n", children[0].id()))
            .unwrap();
        let found = of(&instance).unwrap();
        assert!(found.iter().all(|process| !process.removed));
        let part = |child: &Child| found.iter().find(|p| p.id == child.id()).map(|p| p.part);
        assert_eq!(
            children.each_ref().map(part),
            [Some(Part::Postmaster), Some(Part::Other), Some(Part::Other), None]
        );
        std::fs::remove_dir_all(&instance).unwrap();
        let left = of(&instance).unwrap();
        assert_eq!((left.len(), left.iter().all(|process| process.removed)), (3, true));
        for child in &mut children {
            child.kill().unwrap();
        }
        // Dead but not reaped: they have ended all the same.
        until("the end of all", || of(&instance).unwrap().is_empty().then_some(()));
        for child in &mut children {
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_is_frozen_thawed_and_killed_and_no_other_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let instance = folder.path().canonicalize().unwrap();
        let mut child = sleeper("postgres", &instance);
        let only = || of(&instance).unwrap().into_iter().next();
        let process = only().unwrap();
        let is = |life| move || only().filter(|process| process.life == life);
        act_on(&process, Act::Freeze).unwrap();
        until("frozen", is(Life::Frozen));
        act_on(&process, Act::Thaw).unwrap();
        until("thawed", is(Life::Running));

        let other = Process { started: process.started + 1, ..process.clone() };
        act_on(&other, Act::Kill).unwrap();
        assert!(watch(&other).unwrap().is_none());
        assert!(watch(&process).unwrap().is_some());
        assert!(child.try_wait().unwrap().is_none());

        act_on(&process, Act::Kill).unwrap();
        child.wait().unwrap();
        act_on(&process, Act::Kill).unwrap();
        assert!(watch(&process).unwrap().is_none());
    }

    #[test]
    fn what_people_run_is_not_ours() {
        let ours = |name: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            is_ours(name, &words)
        };
        assert!(ours("postgres", &["postgres: checkpointer"]));
        assert!(ours("exe", &["pgherd", "agent", "--config", "x"]));
        assert!(!ours("pgherd", &["pgherd", "local", "logs", "-f"]));
        assert!(!ours("bash", &["bash"]));
        assert!(!ours("psql", &["psql"]));
    }

    #[test]
    fn a_name_may_hold_anything() {
        let line = "7 (a) b) T 1 7 7 0 -1 4194560 1 0 0 0 4 5 0 0 20 0 1 0 4242 9 9";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.started, stat.life), (4242, Some(Life::Frozen)));
        assert_eq!(stat.name, "a) b");
        assert!(parse_stat("7 (x").is_none());
    }
}
