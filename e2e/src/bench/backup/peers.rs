//! The other products: pgBackRest with its fastest settings, and barman-cloud.
//!
//! Never gives them less than their manuals recommend for speed.

use super::engine::Packing;
use super::subject::Subject;
use crate::object_store::{BUCKET, ObjectStore};
use crate::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_mins(5);
/// A server of a repository of barman's.
const SERVER: &str = "theirs";

/// pgBackRest with a repository in a folder of its own.
pub(super) struct BackRest {
    configuration: PathBuf,
    pub(super) repository: PathBuf,
}

impl BackRest {
    pub(super) fn prepare(subject: &Subject, packing: Packing) -> Result<Self> {
        let root = subject.root().join(format!("pgbackrest-{}", packing.word()));
        let configuration = root.join("pgbackrest.conf");
        let rest = Self { configuration, repository: root.join("repository") };
        for folder in ["repository", "lock", "spool"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let kind = match packing {
            Packing::Plain => "none",
            Packing::Gzip => "gz",
            Packing::Lz4 => "lz4",
            Packing::Zstd => "zst",
        };
        let (at, data) = (root.display(), subject.data());
        let text = format!(
            "[global]\nrepo1-path={at}/repository\nlock-path={at}/lock\nspool-path={at}/spool\n\
             process-max=2\ncompress-type={kind}\ncompress-level=1\nlog-level-file=off\n\
             log-level-console=error\narchive-async=y\n\n[measured]\npg1-path={}\n",
            data.display()
        );
        fs::write(&rest.configuration, text)?;
        let mut create = rest.command();
        create.args(["--no-online", "stanza-create"]);
        run::succeed(create, WITHIN)?;
        Ok(rest)
    }

    pub(super) fn take(&self) -> Command {
        let mut command = self.command();
        command.args(["--no-online", "--type=full", "--checksum-page", "backup"]);
        command
    }

    pub(super) fn restore(&self, target: &Path) -> Command {
        let mut command = self.command();
        command.arg(format!("--pg1-path={}", target.display())).args(["--type=none", "restore"]);
        command
    }

    pub(super) fn restore_again(&self, target: &Path) -> Command {
        let mut command = self.restore(target);
        command.arg("--delta");
        command
    }

    /// As PostgreSQL runs it for one file of the log.
    pub(super) fn archive(&self, data: &Path, name: &str) -> Command {
        let mut command = self.command();
        command.current_dir(data).arg(format!("--pg1-path={}", data.display()));
        command.args(["archive-push", &format!("pg_wal/{name}")]);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/pgbackrest");
        command.arg(format!("--config={}", self.configuration.display()));
        command.arg("--stanza=measured");
        command
    }
}

/// barman-cloud with a bucket.
pub(super) struct Barman<'a> {
    pub(super) store: &'a ObjectStore,
    pub(super) packing: Packing,
}

impl Barman<'_> {
    pub(super) fn prefix(&self) -> String {
        format!("barman-{}", self.packing.word())
    }

    pub(super) fn take(&self, subject: &Subject) -> Command {
        let mut command = self.command("backup");
        command.args(["--immediate-checkpoint", "--jobs", "2"]).args(self.packed());
        command.arg("--host").arg(subject.root()).args(["--user", "postgres"]);
        self.place(&mut command);
        command
    }

    pub(super) fn restore(&self, target: &Path) -> Result<Command> {
        let mut list = self.command("backup-list");
        list.args(["--format", "json"]);
        self.place(&mut list);
        let said: serde_json::Value = serde_json::from_str(&run::succeed(list, WITHIN)?)?;
        let id = said.pointer("/backups_list/0/backup_id").and_then(serde_json::Value::as_str);
        let id = id.context("barman-cloud lists no backup")?.to_owned();
        let mut command = self.command("restore");
        self.place(&mut command);
        command.arg(id).arg(target);
        Ok(command)
    }

    pub(super) fn archive(&self, data: &Path, name: &str) -> Command {
        let mut command = self.command("wal-archive");
        command.args(self.packed());
        self.place(&mut command);
        command.arg(data.join("pg_wal").join(name));
        command
    }

    fn packed(&self) -> Option<&'static str> {
        (self.packing == Packing::Gzip).then_some("--gzip")
    }

    fn place(&self, command: &mut Command) {
        command.args([&format!("s3://{BUCKET}/{}", self.prefix()), SERVER]);
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(format!("/usr/bin/barman-cloud-{name}"));
        ObjectStore::open_for(&mut command);
        command.args(["--endpoint-url", &self.store.url()]);
        command
    }
}
