//! A cluster of one that clients write to, made by the commands that people use.
//!
//! Never leaves a process or a folder behind.

use super::engine::Packing;
use super::peers::BackRest;
use crate::object_store::{ACCESS_KEY, BUCKET, ObjectStore, SECRET_KEY};
use crate::rig::{Site, pgherd};
use crate::{run, wait};
use anyhow::{Context, Result};
use pgherd_core::wal::Segment;
use pgherd_local::account::{self, Account};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

pub(super) const NAME: &str = "written";
/// Of its objects in a bucket.
pub(super) const PREFIX: &str = "stored";
const WITHIN: Duration = Duration::from_mins(5);
/// Of pgbench's unit, which takes 15 MB.
const SCALE: &str = "20";
const CLIENTS: &str = "4";
/// What the owner of the tables may do beside writing to them.
const GRANTS: &str = "grant execute on function pg_switch_wal() to app; grant pg_checkpoint to app";
/// No checkpoint falls into what is measured.
const SETTINGS: &str =
    "shared_buffers: 512MB, max_wal_size: 8GB, checkpoint_timeout: 30min, autovacuum: 'off'";

/// Where its log goes, by its own agent.
#[derive(Clone, Copy)]
pub(super) enum Goes<'a> {
    Nowhere,
    ToFolder(&'a Path, Stream),
    ToBucket(&'a ObjectStore, Stream),
}

/// Whether it goes before its segments are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    On,
    Off,
}

pub(super) struct Primary {
    program: PathBuf,
    bindir: PathBuf,
    account: Account,
    folder: TempDir,
    uri: String,
    /// Who keeps it up.
    keeper: Keeper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Agent,
    Nobody,
}

impl Primary {
    /// With tables in it.
    pub(super) fn start(site: &Site, goes: Goes<'_>, packing: Packing) -> Result<Self> {
        let mut primary = Self {
            program: pgherd::program()?,
            bindir: site.bindir.clone(),
            account: account::choose()?,
            folder: site.folder("pgherd-written-")?,
            uri: String::new(),
            keeper: Keeper::Agent,
        };
        let manifest = primary.root().join("cluster.yaml");
        fs::write(&manifest, goes.declared(packing))?;
        {
            let _alone = pgherd::alone()?;
            let mut up = primary.verb(&["up"]);
            up.arg("--file").arg(&manifest).arg("--pg-bindir").arg(&site.bindir);
            run::succeed(up, WITHIN)?;
        }
        let uri = run::succeed(primary.verb(&["uri", "--name", NAME]), WITHIN)?;
        uri.trim().clone_into(&mut primary.uri);
        let mut grant = primary.verb(&["psql", "--name", NAME, "--role", "postgres"]);
        grant.args(["--database", "app", "--", "-Xqc", GRANTS]);
        run::succeed(grant, WITHIN)?;
        primary.pgbench(&["-i", "-q", "-s", SCALE])?;
        Ok(primary)
    }

    /// Stops it and starts its server alone, so that another product archives its log.
    pub(super) fn hand_over(&mut self, to: &BackRest) -> Result<()> {
        run::succeed(self.verb(&["down", "--name", NAME]), WITHIN)?;
        self.keeper = Keeper::Nobody;
        let data = self.data();
        let command = to.archive_command(&data);
        let settings = format!("archive_mode = on\narchive_command = '{command}'\n");
        let auto = data.join(super::subject::AUTO);
        fs::write(&auto, settings)?;
        std::os::unix::fs::chown(&auto, Some(self.account.user), Some(self.account.group))?;
        super::remove_file(&data.join("standby.signal"))?;
        let mut start = self.pg_ctl(&["-s", "-w", "-t", "120", "-l"]);
        start.arg(data.join("alone.log")).arg("start");
        run::succeed(start, WITHIN).map(drop)
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root().join(NAME).join(format!("{NAME}-1")).join("pgdata")
    }

    /// Connects as who owns the tables.
    pub(super) fn psql(&self) -> Command {
        let mut psql = Command::new(self.bindir.join("psql"));
        psql.arg(&self.uri);
        psql
    }

    pub(super) fn ask(&self, sql: &str) -> Result<String> {
        let mut psql = self.psql();
        psql.args(["-XAtqc", sql]);
        Ok(run::succeed(psql, WITHIN)?.trim().to_owned())
    }

