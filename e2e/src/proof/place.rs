//! The Kubernetes that is proven on, and in it a namespace that nobody else uses.
//!
//! Never leaves the namespace, a cut cable or a node without power behind.

use crate::run::{self, Said};
use crate::testbed::cgroup::Motion;
use crate::testbed::{Node, Power, Testbed};
use crate::{complain, wait};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Where the operator lives, and what it is called.
pub const SYSTEM: &str = "pgherd-system";
pub const OPERATOR: &str = "deployment/pgherd-operator";
/// The label that its pods have.
pub const OPERATORS: &str = "app.kubernetes.io/name=pgherd-operator";

const ASK_WITHIN: Duration = Duration::from_secs(20);
const ROLLED_OUT_WITHIN: Duration = Duration::from_mins(3);
const ANSWERS_WITHIN: Duration = Duration::from_mins(2);

/// The program as a test finds it: as it is packed into the image, or another one.
pub fn product() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("PGHERD_PROGRAM") {
        return Ok(given.into());
    }
    let own = std::env::current_exe().context("finding this test's own program")?;
    let target = own.ancestors().nth(3).context("a test that is not in a target folder")?;
    let program = target.join("x86_64-unknown-linux-gnu/debug/pgherd");
    if !program.exists() {
        bail!("{} is missing: cargo xtask kubernetes deploy", program.display());
    }
    Ok(program)
}

/// The Kubernetes that KUBECONFIG names, or the testbed of this machine.
pub struct Place {
    pub namespace: String,
    /// Only a testbed has nodes whose power can be taken.
    testbed: Option<Testbed>,
    own: PathBuf,
    product: Option<PathBuf>,
}

impl Place {
    /// `own` is this package's program; `product` the one of pgherd, if its commands can be used.
    pub fn find(own: PathBuf, product: Option<PathBuf>) -> Result<Self> {
        let testbed = Some(Testbed::find(own.clone())?).filter(Testbed::is_up);
        if testbed.is_none() && std::env::var_os("KUBECONFIG").is_none() {
            bail!("there is no Kubernetes: set KUBECONFIG, or `cargo xtask kubernetes up`");
        }
        let namespace = format!("proof-{}", std::process::id());
        let place = Self { namespace, testbed, own, product };
        place.kubectl(&["create", "namespace", &place.namespace])?;
        Ok(place)
    }

    pub fn has_testbed(&self) -> bool {
        self.testbed.is_some()
    }

    pub fn testbed(&self) -> Result<&Testbed> {
        self.testbed.as_ref().context("only the nodes of a testbed can be hurt")
    }

    /// This package's program.
    pub fn own(&self) -> &PathBuf {
        &self.own
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let own = ["--namespace", &self.namespace];
        let mut kubectl = if let Some(testbed) = &self.testbed {
            testbed.kubectl(&own)?
        } else {
            let mut kubectl = Command::new("kubectl");
            kubectl.args(own);
            kubectl
        };
        kubectl.args(words);
        Ok(kubectl)
    }

    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.kubectl_within(words, ASK_WITHIN)
    }

    pub fn kubectl_within(&self, words: &[&str], within: Duration) -> Result<String> {
        run::succeed(self.command(words)?, within)
    }

    /// None while the API server does not answer, or says no.
    pub fn try_kubectl(&self, words: &[&str]) -> Option<String> {
        let said = run::run(self.command(words).ok()?, ASK_WITHIN).ok()?;
        said.succeeded.then_some(said.out)
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        serde_json::from_str(&self.try_kubectl(&["get", kind, name, "--output", "json"])?).ok()
    }

    pub fn apply(&self, object: &Value) -> Result<()> {
        self.apply_text(&object.to_string())
    }

    pub fn apply_text(&self, text: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("objects");
        std::fs::write(&file, text)?;
        self.kubectl(&["apply", "--filename", &file.display().to_string()]).map(drop)
    }

    /// The program of pgherd.
    pub fn product(&self) -> Result<&PathBuf> {
        self.product.as_ref().context("say where pgherd is: --program FILE")
    }

    /// A command of pgherd about something in the namespace, as people give it.
    pub fn pgherd(&self, words: &[&str], within: Duration) -> Result<String> {
        let words = [words, &["--namespace", &self.namespace]].concat();
        run::succeed(self.command_of_product(&words)?, within)
    }

    /// What pgherd says to this, whatever comes of it.
    pub fn said(&self, words: &[&str], within: Duration) -> Result<Said> {
        run::run(self.command_of_product(words)?, within)
    }

    fn command_of_product(&self, words: &[&str]) -> Result<Command> {
        let mut all = vec![OsString::from(self.product()?)];
        all.extend(words.iter().map(OsString::from));
        let mut command = self.among(&all)?;
        if let Some(testbed) = &self.testbed {
            let kubectl = testbed.kubectl(&[])?;
            // It runs where the API server is reached; the program is its last word.
            let kubectl = kubectl.get_args().last().context("a command without a program")?;
            command.env("KUBECTL", kubectl);
        }
        Ok(command)
    }

    /// A program that reaches the API server.
    pub fn among(&self, words: &[OsString]) -> Result<Command> {
        if let Some(testbed) = &self.testbed {
            return testbed.within(words);
        }
        let (program, arguments) = words.split_first().context("a command without a program")?;
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    /// How many operators there shall be; returns once it is so.
    pub fn scale_operator(&self, replicas: u32) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        self.kubectl(&["--namespace", SYSTEM, "scale", OPERATOR, &replicas])?;
        let status = ["--namespace", SYSTEM, "rollout", "status", OPERATOR, "--timeout=170s"];
        self.kubectl_within(&status, ROLLED_OUT_WITHIN)?;
        let pods = ["--namespace", SYSTEM, "get", "pods", "--selector", OPERATORS];
        let pods = [&pods[..], &["--output", "name"]].concat();
        wait::find_seldom("only so many operators", ROLLED_OUT_WITHIN, || {
            let said = self.try_kubectl(&pods);
            Ok(said
                .filter(|said| format!("--replicas={}", said.lines().count()) == replicas)
                .map(drop))
        })
    }

    /// The nodes on which operators are.
    pub fn nodes_of_operators(&self) -> Result<Vec<Node>> {
        let path = "jsonpath={.items[*].spec.nodeName}";
        let pods = ["--namespace", SYSTEM, "get", "pods", "--selector", OPERATORS];
        let said = self.kubectl(&[&pods[..], &["--output", path]].concat())?;
        said.split_whitespace().map(str::parse).collect()
    }

    /// Puts right whatever a proof has broken that did not come to its end.
    pub fn mend(&self) -> Result<()> {
        if let Some(testbed) = &self.testbed {
            testbed.heal()?;
            testbed.start_api()?;
            wait::find_seldom("the API server", ANSWERS_WITHIN, || {
                Ok(self.try_kubectl(&["get", "--raw", "/readyz"]).map(drop))
            })?;
            for node in Node::all() {
                match testbed.power(node)? {
                    Power::On => {}
                    Power::Frozen => testbed.set(node, Motion::Running)?,
                    Power::Off => testbed.start(node)?,
                }
                self.kubectl(&["uncordon", &node.to_string()])?;
            }
        }
        self.scale_operator(2)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _finishing = wait::finishing();
        if let Err(error) = self.mend() {
            complain(&format!("what was broken is not mended: {error:#}"));
        }
        let _asked = self.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}
