//! A folder for clusters, and the program that is run on it.
//!
//! Never shares a folder with another test.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_pgherd");

pub(crate) struct Home {
    // Fields are dropped in this order.
    disk: Option<Disk>,
    root: tempfile::TempDir,
    program: PathBuf,
    clusters: Vec<String>,
}

/// What a command said, with the folder's name replaced by HOME.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // As root, PostgreSQL runs as somebody else, who has to get here.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { disk: None, root, program: PROGRAM.into(), clusters: Vec::new() }
    }

    /// Its program lies where only root can go.
    pub(crate) fn with_a_closed_program() -> Self {
        let mut home = Self::new();
        let closed = home.root.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        home.program = closed.join("pgherd");
        fs::copy(PROGRAM, &home.program).unwrap();
        home
    }

    /// Its clusters are on a disk of this size, if it may be mounted.
    pub(crate) fn on_a_disk_of(megabytes: u32) -> Option<Self> {
        let mut home = Self::new();
        fs::create_dir(home.folder()).unwrap();
        home.disk = Some(Disk::mount(home.folder(), megabytes)?);
        Some(home)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("clusters")
    }

    /// `name` is destroyed with this home.
    pub(crate) fn owns(&mut self, name: &str) {
        self.clusters.push(name.to_owned());
    }

    /// Writes a manifest of a cluster `name`.
    pub(crate) fn manifest(&self, name: &str, spec: &str) -> PathBuf {
        let path = self.root.path().join("cluster.yaml");
        let text = format!(
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let (verb, rest) = words.split_first().unwrap();
        let mut command = Command::new(&self.program);
        command.args(["local", verb, "--dir"]).arg(self.folder()).args(rest).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        self.said(&self.command(words).output().unwrap())
    }

    pub(crate) fn said(&self, output: &Output) -> Said {
        let folder = self.folder().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "HOME");
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// A command that has to succeed, and its document.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let said = self.run(&[words, &["-o", "json"]].concat());
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// The name of the usual cluster's primary.
    pub(crate) fn primary(&self) -> String {
        self.json(&["status"])["primary"].as_str().unwrap().to_owned()
    }

    /// The name of an instance of the usual cluster that is not the primary.
    pub(crate) fn standby(&self) -> String {
        let status = self.json(&["status"]);
        let names = status["instances"].as_array().unwrap().iter().map(|it| &it["name"]);
        let standby = names.into_iter().find(|name| **name != status["primary"]).unwrap();
        standby.as_str().unwrap().to_owned()
    }
}

/// A small file system, as long as it lives.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, megabytes: u32) -> Option<Self> {
        let size = format!("size={megabytes}m,mode=755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: also when something is left in it.
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(gone.is_ok_and(|it| it.success()) || std::thread::panicking(), "{:?}", self.0);
    }
}

impl Said {
    /// The exit code and all that was told to a person.
    pub(crate) fn told(&self) -> String {
        format!("exit code {:?}\n{}{}", self.code.unwrap_or(-1), self.out, self.err)
    }

    /// The same without what was told while it waited, which differs from run to run.
    pub(crate) fn told_in_the_end(&self) -> String {
        let told = self.told();
        let lines = told.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("  waiting for ")).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for name in &self.clusters {
            let said = self.run(&["destroy", "--yes", "--name", name]);
            let gone = said.code == Some(0) || !Path::new(&self.folder().join(name)).exists();
            assert!(gone || std::thread::panicking(), "{said:?}");
        }
    }
}
