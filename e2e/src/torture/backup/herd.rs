//! A cluster that archives to an object store, and copies of it, by the commands that people use.
//!
//! Never leaves a cluster behind.

use crate::object_store::{ACCESS_KEY, BUCKET, ObjectStore, SECRET_KEY};
use crate::rig::{Site, pgherd};
use crate::run::{self, Said};
use crate::wait;
use anyhow::{Context, Result, bail};
use pgherd_local::ledger::Address;
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub(super) const SOURCE: &str = "source";
const WITHIN: Duration = Duration::from_mins(10);
const COUNT: &str = "select count(*) from pgherd_ledger";

pub(super) struct Herd {
    program: PathBuf,
    folder: TempDir,
    restores: Cell<usize>,
    copies: Cell<usize>,
}

impl Herd {
    pub(super) fn start(site: &Site, store: &ObjectStore) -> Result<Self> {
        let folder = site.folder("pgherd-siege-")?;
        let herd = Self {
            program: pgherd::program()?,
            folder,
            restores: Cell::new(0),
            copies: Cell::new(1),
        };
        let manifest = herd.root().join("cluster.yaml");
        fs::write(&manifest, declared(&store.url()))?;
        let _alone = pgherd::alone()?;
        let mut up = herd.command(&["up"]);
        up.arg("--file").arg(&manifest).arg("--pg-bindir").arg(&site.bindir);
        run::succeed(up, WITHIN)?;
        Ok(herd)
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn address(&self) -> Result<Address> {
        let said = self.succeed(&["uri", "--with-password", "--name", SOURCE])?;
        Ok(Address::parse(&said.trim().replace("sslmode=verify-ca", "sslmode=verify-full"))?)
    }

    /// A command that works on the source unless it names another one.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("local").args(words).arg("--dir").arg(self.root());
        command
    }

    pub(super) fn run(&self, words: &[&str]) -> Result<Said> {
        run::run(self.command(words), WITHIN)
    }

    pub(super) fn succeed(&self, words: &[&str]) -> Result<String> {
        run::succeed(self.command(words), WITHIN)
    }

    pub(super) fn json(&self, words: &[&str]) -> Result<Value> {
        let said = self.succeed(&[words, &["--name", SOURCE, "--output", "json"]].concat())?;
        serde_json::from_str(&said).with_context(|| format!("{words:?} said {said}"))
    }

    /// Statements as the superuser.
    pub(super) fn sql(&self, name: &str, sql: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["local", "psql", "--name", name, "--dir"]).arg(self.root());
        command.args(["--role", "postgres", "--", "-XAtqc", sql]);
        command
    }

    /// How many rows there are in a copy that goes as far as the log does.
    pub(super) fn rows_restored(&self, backup: &str) -> Result<u64> {
        let copy = self.copy();
        let words = ["restore", SOURCE, "--as", &copy, "--latest", "--backup", backup];
        self.succeed(&[&words[..], &["--instances", "1"]].concat())?;
        let counted = run::succeed(self.sql(&copy, COUNT), WITHIN)?;
        self.restores.set(self.restores.get() + 1);
        counted.trim().parse().with_context(|| format!("{COUNT} said {counted:?}"))
    }

    pub(super) fn restores(&self) -> usize {
        self.restores.get()
    }

    /// The name of the copy that there is, or is made next. None is used twice: the place for the
    /// log of a copy that is gone is not free.
    pub(super) fn copy(&self) -> String {
        format!("copy{}", self.copies.get())
    }

    pub(super) fn remove_copy(&self) -> Result<()> {
        let copy = self.copy();
        if self.root().join(&copy).exists() {
            self.succeed(&["destroy", "--yes", "--name", &copy])?;
        }
        self.copies.set(self.copies.get() + 1);
        Ok(())
    }

    /// What PostgreSQL was told is archived, as far as it still says so.
    pub(super) fn archived(&self) -> Result<BTreeSet<String>> {
        let instance = self.root().join(SOURCE).join(format!("{SOURCE}-1"));
        let status = instance.join("pgdata/pg_wal/archive_status");
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&status).with_context(|| status.display().to_string())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".done").map(str::to_owned));
        }
        Ok(names)
    }

    /// The names of all files of the log in the store.
    pub(super) fn stored(store: &ObjectStore) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut folders = vec![store.files(&format!("siege/{SOURCE}/wals"))];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                if path.is_dir() {
                    folders.push(path);
                } else {
                    names.insert(name.trim_end_matches(".gz").to_owned());
                }
            }
        }
        names
    }

    /// Copies all logs to where they stay.
    pub(super) fn keep(&self, seed: u64) -> Result<PathBuf> {
        let name = format!("pgherd-siege-{seed}-{}", std::process::id());
        let kept = std::env::temp_dir().join(name);
        for cluster in [SOURCE, self.copy().as_str()] {
            let instance = self.root().join(cluster).join(format!("{cluster}-1"));
            let to = kept.join(cluster);
            fs::create_dir_all(&to)?;
            for log in ["log/agent.log", "log/postgres.log", "../supervisor.log"] {
                let from = instance.join(log);
                if from.exists() {
                    fs::copy(&from, to.join(from.file_name().unwrap_or_default()))?;
                }
            }
        }
        Ok(kept)
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        let _finishing = wait::finishing();
        for name in [self.copy().as_str(), SOURCE] {
            if self.root().join(name).exists()
                && let Err(error) = self.succeed(&["destroy", "--yes", "--name", name])
            {
                crate::complain(&format!("{error:#}"));
            }
        }
    }
}

/// A command that goes on while others are run.
pub(super) struct Running {
    child: Child,
    said: File,
    words: String,
}

impl Running {
    pub(super) fn begin(mut command: Command) -> Result<Self> {
        let words = format!("{command:?}");
        let said = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
        let child = command.spawn().with_context(|| format!("starting {words}"))?;
        Ok(Self { child, said, words })
    }

    pub(super) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end, and looks at something else meanwhile.
    pub(super) fn end(
        mut self,
        within: Duration,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<Said> {
        let status = wait::find(&self.words, within, || {
            meanwhile()?;
            Ok(self.child.try_wait()?)
        });
        if status.is_err() {
            // It may have ended by itself; then there is nothing to kill.
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
        let status = status?;
        let mut out = String::new();
        std::io::Seek::rewind(&mut self.said)?;
        self.said.read_to_string(&mut out)?;
        let (succeeded, code) = (status.success(), status.code());
        if code.is_none() {
            bail!("{} was ended by a signal", self.words);
        }
        Ok(Said { out, complaint: String::new(), succeeded, code })
    }
}

impl Said {
    /// What it said last.
    pub(super) fn last_line(&self) -> String {
        let all = [self.complaint.as_str(), self.out.as_str()].join("\n");
        let mut lines = all.lines().filter(|line| !line.trim().is_empty());
        lines.next_back().unwrap_or("nothing was said").to_owned()
    }
}

fn declared(url: &str) -> String {
    format!(
        "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {{name: {SOURCE}}}\nspec:\n  \
         instances: 1\n  enableSuperuserAccess: true\n  backup:\n    barmanObjectStore:\n      \
         destinationPath: s3://{BUCKET}/siege\n      endpointURL: {url}\n      s3Credentials:\n        \
         accessKeyId: {{name: store, key: id}}\n        secretAccessKey: {{name: store, key: key}}\n      \
         wal: {{compression: gzip}}\n      data: {{compression: gzip, immediateCheckpoint: true}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: store}}\nstringData: \
         {{id: {ACCESS_KEY}, key: {SECRET_KEY}}}\n"
    )
}
