//! The cluster that is backed up: tables as applications have them, and log that came of writing.
//!
//! Never runs while something is measured that needs no server.

use crate::rig::Site;
use crate::{run, wait};
use anyhow::{Context, Result};
use pgherd_local::account::{self, Account};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_hours(1);
/// Of pgbench's unit, which takes 15 MB, for each gigabyte.
const SCALE: u64 = 40;
/// Seconds of updates after that.
const WRITING: &str = "20";
/// So much log is kept for archiving, at most.
const SEGMENTS: usize = 64;
/// Seconds of updates before it is looked how much log there is.
const A_WHILE: &str = "5";
pub(super) const AUTO: &str = "postgresql.auto.conf";
pub(super) const DURABLE: &str =
    "listen_addresses = ''\nshared_buffers = 512MB\nwal_keep_size = 2GB\n";
const SETTINGS: &str = "listen_addresses = ''\nshared_buffers = 512MB\nmax_wal_size = 4GB\n\
    fsync = off\nautovacuum = off\narchive_mode = on\n";

/// A stopped cluster.
pub(super) struct Subject {
    pub(super) folder: TempDir,
    /// Finished segments of its log, in order.
    pub(super) segments: Vec<PathBuf>,
    bindir: PathBuf,
    account: Account,
}

impl Subject {
    pub(super) fn make(gigabytes: u64, site: &Site) -> Result<Self> {
        let folder = site.folder("pgherd-bench-")?;
        let account = account::choose()?;
        let bindir = site.bindir.clone();
        let mut subject = Self { folder, segments: Vec::new(), bindir, account };
        let log = subject.root().join("log");
        fs::create_dir(&log)?;
        for path in [subject.root(), &log] {
            subject.give_away(path)?;
        }
        let mut initdb = subject.program("initdb");
        initdb.args(["-k", "-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C"]);
        initdb.arg("-D").arg(subject.data());
        run::succeed(initdb, WITHIN)?;
        subject.log_to(&log)?;
        subject.start()?;
        let filled = subject.fill(gigabytes);
        subject.stop()?;
        filled?;
        subject.log_to_nowhere()?;
        subject.segments = finished(&log)?;
        Ok(subject)
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    pub(super) fn bindir(&self) -> &Path {
        &self.bindir
    }

    /// One of PostgreSQL's programs.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bindir.join(name));
        self.put_in_place(&mut command);
        command
    }

    /// Runs as PostgreSQL's user, where its socket is.
    pub(super) fn put_in_place(&self, command: &mut Command) {
        command.current_dir(self.root()).env("LC_ALL", "C.UTF-8");
        command.env("PGHOST", self.root()).env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        if rustix::process::geteuid().is_root() {
            command.uid(self.account.user).gid(self.account.group);
        }
    }

    pub(super) fn start(&self) -> Result<()> {
        let mut start = self.program("pg_ctl");
        let options = format!("-k {}", self.root().display());
        start.args(["-s", "-w", "-t", "300", "-o", &options, "-l"]).arg(self.root().join("said"));
        start.arg("-D").arg(self.data()).arg("start");
        run::succeed(start, WITHIN).map(drop)
    }

    pub(super) fn stop(&self) -> Result<()> {
        let mut stop = self.program("pg_ctl");
        stop.args(["-s", "-w", "-t", "600", "-m", "fast", "-D"]).arg(self.data()).arg("stop");
        run::succeed(stop, WITHIN).map(drop)
    }

    /// Where it was stopped.
    pub(super) fn stopped_at(&self) -> Result<String> {
        const REDO: &str = "Latest checkpoint's REDO location:";
        let mut control = self.program("pg_controldata");
        control.arg(self.data());
        let said = run::succeed(control, WITHIN)?;
        let line = said.lines().find_map(|line| line.strip_prefix(REDO));
        Ok(line.context("pg_controldata names no checkpoint")?.trim().to_owned())
    }

