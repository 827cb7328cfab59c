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
        let archive = format!("archive_command = 'cp %p {}/%f'\n", log.display());
        let settings = subject.data().join("postgresql.auto.conf");
        fs::write(&settings, format!("{SETTINGS}{archive}"))?;
        subject.start()?;
        let filled = subject.fill(gigabytes);
        subject.stop()?;
        filled?;
        // From now on it is as durable as others are.
        fs::write(
            &settings,
            "listen_addresses = ''\nshared_buffers = 512MB\nwal_keep_size = 2GB\n",
        )?;
        subject.segments = finished(&log)?;
        Ok(subject)
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// As PostgreSQL's user, where its socket is.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bindir.join(name));
        command.current_dir(self.root()).env("LC_ALL", "C.UTF-8");
        command.env("PGHOST", self.root()).env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        if rustix::process::geteuid().is_root() {
            command.uid(self.account.user).gid(self.account.group);
        }
        command
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
        let mut pgbench = self.program("pgbench");
        pgbench.args(["-N", "-n", "-c", "4", "-T", WRITING]);
        run::succeed(pgbench, WITHIN).map(drop)
    }

    fn give_away(&self, path: &Path) -> Result<()> {
        let (user, group) = (self.account.user, self.account.group);
        std::os::unix::fs::chown(path, Some(user), Some(group))
            .with_context(|| format!("giving {} away", path.display()))
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
    let mut all = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.len() == 24) {
            all.push(path);
        }
    }
    all.sort();
    let surplus = all.len().saturating_sub(SEGMENTS);
    let (kept, removed) = (all.split_off(surplus), all);
    for path in removed {
        fs::remove_file(path)?;
    }
    Ok(kept)
}
