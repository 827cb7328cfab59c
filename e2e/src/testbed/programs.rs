//! Builds the testbed's programs from their modules, and keeps them for the next time.
//!
//! Never takes a build of other sources or versions for these.

use super::layout::Layout;
use crate::run;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The last release that works with Debian 12's containerd.
const KUBERNETES: &str = "1.35.4";
const BUILD_WITHIN: Duration = Duration::from_mins(40);
const ASK_WITHIN: Duration = Duration::from_mins(5);

/// Our own programs: a folder's name and its files.
const OWN: &[(&str, &[(&str, &str)])] = &[
    (
        "kubebox",
        &[
            ("go.mod", include_str!("../../programs/kubebox/go.mod")),
            ("go.sum", include_str!("../../programs/kubebox/go.sum")),
            ("main.go", include_str!("../../programs/kubebox/main.go")),
        ],
    ),
    (
        "loopcsi",
        &[
            ("go.mod", include_str!("../../programs/loopcsi/go.mod")),
            ("go.sum", include_str!("../../programs/loopcsi/go.sum")),
            ("main.go", include_str!("../../programs/loopcsi/main.go")),
            ("controller.go", include_str!("../../programs/loopcsi/controller.go")),
            ("node.go", include_str!("../../programs/loopcsi/node.go")),
            ("provision.go", include_str!("../../programs/loopcsi/provision.go")),
        ],
    ),
    (
        "pause",
        &[
            ("go.mod", include_str!("../../programs/pause/go.mod")),
            ("main.go", include_str!("../../programs/pause/main.go")),
        ],
    ),
];

/// Others', built in their own modules: the module, its version, the package in it, the program.
const OTHERS: &[(&str, &str, &str, &str)] = &[
    ("github.com/coredns/coredns", "v1.15.0", ".", "coredns"),
    ("github.com/kubernetes-csi/external-resizer/v2", "v2.3.0", "./cmd/csi-resizer", "csi-resizer"),
];

/// What kubebox is started as.
const IN_KUBEBOX: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
];

/// Programs that are built.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Where they are, or will be.
    pub fn at(layout: &Layout) -> Self {
        Self(layout.cache().join(format!("programs-{:016x}", version())))
    }

    /// Builds those that are not there; `tell` hears of each.
    pub fn provide(layout: &Layout, mut tell: impl FnMut(&str)) -> Result<Self> {
        let programs = Self::at(layout);
        fs::create_dir_all(&programs.0)?;
        for (name, files) in OWN {
            if programs.of(name).exists() {
                continue;
            }
            tell(&format!("building {name}"));
            let source = tempfile::tempdir()?;
            for (file, text) in *files {
                fs::write(source.path().join(file), text)?;
            }
            programs.build(source.path(), ".", name)?;
        }
        for (module, version, package, name) in OTHERS {
            if programs.of(name).exists() {
                continue;
            }
            tell(&format!("building {name}"));
            programs.build(&fetch(module, version)?, package, name)?;
        }
        for name in IN_KUBEBOX {
            let link = programs.of(name);
            if !link.exists() {
                std::os::unix::fs::symlink("kubebox", &link)?;
            }
        }
        Ok(programs)
    }

    pub fn of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn build(&self, module: &Path, package: &str, name: &str) -> Result<()> {
        let unfinished = self.0.join(format!(".{name}.unfinished"));
        let mut command = go()?;
        command.arg("build").arg("-C").arg(module).args(["-trimpath", "-ldflags", &flags()]);
        command.arg("-o").arg(&unfinished).arg(package);
        run::succeed(command, BUILD_WITHIN).with_context(|| format!("building {name}"))?;
        fs::rename(unfinished, self.of(name))?;
        Ok(())
    }
}

/// Clients ask the API server for its version, which is only known to the linker.
fn flags() -> String {
    let package = "k8s.io/component-base/version";
    let mut parts = KUBERNETES.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!(
        "-s -w -X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor={major} -X \
         {package}.gitMinor={minor}"
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fetched {
    dir: PathBuf,
}

fn fetch(module: &str, version: &str) -> Result<PathBuf> {
    let mut command = go()?;
    command.args(["mod", "download", "-json", &format!("{module}@{version}")]);
    let said = run::succeed(command, BUILD_WITHIN)?;
    let fetched: Fetched =
        serde_json::from_str(&said).with_context(|| format!("go said {said}"))?;
    Ok(fetched.dir)
}

/// Go, without a C compiler's help: what is built runs in images that have no library.
fn go() -> Result<Command> {
    let usual = Path::new("/usr/local/go/bin/go");
    let program = if usual.exists() { usual } else { Path::new("go") };
    let mut ask = Command::new(program);
    ask.args(["env", "GOVERSION"]);
    if run::run(ask, ASK_WITHIN).is_err() {
        bail!("Go 1.25 or newer is needed to build Kubernetes: install it from go.dev/dl");
    }
    let mut command = Command::new(program);
    command.env("CGO_ENABLED", "0");
    Ok(command)
}

fn version() -> u64 {
    let mut hasher = DefaultHasher::new();
    (KUBERNETES, OWN, OTHERS, flags()).hash(&mut hasher);
    hasher.finish()
}
