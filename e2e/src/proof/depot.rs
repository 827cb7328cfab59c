//! An object store beside the control plane, where pods reach it.
//!
//! Never outlives the value: process and objects go with it.

use super::place::Place;
use crate::testbed::Machine;
use crate::{object_store, run, wait};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

pub(super) const BUCKET: &str = "backups";
/// The Secret with what opens it.
pub(super) const SECRET: &str = "depot";
const ACCESS_KEY: &str = "proof-access";
const SECRET_KEY: &str = "proof-secret";
const PORT: u16 = 9000;
const UP_WITHIN: Duration = Duration::from_secs(20);
const LOOK_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Depot {
    /// Where pods reach it.
    pub(super) url: String,
    process: Child,
    folder: tempfile::TempDir,
}

impl Depot {
    pub(super) fn open(place: &Place) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let _testbed = place.testbed()?;
        let address = Machine::ControlPlane.address();
        let port = PORT.to_string();
        let words = ["--host", "0.0.0.0", "--port", &port, "--access-key", ACCESS_KEY];
        let mut all = vec![OsString::from(object_store::program()?)];
        all.extend(words.iter().map(OsString::from));
        all.extend([OsString::from("--secret-key"), OsString::from(SECRET_KEY)]);
        all.push(folder.path().as_os_str().to_owned());
        let mut command = place.among(&all)?;
        let log = File::create(folder.path().join(".said"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("starting the object store")?;
        let url = format!("http://{address}:{port}");
        let mut depot = Self { url, process, folder };
        depot.wait(place)?;
        Ok(depot)
    }

    /// Until it answers.
    fn wait(&mut self, place: &Place) -> Result<()> {
        // Another program than this one is in the network where it listens.
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}");
        let words = ["bash", "-c", &script].map(OsString::from);
        wait::find_seldom("the object store", UP_WITHIN, || {
            if let Some(status) = self.process.try_wait()? {
                let said = std::fs::read_to_string(self.folder.path().join(".said"));
                bail!("the object store ended ({status}): {}", said.unwrap_or_default());
            }
            let said = run::run(place.among(&words)?, LOOK_WITHIN)?;
            Ok(said.succeeded.then_some(()))
        })
    }

    /// What opens it.
    pub(super) fn secret() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET},
            "stringData": {"id": ACCESS_KEY, "key": SECRET_KEY},
        })
    }

    /// The archive as a manifest names it.
    pub(super) fn archive(&self, server: &str) -> Value {
        let key = |key: &str| json!({"name": SECRET, "key": key});
        json!({
            "destinationPath": format!("s3://{BUCKET}/proof"),
            "endpointURL": self.url,
            "serverName": server,
            "s3Credentials": {"accessKeyId": key("id"), "secretAccessKey": key("key")},
            "wal": {"compression": "gzip", "maxParallel": 2},
            "data": {"compression": "gzip", "immediateCheckpoint": true},
        })
    }
}

impl Depot {
    /// What is stored of this server, by the names that it has below the server's.
    pub(super) fn stored(&self, server: &str) -> Result<Vec<PathBuf>> {
        let root = self.folder.path().join(BUCKET).join("proof").join(server);
        let (mut folders, mut files) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(entry.path().strip_prefix(&root)?.to_owned());
                }
            }
        }
        Ok(files)
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}
