//! Says where everything of the testbed lies, and which address and name each part has.
//!
//! Never touches the machine.

use anyhow::{Context, Result, bail};
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How many nodes run pods.
pub(super) const NODES: u8 = 3;
/// Where the API server listens.
pub(super) const API_PORT: u16 = 6443;
/// The first address of the services' range is the API server's own service.
pub(super) const API_SERVICE: &str = "198.19.0.1";
pub(super) const SERVICES: &str = "198.19.0.0/16";
pub(super) const PODS: &str = "198.18.0.0/16";

/// Documentation and benchmark ranges: no real host can be meant.
const LAN: &str = "203.0.113";
const POD_NETWORK: &str = "198.18";

/// A machine of the testbed: a network namespace of its own on one bridge without uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    ControlPlane,
    Node(Node),
}

/// A node that runs pods, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node(u8);

impl Node {
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=NODES).map(Self)
    }

    pub fn number(self) -> u8 {
        self.0
    }

    /// The range of the addresses of its pods.
    pub fn pods(self) -> String {
        format!("{POD_NETWORK}.{}.0/24", self.0)
    }

    /// The group of everything on the node, below the root of each hierarchy.
    pub fn cgroup(self) -> String {
        format!("pgherd-{self}")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl FromStr for Node {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_prefix('n').unwrap_or(text).parse().ok();
        match number.filter(|number| (1..=NODES).contains(number)) {
            Some(number) => Ok(Self(number)),
            None => bail!("there is no node {text:?}: say n1 to n{NODES}"),
        }
    }
}

impl Machine {
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::ControlPlane).chain(Node::all().map(Self::Node))
    }

    pub fn address(self) -> String {
        match self {
            Self::ControlPlane => format!("{LAN}.10"),
            Self::Node(node) => format!("{LAN}.{}", 10 + node.0),
        }
    }

    pub fn namespace(self) -> String {
        format!("pgherd-{self}")
    }

    /// The bridge's end of its cable.
    pub fn port(self) -> String {
        format!("port-{self}")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane => f.write_str("cp"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

impl FromStr for Machine {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "cp" {
            return Ok(Self::ControlPlane);
        }
        let node = text.parse().map(Self::Node);
        node.with_context(|| format!("{text:?} is no machine: cp is the control plane"))
    }
}

/// The namespace of the bridge.
pub(super) const LAN_NAMESPACE: &str = "pgherd-lan";

/// Whom a credential of the testbed names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    ApiServer,
    Admin,
    ControllerManager,
    Scheduler,
    Proxy,
    FrontProxy,
    Node(Node),
}

impl Holder {
    pub fn all() -> impl Iterator<Item = Self> {
        let central = [
            Self::ApiServer,
            Self::Admin,
            Self::ControllerManager,
            Self::Scheduler,
            Self::Proxy,
            Self::FrontProxy,
        ];
        central.into_iter().chain(Node::all().map(Self::Node))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiServer => f.write_str("apiserver"),
            Self::Admin => f.write_str("admin"),
            Self::ControllerManager => f.write_str("controller-manager"),
            Self::Scheduler => f.write_str("scheduler"),
            Self::Proxy => f.write_str("proxy"),
            Self::FrontProxy => f.write_str("front-proxy"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// The folders of the testbed: what `down` removes, and what is kept for the next `up`.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    cache: PathBuf,
}

impl Layout {
    /// Where people's environment wants it, else in the usual places.
    pub fn find() -> Result<Self> {
        let chosen = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = chosen("PGHERD_TESTBED").unwrap_or_else(|| "/var/tmp/pgherd-testbed".into());
        let caches = chosen("XDG_CACHE_HOME").or_else(|| Some(chosen("HOME")?.join(".cache")));
        let caches = caches.context("neither XDG_CACHE_HOME nor HOME says where to keep builds")?;
        for path in [&root, &caches] {
            if !path.is_absolute() {
                bail!("{} is not absolute", path.display());
            }
        }
        Ok(Self { root, cache: caches.join("pgherd/testbed") })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Locked while a command changes the testbed. Beside its folder: that one is removed.
    pub fn lock(&self) -> PathBuf {
        self.root.with_extension("lock")
    }

    /// There once everything is up.
    pub fn complete(&self) -> PathBuf {
        self.root.join("complete")
    }

    pub fn log(&self, program: &str) -> PathBuf {
        self.root.join("logs").join(program)
    }

    pub fn process(&self, program: &str) -> PathBuf {
        self.root.join("processes").join(program)
    }

    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub fn authority(&self) -> PathBuf {
        self.keys().join("ca.crt")
    }

    pub fn certificate(&self, holder: Holder) -> PathBuf {
        self.keys().join(format!("{holder}.crt"))
    }

    pub fn key(&self, holder: Holder) -> PathBuf {
        self.keys().join(format!("{holder}.key"))
    }

    pub fn kubeconfig(&self, holder: Holder) -> PathBuf {
        self.root.join(format!("{holder}.kubeconfig"))
    }

    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The disk of a node: what is there after a loss of power.
    pub fn node(&self, node: Node) -> PathBuf {
        self.root.join(node.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_as_people_say() {
        assert_eq!("n2".parse::<Node>().unwrap(), "2".parse().unwrap());
        assert_eq!("cp".parse::<Machine>().unwrap(), Machine::ControlPlane);
        let complaint = "n4".parse::<Node>().unwrap_err().to_string();
        assert_eq!(complaint, "there is no node \"n4\": say n1 to n3");
        let machine = "x".parse::<Machine>().unwrap_err().to_string();
        assert_eq!(machine, "\"x\" is no machine: cp is the control plane");
    }

    #[test]
    fn no_two_machines_share_an_address() {
        let mut addresses: Vec<String> = Machine::all().map(Machine::address).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), usize::from(NODES) + 1);
    }
}
