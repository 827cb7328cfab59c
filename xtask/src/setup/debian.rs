//! Installs Debian packages by name.
//!
//! Never creates a PostgreSQL cluster of Debian's, and never leaves a service running.

use anyhow::{Context, Result, bail};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) const POSTGRESQL_BINDIR: &str = "/usr/lib/postgresql/15/bin";

/// A package, what proves that it is there, and the service it would start.
#[derive(Debug, Clone, Copy)]
pub(super) struct DebianPackage {
    name: &'static str,
    proof: &'static str,
    service: Option<&'static str>,
}

pub(super) const POSTGRESQL: DebianPackage = DebianPackage {
    name: "postgresql-15",
    proof: "/usr/lib/postgresql/15/bin/postgres",
    service: None, // Without a cluster there is nothing to run, see `WithoutCluster`.
};
pub(super) const PIP: DebianPackage = DebianPackage {
    name: "python3-pip",
    proof: "/usr/lib/python3/dist-packages/pip",
    service: None,
};
pub(super) const NPM: DebianPackage =
    DebianPackage { name: "npm", proof: "/usr/bin/npm", service: None };
pub(super) const BARMAN: DebianPackage = DebianPackage {
    name: "barman-cli-cloud",
    proof: "/usr/bin/barman-cloud-backup-list",
    service: None,
};
/// What barman-cloud speaks to S3 with; Debian leaves the choice open.
pub(super) const BOTO: DebianPackage = DebianPackage {
    name: "python3-boto3",
    proof: "/usr/lib/python3/dist-packages/boto3",
    service: None,
};
/// Reads what metrics are written in, independently of what writes them.
pub(super) const METRICS_PARSER: DebianPackage = DebianPackage {
    name: "python3-prometheus-client",
    proof: "/usr/lib/python3/dist-packages/prometheus_client",
    service: None,
};
/// Tells programs another time of day.
pub(super) const FAKETIME: DebianPackage =
    DebianPackage { name: "faketime", proof: "/usr/bin/faketime", service: None };
pub(super) const BACKREST: DebianPackage =
    DebianPackage { name: "pgbackrest", proof: "/usr/bin/pgbackrest", service: None };
pub(super) const ZSTD: DebianPackage =
    DebianPackage { name: "zstd", proof: "/usr/bin/zstd", service: None };
pub(super) const ETCD: DebianPackage =
    DebianPackage { name: "etcd-server", proof: "/usr/bin/etcd", service: Some("etcd") };
pub(super) const PATRONI: DebianPackage =
    DebianPackage { name: "patroni", proof: "/usr/bin/patroni", service: Some("patroni") };

/// What a Kubernetes on this machine is made of, beside what is built.
pub(super) const KUBERNETES: &[DebianPackage] = &[
    ETCD,
    DebianPackage { name: "containerd", proof: "/usr/bin/containerd", service: Some("containerd") },
    DebianPackage { name: "runc", proof: "/usr/sbin/runc", service: None },
    DebianPackage {
        name: "containernetworking-plugins",
        proof: "/usr/lib/cni/bridge",
        service: None,
    },
    DebianPackage { name: "debootstrap", proof: "/usr/sbin/debootstrap", service: None },
    DebianPackage { name: "xfsprogs", proof: "/usr/sbin/mkfs.xfs", service: None },
    DebianPackage { name: "nftables", proof: "/usr/sbin/nft", service: None },
    DebianPackage { name: "iptables", proof: "/usr/sbin/iptables", service: None },
];

/// Installs those of the packages that are not there.
pub(super) fn install(packages: &[DebianPackage]) -> Result<()> {
    let missing: Vec<DebianPackage> =
        packages.iter().filter(|package| !Path::new(package.proof).exists()).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand =
        format!("install by hand: apt-get install --no-install-recommends {}", names.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "{} missing and there is no apt-get here; install what Debian calls so",
            names.join(" ")
        );
    }
    let rights = Rights::find().context(by_hand.clone())?;
    eprintln!("installing {}", names.join(" "));
    apt(rights, &missing, &names).context(by_hand)
}