    /// Finishes a segment, and says which.
    pub(super) fn finish_segment(&self) -> Result<Segment> {
        Ok(Segment::parse(&self.ask("select pg_walfile_name(pg_switch_wal())")?)?)
    }

    /// Lets clients write, as fast as they can or at a rate; says how many transactions a second.
    pub(super) fn write(&self, lasts: Duration, rate: Option<u32>) -> Result<f64> {
        let (lasts, rate) = (lasts.as_secs().to_string(), rate.map(|rate| rate.to_string()));
        let mut words = vec!["-n", "-N", "-c", CLIENTS, "-T", &lasts];
        if let Some(rate) = &rate {
            words.extend(["-R", rate]);
        }
        let said = self.pgbench(&words)?;
        let told = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
        let told = told.with_context(|| format!("pgbench said {said}"))?;
        told.parse().with_context(|| format!("pgbench said {told:?}"))
    }

    fn pgbench(&self, words: &[&str]) -> Result<String> {
        let mut pgbench = Command::new(self.bindir.join("pgbench"));
        pgbench.args(words).arg(&self.uri);
        run::succeed(pgbench, WITHIN)
    }

    fn pg_ctl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.bindir.join("pg_ctl"));
        command.arg("-D").arg(self.data()).args(words).current_dir("/").env("LC_ALL", "C.UTF-8");
        if rustix::process::geteuid().is_root() {
            command.uid(self.account.user).gid(self.account.group);
        }
        command
    }

    fn verb(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("local").args(words).arg("--dir").arg(self.root());
        command
    }
}

/// To PostgreSQL's user, with all that is in it.
pub(super) fn give_away(folder: &Path) -> Result<()> {
    let account = account::choose()?;
    let mut chown = Command::new("chown");
    chown.arg("-R").arg(format!("{}:{}", account.user, account.group)).arg(folder);
    run::succeed(chown, WITHIN).map(drop)
}

impl Drop for Primary {
    fn drop(&mut self) {
        if !self.root().join(NAME).exists() {
            return;
        }
        let _finishing = wait::finishing();
        let stopped = if self.keeper == Keeper::Nobody
            && self.data().join("postmaster.pid").exists()
        {
            run::succeed(self.pg_ctl(&["-s", "-w", "-t", "120", "-m", "immediate", "stop"]), WITHIN)
        } else {
            Ok(String::new())
        };
        let gone = run::succeed(self.verb(&["destroy", "--yes", "--name", NAME]), WITHIN);
        for error in [stopped, gone].into_iter().filter_map(Result::err) {
            crate::complain(&format!("{error:#}"));
        }
    }
}

impl Goes<'_> {
    fn declared(self, packing: Packing) -> String {
        let (place, stream, secret) = match self {
            Self::Nowhere => (String::new(), Stream::On, String::new()),
            Self::ToFolder(folder, stream) => {
                let place = format!("      destinationPath: {}\n", folder.display());
                (place, stream, String::new())
            }
            Self::ToBucket(store, stream) => {
                let place = format!(
                    "      destinationPath: s3://{BUCKET}/{PREFIX}\n      endpointURL: {}\n      \
                     s3Credentials:\n        accessKeyId: {{name: store, key: id}}\n        \
                     secretAccessKey: {{name: store, key: key}}\n",
                    store.url()
                );
                let secret = format!(
                    "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: store}}\nstringData: \
                     {{id: {ACCESS_KEY}, key: {SECRET_KEY}}}\n"
                );
                (place, stream, secret)
            }
        };
        let backup = if place.is_empty() {
            String::new()
        } else {
            let packed = packing.word();
            format!(
                "  backup:\n    barmanObjectStore:\n{place}      \
                 wal: {{compression: {packed}, maxParallel: 4}}\n"
            )
        };
        let streams = match stream {
            Stream::On => "",
            Stream::Off => "  annotations: {pgherd.dev/walStream: 'off'}\n",
        };
        format!(
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata:\n  name: {NAME}\n{streams}\
             spec:\n  instances: 1\n  enableSuperuserAccess: true\n  postgresql:\n    \
             parameters: {{{SETTINGS}}}\n{backup}{secret}"
        )
    }
}
