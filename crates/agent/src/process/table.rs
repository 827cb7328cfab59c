//! A snapshot of the machine's processes, read from /proc into buffers that are kept.
//!
//! Never allocates while reading, unless there are more processes than it was made for.

use pgherd_core::units::Time;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use std::ffi::CStr;
use std::io;

const PROCESSES: usize = 8192;
const NAMES_BYTES: usize = 64 * 1024;
/// Longer than any line of /proc/N/stat up to the fields read here.
const LINE_BYTES: usize = 512;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// In clock ticks since boot: tells a process from a later one with the same id.
    pub(crate) started: u64,
    pub(crate) life: Life,
    pub(crate) program: Program,
    /// Set by those who choose among the processes.
    pub(crate) chosen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Dead and waiting to be reaped.
    Zombie,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The server, or a tool of PostgreSQL's that writes to a folder that it works in.
    Postgres,
    Other,
}

/// The identity of a folder, whatever its name becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    pub(crate) fn of(folder: &CStr) -> Option<Self> {
        rustix::fs::stat(folder).ok().map(Self::from_stat)
    }

    fn from_stat(stat: rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

pub(crate) struct Table {
    proc: OwnedFd,
    names: Vec<u8>,
    pub(crate) processes: Vec<Process>,
}

impl Table {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            proc: rustix::fs::open(c"/proc", flags, Mode::empty())?,
            names: Vec::with_capacity(NAMES_BYTES),
            processes: Vec::with_capacity(PROCESSES),
        })
    }

    /// Takes a new snapshot. A process that ends meanwhile is in it or not.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        self.processes.clear();
        rustix::fs::seek(&self.proc, SeekFrom::Start(0))?;
        let mut folder = RawDir::new(self.proc.as_fd(), self.names.spare_capacity_mut());
        while let Some(entry) = folder.next() {
            let entry = entry?;
            if let Some(id) = number(entry.file_name().to_bytes())
                && let Some(process) = read_process(self.proc.as_fd(), id)
            {
                self.processes.push(process);
            }
        }
        Ok(())
    }

    /// One process, as it is now.
    pub(crate) fn read(&self, id: i32) -> Option<Process> {
        read_process(self.proc.as_fd(), id)
    }

    /// Whether the process works in that folder, as every process of a PostgreSQL does.
    pub(crate) fn works_in(&self, id: i32, folder: FolderId) -> bool {
        let mut path = [0; LINE_BYTES];
        let link = path_of(&mut path, id, b"/cwd");
        link.and_then(|link| rustix::fs::statat(&self.proc, link, AtFlags::empty()).ok())
            .is_some_and(|stat| FolderId::from_stat(stat) == folder)
    }
}

/// When a process was started, on the clock of deadlines. The kernel counts in hundredths of a
/// second wherever Linux runs.
pub(crate) fn started(id: i32) -> Option<Time> {
    const TICK_MICROSECONDS: u64 = 10_000;
    let proc =
        rustix::fs::open(c"/proc", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let process = read_process(&proc, id)?;
    Some(Time(process.started.saturating_mul(TICK_MICROSECONDS)))
}

fn read_process(proc: impl AsFd, id: i32) -> Option<Process> {
    let mut path = [0; LINE_BYTES];
    let path = path_of(&mut path, id, b"/stat")?;
    let file =
        rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut line = [0_u8; LINE_BYTES];
    let length = rustix::io::read(&file, &mut line).ok()?;
    parse(id, line.get(..length)?)
}

/// Reads `id (name) state parent group session ...`; the name may hold anything.
fn parse(id: i32, line: &[u8]) -> Option<Process> {
    let opening = line.iter().position(|byte| *byte == b'(')?;
    let closing = line.iter().rposition(|byte| *byte == b')')?;
    let name = line.get(opening + 1..closing)?;
    let mut fields = line.get(closing + 2..)?.split(|byte| *byte == b' ');
    let life = match fields.next()? {
        b"Z" | b"X" | b"x" => Life::Zombie,
        _ => Life::Running,
    };
    let parent = number(fields.next()?)?;
    let session = number(fields.nth(1)?)?;
    let started = std::str::from_utf8(fields.nth(15)?).ok()?.trim_end().parse().ok()?;
    let program = match name {
        b"postgres" | b"pg_rewind" | b"pg_basebackup" | b"initdb" | b"pg_dump" | b"pg_restore" => {
            Program::Postgres
        }
        _ => Program::Other,
    };
    Some(Process { id, parent, session, started, life, program, chosen: false })
}

fn number(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn path_of<'a>(buffer: &'a mut [u8; LINE_BYTES], id: i32, rest: &[u8]) -> Option<&'a CStr> {
    use std::io::Write;
    let mut cursor = buffer.as_mut_slice();
    write!(cursor, "{id}").ok()?;
    cursor.write_all(rest).ok()?;
    cursor.write_all(&[0]).ok()?;
    CStr::from_bytes_until_nul(buffer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let rest = "0 -1 4194560 1 0 0 0 4 5 0 0 20 0 1 0";
        let read = parse(7, format!("7 (a) b) Z 3 7 9 {rest} 4242 0 0").as_bytes()).unwrap();
        assert_eq!((read.parent, read.session, read.life), (3, 9, Life::Zombie));
        assert_eq!(read.started, 4242);
        let read = parse(8, format!("8 (postgres) S 3 7 8 {rest} 1").as_bytes()).unwrap();
        assert_eq!((read.program, read.life), (Program::Postgres, Life::Running));
        assert!(parse(9, b"9 (x").is_none());
    }

    #[test]
    fn this_process_is_in_its_own_snapshot() {
        let mut table = Table::new().unwrap();
        table.refresh().unwrap();
        table.refresh().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(table.processes.iter().filter(|process| process.id == own).count(), 1);
        let here = FolderId::of(c".").unwrap();
        assert!(table.works_in(own, here));
        assert!(!table.works_in(own, FolderId::of(c"/proc").unwrap()));
    }
}
