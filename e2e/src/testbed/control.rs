//! Starts the control plane: etcd, the API server, and what works through it.
//!
//! Never a stand-in: each is the program that clusters run.

use super::credentials::{AUTHORITY_KEY, TOKEN_KEY, TOKEN_PUBLIC_KEY};
use super::layout::{API_PORT, Holder, Layout, Machine, PODS, SERVICES};
use super::programs::Programs;
use super::{daemon, network};
use crate::{run, wait};
use anyhow::Result;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const API_WITHIN: Duration = Duration::from_mins(1);
const SOCKET_WITHIN: Duration = Duration::from_secs(20);
pub(super) const KUBECTL_WITHIN: Duration = Duration::from_secs(30);

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const ETCD_ADDRESS: &str = "http://127.0.0.1:2379";
/// What claims get, and the driver that makes it.
const STORAGE: &str = include_str!("storage.yaml");

/// Starts all of it, and waits until the API server answers.
pub(super) fn start(layout: &Layout, programs: &Programs) -> Result<()> {
    start_store(layout)?;
    start_api(layout, programs)?;
    let text = corefile(layout);
    let corefile = layout.root().join("Corefile");
    fs::write(&corefile, text)?;
    wait::until("the API server", API_WITHIN, || {
        let ready = kubectl(layout, programs, &["get", "--raw", "/readyz"]);
        Ok(run::run(ready, KUBECTL_WITHIN)?.succeeded)
    })?;
    let start = |name, arguments: &[&str]| {
        daemon::start(layout, name, &here(&programs.of(name), arguments))
    };
    let kubeconfig = |holder| format!("--kubeconfig={}", layout.kubeconfig(holder).display());
    let key = |flag, file| format!("--{flag}={}", layout.keys().join(file).display());
    let authority = |flag| format!("--{flag}={}", layout.authority().display());
    start(
        "kube-controller-manager",
        &[
            &kubeconfig(Holder::ControllerManager),
            &key("service-account-private-key-file", TOKEN_KEY),
            &authority("root-ca-file"),
            &authority("cluster-signing-cert-file"),
            &key("cluster-signing-key-file", AUTHORITY_KEY),
            "--use-service-account-credentials=true",
            "--leader-elect=false",
        ],
    )?;
    start("kube-scheduler", &[&kubeconfig(Holder::Scheduler), "--leader-elect=false"])?;
    start("coredns", &["-conf", &corefile.display().to_string()])?;
    // The API server reaches webhooks through their services, so it needs their rules too.
    let proxy = layout.root().join("kube-proxy.yaml");
    let name = Machine::ControlPlane.to_string();
    fs::write(&proxy, proxy_settings(layout, &name).to_string())?;
    start("kube-proxy", &[&format!("--config={}", proxy.display())])?;
    start_storage(layout, programs)
}

/// Stops the API server, as a failure of it would.
pub(super) fn stop_api(layout: &Layout) -> Result<()> {
    daemon::kill(layout, API_SERVER)
}

/// Starts it unless it runs.
pub(super) fn start_api(layout: &Layout, programs: &Programs) -> Result<()> {
    if daemon::find(layout, API_SERVER)?.is_some() {
        return Ok(());
    }
    let of = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let key = |flag, file| of(flag, &layout.keys().join(file));
    let pair = |certificate, private, holder| {
        [of(certificate, &layout.certificate(holder)), of(private, &layout.key(holder))]
    };
    let mut arguments = vec![
        format!("--etcd-servers={ETCD_ADDRESS}"),
        format!("--advertise-address={}", Machine::ControlPlane.address()),
        format!("--secure-port={API_PORT}"),
        of("client-ca-file", &layout.authority()),
        of("kubelet-certificate-authority", &layout.authority()),
        // Nodes have no names in any DNS.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--allow-privileged=true".to_owned(),
        key("service-account-key-file", TOKEN_PUBLIC_KEY),
        key("service-account-signing-key-file", TOKEN_KEY),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        of("requestheader-client-ca-file", &layout.authority()),
        "--requestheader-allowed-names=front-proxy".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
    ];
    arguments.extend(pair("tls-cert-file", "tls-private-key-file", Holder::ApiServer));
    arguments.extend(pair("kubelet-client-certificate", "kubelet-client-key", Holder::Admin));
    arguments.extend(pair("proxy-client-cert-file", "proxy-client-key-file", Holder::FrontProxy));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    daemon::start(layout, API_SERVER, &here(&programs.of(API_SERVER), &arguments))
}

fn start_store(layout: &Layout) -> Result<()> {
    let folder = layout.root().join(ETCD);
    fs::create_dir_all(&folder)?;
    let folder = folder.display().to_string();
    let arguments = ["--data-dir", &folder, "--listen-client-urls", ETCD_ADDRESS];
    let addresses = [
        "--advertise-client-urls",
        ETCD_ADDRESS,
        "--listen-peer-urls",
        "http://127.0.0.1:2380",
        // Kept to what a test can write; the default trips over many namespaces.
        "--quota-backend-bytes",
        "2147483648",
    ];
    let all = [&arguments[..], &addresses[..]].concat();
    daemon::start(layout, ETCD, &here(Path::new("/usr/bin/etcd"), &all))
}

/// The driver's half that makes and grows volumes, and the real resizer.
fn start_storage(layout: &Layout, programs: &Programs) -> Result<()> {
    fs::create_dir_all(layout.volumes())?;
    let socket = layout.root().join("csi.sock");
    let (volumes, admin) = (layout.volumes(), layout.kubeconfig(Holder::Admin));
    let [volumes, admin, address] =
        [&volumes, &admin, &socket].map(|path| path.display().to_string());
    let driver = ["-volumes", &volumes, "-socket", &address, "-kubeconfig", &admin];
    daemon::start(layout, "loopcsi", &here(&programs.of("loopcsi"), &driver))?;
    wait::until("the storage driver", SOCKET_WITHIN, || Ok(socket.exists()))?;
    let resizer = ["-csi-address", &address, "-kubeconfig", &admin];
    daemon::start(layout, "csi-resizer", &here(&programs.of("csi-resizer"), &resizer))?;
    let manifest = layout.root().join("storage.yaml");
    fs::write(&manifest, STORAGE)?;
    let file = manifest.display().to_string();
    run::succeed(kubectl(layout, programs, &["apply", "--filename", &file]), KUBECTL_WITHIN)
        .map(drop)
}

/// kubectl with all rights, where it reaches the API server.
pub(super) fn kubectl(layout: &Layout, programs: &Programs, arguments: &[&str]) -> Command {
    let mut command = network::within(Machine::ControlPlane);
    command.arg(programs.of("kubectl")).args(arguments);
    command.env("KUBECONFIG", layout.kubeconfig(Holder::Admin));
    command
}

/// A program on the control plane's machine.
fn here(program: &Path, arguments: &[&str]) -> Command {
    let mut command = network::within(Machine::ControlPlane);
    command.arg(program).args(arguments);
    command
}

/// The settings of kube-proxy on the machine of this name.
pub(super) fn proxy_settings(layout: &Layout, machine: &str) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": machine,
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": layout.kubeconfig(Holder::Proxy)},
        // Those of the machine below are not ours to change.
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    })
}

fn corefile(layout: &Layout) -> String {
    let kubeconfig = layout.kubeconfig(Holder::Admin);
    format!(
        ".:53 {{\n  bind {}\n  kubernetes cluster.local in-addr.arpa {{\n    kubeconfig {}\n    \
         pods verified\n    ttl 5\n  }}\n}}\n",
        Machine::ControlPlane.address(),
        kubeconfig.display()
    )
}
