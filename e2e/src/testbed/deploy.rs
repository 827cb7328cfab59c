//! Installs pgherd in a testbed, as its users do.
//!
//! Never returns before its operators run.

use super::pack::{self, Weight};
use super::{Testbed, images};
use crate::run;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_mins(2);

impl Testbed {
    /// The product and the client of proofs onto all nodes, and the operator; what kubectl said.
    pub fn deploy(&self, program: &Path, client: &Path) -> Result<String> {
        let place = tempfile::tempdir()?;
        for (name, program) in [(images::PGHERD, program), (images::CLIENT, client)] {
            let archive = place.path().join("image.tar");
            pack::program(program, &archive, name, BTreeMap::new(), Weight::Plain)?;
            self.load(&archive)?;
        }
        let mut install = Command::new(program);
        install.args(["install", "--image", images::PGHERD]);
        install.args(["--postgres-image", images::POSTGRESQL]);
        let manifests = place.path().join("install.yaml");
        std::fs::write(&manifests, run::succeed(install, WITHIN)?)?;
        let manifests = manifests.display().to_string();
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename", &manifests];
        let of = ["--namespace", "pgherd-system", "rollout"];
        // The same name can stand for a newer image.
        let restart = [&of[..], &["restart", "deployment/pgherd-operator"]].concat();
        let wait = [&of[..], &["status", "deployment/pgherd-operator", "--timeout=90s"]].concat();
        let mut said = String::new();
        for words in [&apply[..], &restart, &wait] {
            said += &run::succeed(self.kubectl(words)?, WITHIN)?;
        }
        Ok(said)
    }
}
