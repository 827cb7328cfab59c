//! A server of S3 on this machine, which keeps its objects as files.
//!
//! Never installs it (`cargo xtask setup --stores` does), and never outlives the value.

use crate::{ports, wait};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub const BUCKET: &str = "backups";
pub const ACCESS_KEY: &str = "proof-access";
pub const SECRET_KEY: &str = "proof-secret";
const UP_WITHIN: Duration = Duration::from_mins(1);

/// One server, or what it left while it is dead.
pub struct ObjectStore {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl ObjectStore {
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join(BUCKET))?;
        let mut store = Self { folder, port: ports::free(1)?, process: None };
        store.resume()?;
        Ok(store)
    }

    /// Dies as if the machine had no power; what it stored stays.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().context("killing the object store")?;
        process.wait().context("waiting for the object store's end")?;
        Ok(())
    }

    /// Comes back where it was.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(program()?);
        command.args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
        command.arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = self.process.insert(command.spawn().context("starting the object store")?);
        wait::until("the object store", UP_WITHIN, || {
            if let Some(status) = process.try_wait()? {
                bail!("it ended at once: {status}");
            }
            Ok(TcpStream::connect(("127.0.0.1", self.port)).is_ok())
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where objects below this prefix are as files.
    pub fn files(&self, prefix: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(prefix)
    }

    pub fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// What lets a program of others in.
    pub fn open_for(command: &mut Command) {
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("AWS_DEFAULT_REGION", "us-east-1");
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            crate::complain(&format!("{error:#}"));
        }
    }
}

/// Where `cargo xtask setup --stores` puts it.
pub(crate) fn program() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if rustix::process::geteuid().is_root() {
        Path::new("/var/cache").to_owned()
    } else {
        let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
        cache.context("neither XDG_CACHE_HOME nor HOME is set")?
    };
    let program = base.join("pgherd/s3s-fs-0.14.1/bin/s3s-fs");
    if !program.exists() {
        bail!("{} is missing: cargo xtask setup --stores", program.display());
    }
    Ok(program)
}
