//! The other products: pgBackRest with its fastest settings, and barman-cloud.
//!
//! Never gives them less than their manuals recommend for speed.

use super::engine::Packing;
use super::subject::Subject;
use super::{Peer, remove};
use crate::object_store::{BUCKET, ObjectStore};
use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_mins(5);
/// A server of a repository of barman's.
const SERVER: &str = "theirs";
const PGBACKREST: &str = "/usr/bin/pgbackrest";
const STANZA: &str = "measured";

/// An error if it is not installed.
pub(super) fn look_for(peer: Peer) -> Result<()> {
    let program = match peer {
        Peer::PgBackRest => PGBACKREST,
        Peer::BarmanCloud => "/usr/bin/barman-cloud-backup",
    };
    if !Path::new(program).exists() {
        bail!("{program} is missing: install it, or name only others with --peers");
    }
    Ok(())
}

/// pgBackRest with a repository in a folder of its own.
pub(super) struct BackRest {
    configuration: PathBuf,
    pub(super) repository: PathBuf,
}

impl BackRest {
    /// For the cluster in the folder `data`, below `root`.
    pub(super) fn prepare(root: &Path, data: &Path, packing: Packing) -> Result<Self> {
        let root = root.join(format!("pgbackrest-{}", packing.word()));
        // What an earlier one noted of files of the same names would be believed.
        remove(&root)?;
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
        let at = root.display();
        let text = format!(
            "[global]\nrepo1-path={at}/repository\nlock-path={at}/lock\nspool-path={at}/spool\n\
             process-max=2\ncompress-type={kind}\ncompress-level=1\nlog-level-file=off\n\
             log-level-console=error\narchive-async=y\narchive-get-queue-max=1GiB\n\n[{STANZA}]\npg1-path={}\n",
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

    /// As PostgreSQL's settings have it, for a server in this folder.
    pub(super) fn restore_command(&self, data: &Path) -> String {
        format!("{} archive-get %f %p", self.words(data))
    }

    pub(super) fn archive_command(&self, data: &Path) -> String {
        format!("{} archive-push %p", self.words(data))
    }

    fn words(&self, data: &Path) -> String {
        let (configuration, data) = (self.configuration.display(), data.display());
        format!("{PGBACKREST} --config={configuration} --stanza={STANZA} --pg1-path={data}")
    }

    /// All that it has.
    pub(super) fn root(&self) -> &Path {
        self.configuration.parent().unwrap_or(&self.configuration)
    }

    /// Where it keeps segments, in a folder for each version of PostgreSQL.
    pub(super) fn segments(&self) -> PathBuf {
        self.repository.join("archive").join(STANZA)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PGBACKREST);
        command.arg(format!("--config={}", self.configuration.display()));
        command.arg(format!("--stanza={STANZA}"));
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

    /// As PostgreSQL's settings have it, for what lies there under that name.
    pub(super) fn restore_command(&self, place: &str, server: &str) -> String {
        let url = self.store.url();
        format!("/usr/bin/barman-cloud-wal-restore --endpoint-url {url} {place} {server} %f %p")
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
