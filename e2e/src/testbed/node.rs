//! Runs a node: containerd, kubelet, kube-proxy and the node's half of the storage driver.
//!
//! Never outlives its first process: to kill that one is a loss of power.

use super::cgroup::{self, Motion};
use super::control;
use super::layout::{Holder, Layout, Machine, Node};
use super::programs::Programs;
use super::{daemon, images, network};
use crate::run;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitOptions};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(10);
/// A program that ends is started again after this pause, as a supervisor on a node would.
const PAUSE: Duration = Duration::from_millis(500);
/// Where a node's first process finds its folders again, as the command that starts it.
pub const COMMAND: &str = "node";

/// Lays out the node's disk for the first time, with the images that are there from the start.
pub fn lay_out(layout: &Layout, node: Node) -> Result<()> {
    let disk = Disk::of(layout, node);
    for folder in [disk.kubelet(), disk.network(), disk.folder("plugins"), disk.folder("log")] {
        fs::create_dir_all(folder)?;
    }
    images::provide(layout, &disk.containerd())?;
    let own = |name: &str| disk.0.join(name);
    fs::write(own("resolv.conf"), format!("nameserver {}\n", Machine::ControlPlane.address()))?;
    fs::write(disk.network().join("10-pods.conflist"), pod_network(node).to_string())?;
    fs::write(own("containerd.toml"), containerd_settings(&disk))?;
    fs::write(own("kubelet.yaml"), kubelet_settings(layout, node).to_string())?;
    let proxy = control::proxy_settings(layout, &node.to_string());
    fs::write(own("kube-proxy.yaml"), proxy.to_string())?;
    Ok(())
}

/// Switches the node on; `own` is the program that its first process is of. Its disk and volumes
/// are as they were.
pub fn start(layout: &Layout, node: Node, own: &Path) -> Result<()> {
    if is_on(layout, node)? {
        bail!("{node} is on already");
    }
    cgroup::make(node)?;
    let mut command = network::within(Machine::Node(node));
    command.args(["unshare", "--mount", "--uts", "--pid", "--fork"]);
    command.args(["--mount-proc", "--kill-child"]).arg(own);
    command.args(["kubernetes", COMMAND, &node.to_string()]);
    command.env("PGHERD_TESTBED", layout.root());
    daemon::start(layout, &node.to_string(), &command)
}

/// A loss of power: every process of the node dies at once.
pub fn crash(layout: &Layout, node: Node) -> Result<()> {
    if !is_on(layout, node)? {
        bail!("{node} is off already");
    }
    // What is frozen dies only once it is thawed.
    daemon::signal(layout, &node.to_string())?;
    cgroup::set(node, Motion::Running)?;
    daemon::kill(layout, &node.to_string())
}

pub fn is_on(layout: &Layout, node: Node) -> Result<bool> {
    Ok(daemon::find(layout, &node.to_string())?.is_some())
}

/// The node's first process. Returns only if it cannot go on.
pub fn be(layout: &Layout, node: Node, programs: &Programs) -> Result<()> {
    cgroup::join(node)?;
    let disk = Disk::of(layout, node);
    let mut hostname = Command::new("hostname");
    hostname.arg(node.to_string());
    run::succeed(hostname, WITHIN)?;
    // What is gone after a loss of power, and what programs would leave on the machine below.
    mount(&["-t", "tmpfs", "tmpfs", "/run"])?;
    for (own, place) in [("cni", "/var/lib/cni"), ("log", "/var/log")] {
        let folder = disk.folder(own);
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(place)?;
        mount(&["--bind", &folder.display().to_string(), place])?;
    }
    let mut running = Vec::new();
    for program in all(layout, node, programs) {
        let id = program.start(layout, node)?;
        running.push((id, program));
    }
    loop {
        // The first process inherits every orphan.
        let ended = rustix::process::wait(WaitOptions::empty()).context("waiting for an end")?;
        let Some((id, _)) = ended else { continue };
        let Some(one) = running.iter_mut().find(|(running, _)| *running == id) else { continue };
        std::thread::sleep(PAUSE);
        one.0 = one.1.start(layout, node)?;
    }
}

/// One of the node's own programs.
struct Program {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    fn start(&self, layout: &Layout, node: Node) -> Result<Pid> {
        let path = layout.log(&format!("{node}-{}.log", self.name));
        let log = File::options().create(true).append(true).open(path)?;
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", self.name))?;
        Pid::from_raw(i32::try_from(child.id())?).context("a process without an id")
    }
}