fn apt(rights: Rights, missing: &[DebianPackage], names: &[&str]) -> Result<()> {
    rights.run(&["apt-get", "update", "--quiet"])?;
    let unattended = ["env", "DEBIAN_FRONTEND=noninteractive"];
    let install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"];
    let without_cluster = WithoutCluster::ask(rights)?;
    rights.run(&[&unattended[..], &install[..], names].concat())?;
    drop(without_cluster);
    for service in missing.iter().filter_map(|package| package.service) {
        if let Err(failure) = keep_off(rights, service) {
            eprintln!("service {service}: {failure:#}");
        }
    }
    Ok(())
}

/// Stops the service that came with a package, also after the next boot.
fn keep_off(rights: Rights, service: &str) -> Result<()> {
    if Path::new("/run/systemd/system").exists() {
        return rights.run(&["systemctl", "disable", "--quiet", "--now", service]);
    }
    // Without systemd nothing starts a service that has no script.
    if !Path::new("/etc/init.d").join(service).exists() {
        return Ok(());
    }
    rights.run(&["service", service, "stop"])?;
    rights.run(&["update-rc.d", service, "disable"])
}

/// How we get to act as root.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rights {
    Root,
    Sudo,
    /// Nobody is there to type a password.
    SudoUnattended,
}

impl Rights {
    pub(super) fn find() -> Result<Self> {
        let id = Command::new("id").arg("-u").output().context("running id -u")?;
        if String::from_utf8_lossy(&id.stdout).trim() == "0" {
            return Ok(Self::Root);
        }
        let is_attended = std::io::stdin().is_terminal();
        let rights = if is_attended { Self::Sudo } else { Self::SudoUnattended };
        rights.run(&["true"]).context("neither root nor able to use sudo")?;
        Ok(rights)
    }

    fn command(self, words: &[&str]) -> Command {
        let sudo: &[&str] = match self {
            Self::Root => &[],
            Self::Sudo => &["sudo"],
            Self::SudoUnattended => &["sudo", "--non-interactive"],
        };
        let mut words = sudo.iter().chain(words);
        let mut command = Command::new(words.next().copied().unwrap_or_default());
        command.args(words);
        command
    }

    fn run(self, words: &[&str]) -> Result<()> {
        let mut command = self.command(words);
        // Our standard output belongs to the answer of the command people called.
        let status = command
            .stdout(std::io::stderr())
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("running {}", words.join(" ")))?;
        if status.success() {
            return Ok(());
        }
        bail!("{} ended with {status}", words.join(" "))
    }

    fn write(self, path: &str, text: &str) -> Result<()> {
        let mut tee = self
            .command(&["tee", path])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("writing {path}"))?;
        if let Some(mut input) = tee.stdin.take() {
            input.write_all(text.as_bytes()).with_context(|| format!("writing {path}"))?;
        }
        let status = tee.wait().with_context(|| format!("writing {path}"))?;
        if status.success() { Ok(()) } else { bail!("writing {path} ended with {status}") }
    }
}

/// Keeps Debian from creating and starting a cluster of its own while this value lives. The
/// setting goes away again: what the user installs later behaves as Debian's users expect.
struct WithoutCluster(Rights);

impl WithoutCluster {
    const FOLDER: &str = "/etc/postgresql-common/createcluster.d";
    const FILE: &str = "/etc/postgresql-common/createcluster.d/pgherd.conf";

    fn ask(rights: Rights) -> Result<Self> {
        rights.run(&["mkdir", "-p", Self::FOLDER])?;
        let asked = Self(rights);
        rights.write(Self::FILE, "# Only while pgherd installs.\ncreate_main_cluster = false\n")?;
        Ok(asked)
    }
}

impl Drop for WithoutCluster {
    fn drop(&mut self) {
        let removed = self.0.run(&["rm", "--force", Self::FILE]);
        let folder = ["rmdir", "--ignore-fail-on-non-empty", Self::FOLDER];
        if let Err(failure) = removed.and_then(|()| self.0.run(&folder)) {
            eprintln!("remove {} by hand: {failure:#}", Self::FILE);
        }
    }
}
