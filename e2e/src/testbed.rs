//! A real Kubernetes of three nodes on one machine, with faults that are real too.
//!
//! Never reaches another host, and never leaves anything behind but what it has built.

pub mod cgroup;
mod control;
mod credentials;
mod daemon;
mod deploy;
pub mod images;
mod layout;
pub mod network;
pub mod node;
pub mod pack;
mod programs;

use crate::{run, wait};
use anyhow::{Context, Result, bail};
use cgroup::Motion;
use control::KUBECTL_WITHIN;
use layout::Layout;
use network::Ways;
use programs::Programs;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use layout::{Machine, Node};

const READY_WITHIN: Duration = Duration::from_mins(2);
/// What must be there, and the Debian package that brings it.
pub const NEEDED: &[(&str, &str)] = &[
    ("/usr/bin/etcd", "etcd-server"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/debootstrap", "debootstrap"),
    ("/usr/sbin/mkfs.xfs", "xfsprogs"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/iptables", "iptables"),
];
/// The kernel keeps these for the whole machine, and three kubelets need more than it grants.
const WATCHES: &[(&str, u64)] = &[
    ("/proc/sys/fs/inotify/max_user_instances", 8192),
    ("/proc/sys/fs/inotify/max_user_watches", 1_048_576),
];

/// The one testbed of this machine.
pub struct Testbed {
    layout: Layout,
    programs: Programs,
    own: PathBuf,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    On,
    Frozen,
    Off,
}

impl Testbed {
    /// The testbed, up or not. `own` is this package's program: nodes are made of it.
    pub fn find(own: PathBuf) -> Result<Self> {
        let layout = Layout::find()?;
        let programs = Programs::at(&layout);
        Ok(Self { layout, programs, own })
    }

    /// Brings all of it up; what an interrupted `up` left is removed first.
    pub fn up(&self, mut tell: impl FnMut(&str)) -> Result<()> {
        check_machine()?;
        let _alone = self.alone()?;
        if self.is_up() {
            bail!("it is up already: `kubernetes down` ends it");
        }
        self.remove(&mut tell)?;
        Programs::provide(&self.layout, &mut tell)?;
        images::make(&self.layout, &self.programs, &mut tell)?;
        if let Err(error) = self.raise(&mut tell) {
            let _finishing = wait::finishing();
            self.remove(&mut tell).context("removing what was half made")?;
            return Err(error);
        }
        Ok(())
    }

    fn raise(&self, tell: &mut impl FnMut(&str)) -> Result<()> {
        let layout = &self.layout;
        for folder in ["logs", "processes"] {
            fs::create_dir_all(layout.root().join(folder))?;
        }
        raise_limits(layout)?;
        tell("laying the network");
        network::lay()?;
        credentials::write(layout)?;
        tell("starting the control plane");
        control::start(layout, &self.programs)?;
        for node in Node::all() {
            tell(&format!("starting {node}"));
            node::lay_out(layout, node)?;
            node::start(layout, node, &self.own)?;
        }
        for node in Node::all() {
            tell(&format!("waiting for {node} to be ready"));
            self.wait_ready(node)?;
        }
        wait::until("the default service account", READY_WITHIN, || {
            Ok(self.ask(&["get", "serviceaccount", "default"])?.succeeded)
        })?;
        fs::write(layout.complete(), "")?;
        Ok(())
    }

    /// Ends all of it and removes everything but what was built.
    pub fn down(&self, tell: impl FnMut(&str)) -> Result<()> {
        let _alone = self.alone()?;
        self.remove(tell)
    }

    fn remove(&self, mut tell: impl FnMut(&str)) -> Result<()> {
        if self.layout.root().exists() {
            tell("removing the testbed");
        }
        for node in Node::all() {
            daemon::signal(&self.layout, &node.to_string())?;
            if cgroup::motion(node).is_ok_and(|motion| motion == Motion::Frozen) {
                cgroup::set(node, Motion::Running)?;
            }
            daemon::kill(&self.layout, &node.to_string())?;
        }
        network::remove()?;
        for node in Node::all() {
            cgroup::remove(node)?;
        }
        lower_limits(&self.layout)?;
        match fs::remove_dir_all(self.layout.root()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("removing {}", self.layout.root().display())),
        }
    }

    pub fn is_up(&self) -> bool {
        self.layout.complete().exists()
    }

    pub fn power(&self, node: Node) -> Result<Power> {
        if !node::is_on(&self.layout, node)? {
            return Ok(Power::Off);
        }
        Ok(match cgroup::motion(node)? {
            Motion::Running => Power::On,
            Motion::Frozen => Power::Frozen,
        })
    }

    pub fn crash(&self, node: Node) -> Result<()> {
        self.must_be_up()?;
        node::crash(&self.layout, node)
    }

    /// Switches a node on again, and waits until it can run pods.
    pub fn start(&self, node: Node) -> Result<()> {
        self.must_be_up()?;
        let before = self.renewed(node)?;
        node::start(&self.layout, node, &self.own)?;
        // What the API server knows of it may be from before.
        wait::until(&format!("a word from {node}"), READY_WITHIN, || {
            Ok(self.renewed(node)? != before)
        })?;
        self.wait_ready(node)
    }

    /// When the node's kubelet last said that it lives.
    fn renewed(&self, node: Node) -> Result<String> {
        let name = node.to_string();
        let asked = ["--namespace", "kube-node-lease", "get", "lease", &name];
        let said = self.ask(&[&asked[..], &["--output", "jsonpath={.spec.renewTime}"]].concat())?;
        Ok(said.out)
    }

    pub fn set(&self, node: Node, motion: Motion) -> Result<()> {
        self.must_be_up()?;
        if !node::is_on(&self.layout, node)? {
            bail!("{node} is off: `kubernetes start {node}` switches it on");
        }
        cgroup::set(node, motion)
    }

    pub fn isolate(&self, machine: Machine) -> Result<()> {
        self.must_be_up()?;
        network::isolate(machine)
    }

    pub fn cut(&self, from: Machine, to: Machine, ways: Ways) -> Result<()> {
        self.must_be_up()?;
        if from == to {
            bail!("{from} cannot be cut off from itself: name two machines");
        }
        network::cut(from, to, ways)
    }

    pub fn heal(&self) -> Result<()> {
        self.must_be_up()?;
        network::heal()
    }

    /// Ends the API server, or starts it again.
    pub fn stop_api(&self) -> Result<()> {
        self.must_be_up()?;
        control::stop_api(&self.layout)
    }

    pub fn start_api(&self) -> Result<()> {
        self.must_be_up()?;
        control::start_api(&self.layout, &self.programs)
    }

    /// Brings an image into every node that is on.
    pub fn load(&self, archive: &Path) -> Result<()> {
        self.must_be_up()?;
        for node in Node::all() {
            if node::is_on(&self.layout, node)? {
                node::load(&self.layout, node, archive)?;
            }
        }
        Ok(())
    }

    /// Lets every node that is on know an image by another name, too.
    pub fn call_image(&self, image: &str, name: &str) -> Result<()> {
        self.must_be_up()?;
        for node in Node::all() {
            if node::is_on(&self.layout, node)? {
                node::call_image(&self.layout, node, (image, name))?;
            }
        }
        Ok(())
    }

    /// Brings another PostgreSQL onto all nodes that are on; `tree` is what its image adds to
    /// the Debian of 15. Returns the name of the image.
    pub fn postgres(&self, major: u32, tree: &Path) -> Result<String> {
        self.must_be_up()?;
        let place = tempfile::tempdir_in(self.layout.root())?;
        let archive = place.path().join("image.tar");
        images::another(&self.layout, major, tree, &archive)?;
        self.load(&archive)?;
        Ok(images::name(major))
    }

    /// kubectl with all rights; whoever runs it decides what becomes of its words.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        self.must_be_up()?;
        Ok(control::kubectl(&self.layout, &self.programs, arguments))
    }

    /// A command among the machines of the testbed, which finds the API server by KUBECONFIG.
    pub fn within(&self, words: &[OsString]) -> Result<Command> {
        self.must_be_up()?;
        let mut command = network::within(Machine::ControlPlane);
        command.args(words).env("KUBECONFIG", self.kubeconfig());
        Ok(command)
    }

    /// The file that tells programs in the control plane's namespace how to reach the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig(layout::Holder::Admin)
    }

    /// The first process of a node, as people see it.
    pub fn be(&self, node: Node) -> Result<()> {
        node::be(&self.layout, node, &self.programs)
    }

    fn must_be_up(&self) -> Result<()> {
        if self.is_up() {
            return Ok(());
        }
        bail!("there is no testbed: `cargo xtask kubernetes up` makes one")
    }

    fn wait_ready(&self, node: Node) -> Result<()> {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        let name = node.to_string();
        wait::until(&format!("{node} to be ready"), READY_WITHIN, || {
            let said = self.ask(&["get", "node", &name, "--output", path])?;
            Ok(said.succeeded && said.out == "True")
        })
    }

    fn ask(&self, arguments: &[&str]) -> Result<run::Said> {
        run::run(control::kubectl(&self.layout, &self.programs, arguments), KUBECTL_WITHIN)
    }

    fn alone(&self) -> Result<File> {
        let path = self.layout.lock();
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!("another command is changing the testbed: wait for its end");
        }
        Ok(file)
    }
}

/// Says what is missing before anything is touched.
fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("namespaces, mounts and cgroups need root: run it with sudo");
    }
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(path, _)| !Path::new(path).exists()).map(|one| one.1).collect();
    if !missing.is_empty() {
        bail!("{0} missing: apt-get install --no-install-recommends {0}", missing.join(" "));
    }
    Ok(())
}

/// Notes what was there before, so that it can be set back.
fn raise_limits(layout: &Layout) -> Result<()> {
    for (path, wanted) in WATCHES {
        let before = fs::read_to_string(path)?;
        if before.trim().parse().is_ok_and(|before: u64| before < *wanted) {
            fs::write(limit_before(layout, path)?, &before)?;
            fs::write(path, wanted.to_string())?;
        }
    }
    Ok(())
}

fn lower_limits(layout: &Layout) -> Result<()> {
    for (path, _) in WATCHES {
        let noted = limit_before(layout, path)?;
        if noted.exists() {
            fs::write(path, fs::read_to_string(&noted)?)?;
        }
    }
    Ok(())
}

fn limit_before(layout: &Layout, path: &str) -> Result<PathBuf> {
    let name = path.rsplit('/').next().context("a path without a name")?;
    Ok(layout.root().join(name))
}