fn all(layout: &Layout, node: Node, programs: &Programs) -> [Program; 4] {
    let disk = Disk::of(layout, node);
    let own = |name: &str| disk.0.join(name).display().to_string();
    let containerd = Program {
        name: "containerd",
        path: "/usr/bin/containerd".into(),
        arguments: vec!["--config".to_owned(), own("containerd.toml")],
    };
    let proxy = Program {
        name: "kube-proxy",
        path: programs.of("kube-proxy"),
        arguments: vec![format!("--config={}", own("kube-proxy.yaml"))],
    };
    let text = |path: PathBuf| path.display().to_string();
    let driver = Program {
        name: "loopcsi",
        path: programs.of("loopcsi"),
        arguments: vec![
            "-node".to_owned(),
            node.to_string(),
            "-volumes".to_owned(),
            text(layout.volumes()),
            "-socket".to_owned(),
            text(disk.kubelet().join("plugins/loop/csi.sock")),
            "-registry".to_owned(),
            text(disk.kubelet().join("plugins_registry")),
        ],
    };
    let kubelet = Program {
        name: "kubelet",
        path: programs.of("kubelet"),
        arguments: vec![
            format!("--config={}", own("kubelet.yaml")),
            format!("--kubeconfig={}", layout.kubeconfig(Holder::Node(node)).display()),
            format!("--hostname-override={node}"),
            format!("--node-ip={}", Machine::Node(node).address()),
            format!("--root-dir={}", disk.kubelet().display()),
            format!("--cert-dir={}", disk.kubelet().join("pki").display()),
            format!("--node-labels=topology.kubernetes.io/zone=zone-{node}"),
        ],
    };
    [containerd, proxy, driver, kubelet]
}

/// Everything that a node keeps over a loss of power.
struct Disk(PathBuf);

impl Disk {
    fn of(layout: &Layout, node: Node) -> Self {
        Self(layout.node(node))
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn kubelet(&self) -> PathBuf {
        self.0.join("kubelet")
    }

    fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    fn containerd(&self) -> PathBuf {
        self.0.join("containerd")
    }
}

/// containerd's socket in the node's own /run.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// Brings an image into the node.
pub fn load(layout: &Layout, node: Node, archive: &Path) -> Result<()> {
    images::import(within(layout, node)?, SOCKET, archive)
}

/// Lets the node know an image by another name, too.
pub fn call_image(layout: &Layout, node: Node, names: (&str, &str)) -> Result<()> {
    images::call(within(layout, node)?, SOCKET, names)
}

/// Its own /run is only seen from within.
fn within(layout: &Layout, node: Node) -> Result<Command> {
    let process = daemon::find(layout, &node.to_string())?;
    let process = process.with_context(|| format!("{node} is off"))?;
    let mut command = Command::new("nsenter");
    command.arg("--mount").arg(format!("--target={}", first(process)?));
    Ok(command)
}

/// The node's first process as seen from here: the child of the one that made its namespaces.
fn first(process: Pid) -> Result<String> {
    let id = process.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    let first = children.split_whitespace().next().context("it is only just being started")?;
    Ok(first.to_owned())
}

fn mount(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("mount");
    command.args(arguments);
    run::succeed(command, WITHIN).map(drop)
}

fn pod_network(node: Node) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node.pods()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/addresses",
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd_settings(disk: &Disk) -> String {
    let (root, network) = (disk.containerd(), disk.network());
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd/state"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{plugins}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Some machines forbid what the kernel is asked for otherwise.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        root = root.display(),
        plugins = disk.folder("plugins").display(),
        pause = images::PAUSE,
        network = network.display(),
    )
}

fn kubelet_settings(layout: &Layout, node: Node) -> serde_json::Value {
    let disk = Disk::of(layout, node);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "clusterDNS": [Machine::ControlPlane.address()],
        "clusterDomain": "cluster.local",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.authority()},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.certificate(Holder::Node(node)),
        "tlsPrivateKeyFile": layout.key(Holder::Node(node)),
        "resolvConf": disk.0.join("resolv.conf"),
        // The machine below is shared by all nodes: its disk and memory are not one node's.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "memory.available": "100Mi",
        },
        "volumePluginDir": disk.0.join("volume-plugins"),
        "podLogsDir": disk.0.join("pod-logs"),
    })
}