    /// Runs it for transactions that change a page or two at random each.
    pub(super) fn go_on(&self, transactions: u32) -> Result<()> {
        self.start()?;
        let mut pgbench = self.program("pgbench");
        pgbench.args(["-N", "-n", "-c", "4", "-t", &(transactions / 4).to_string()]);
        let done = run::succeed(pgbench, WITHIN);
        self.stop()?;
        done.map(drop)
    }

    /// Lets it write until so many segments are finished; they lie in a new folder of that name.
    pub(super) fn write_log(&self, name: &str, segments: usize) -> Result<Vec<PathBuf>> {
        let log = self.root().join(name);
        fs::create_dir(&log)?;
        self.give_away(&log)?;
        self.log_to(&log)?;
        self.start()?;
        let mut written = self.update(A_WHILE);
        while written.is_ok() && names(&log)?.len() < segments {
            written = self.update(A_WHILE);
        }
        self.stop()?;
        written?;
        self.log_to_nowhere()?;
        names(&log)
    }

    fn log_to(&self, log: &Path) -> Result<()> {
        let archive = format!("archive_command = 'cp %p {}/%f'\n", log.display());
        self.configure(&format!("{SETTINGS}{archive}"))
    }

    /// From now on it is as durable as others are.
    fn log_to_nowhere(&self) -> Result<()> {
        self.configure(DURABLE)
    }

    fn configure(&self, settings: &str) -> Result<()> {
        Ok(fs::write(self.data().join(AUTO), settings)?)
    }

    /// The first process of the running server.
    pub(super) fn server(&self) -> Result<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid"))?;
        Ok(text.lines().next().context("postmaster.pid is empty")?.trim().parse()?)
    }

    /// Half of it as pgbench makes it, some that cannot be packed, some text, and updates.
    fn fill(&self, gigabytes: u64) -> Result<()> {
        let scale = (SCALE * gigabytes).to_string();
        let mut pgbench = self.program("pgbench");
        pgbench.args(["-i", "-q", "-s", &scale]);
        run::succeed(pgbench, WITHIN)?;
        let uuids = ["gen_random_uuid()"; 8].join(", ");
        for sql in [
            format!(
                "create table noise as select array[{uuids}] as all from generate_series(1, {})",
                600_000 * gigabytes
            ),
            format!(
                "create table words as select n, repeat(md5((n / 3)::text), 4) || n as text \
                 from generate_series(1, {}) n",
                800_000 * gigabytes
            ),
            "create index on words (text)".to_owned(),
            "create index on words (n)".to_owned(),
        ] {
            wait::go_on()?;
            let mut psql = self.program("psql");
            psql.args(["-Xqc", &sql]);
            run::succeed(psql, WITHIN)?;
        }
        self.update(WRITING)
    }

    fn update(&self, seconds: &str) -> Result<()> {
        let mut pgbench = self.program("pgbench");
        pgbench.args(["-N", "-n", "-c", "4", "-T", seconds]);
        run::succeed(pgbench, WITHIN).map(drop)
    }

    fn give_away(&self, path: &Path) -> Result<()> {
        let (user, group) = (self.account.user, self.account.group);
        std::os::unix::fs::chown(path, Some(user), Some(group))
            .with_context(|| format!("giving {} away", path.display()))
    }

    /// The same for all that is in a folder.
    pub(super) fn give_all_away(&self, folder: &Path) -> Result<()> {
        let mut chown = Command::new("chown");
        chown.args(["-R", "--reference"]).arg(self.data()).arg(folder);
        run::succeed(chown, WITHIN).map(drop)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            let _finishing = wait::finishing();
            if let Err(error) = self.stop() {
                crate::complain(&format!("{error:#}"));
            }
        }
    }
}

/// The last ones are what updates made, the first what loading did: some of both.
fn finished(log: &Path) -> Result<Vec<PathBuf>> {
    let mut all = names(log)?;
    let surplus = all.len().saturating_sub(SEGMENTS);
    let (kept, removed) = (all.split_off(surplus), all);
    for path in removed {
        fs::remove_file(path)?;
    }
    Ok(kept)
}

/// The segments in that folder, in order.
pub(super) fn names(log: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.len() == 24) {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}
