//! Makes the images that pods of the testbed start from, and brings them onto nodes.
//!
//! Never asks an image registry: everything comes from Debian's packages.

use super::layout::Layout;
use super::programs::Programs;
use crate::{run, wait};
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What every pod's namespaces are held by.
pub(super) const PAUSE: &str = "localhost/pause:1";
/// Debian's PostgreSQL 15, as user 26.
pub const POSTGRESQL: &str = "localhost/postgresql:15";

const DEBIAN: &str = "bookworm";
const PACKAGES: &str = "ca-certificates,iproute2,procps,postgresql-15";
/// Whom images of CloudNativePG's users run as.
const USER: &str = "26";
const MAKE_WITHIN: Duration = Duration::from_mins(15);
const IMPORT_WITHIN: Duration = Duration::from_mins(5);
const SOCKET_WITHIN: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_mins(1);
/// The folder of containerd in which all images are already unpacked.
const TEMPLATE: &str = "containerd";

/// Makes what is not there: archives of the images, and a folder of containerd that has them.
pub(super) fn make(layout: &Layout, programs: &Programs, mut tell: impl FnMut(&str)) -> Result<()> {
    let folder = folder(layout);
    if folder.join(TEMPLATE).exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    let archives = [folder.join("pause.tar"), folder.join("postgresql-15.tar")];
    let [pause, postgresql] = &archives;
    if !pause.exists() {
        let root = tempfile::tempdir_in(&folder)?;
        let program = root.path().join("pause");
        fs::copy(programs.of("pause"), &program)?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        pack(
            root.path(),
            pause,
            &Image { name: PAUSE, command: "/pause", user: "65535", path: "/" },
        )?;
    }
    if !postgresql.exists() {
        tell("making an image of Debian's PostgreSQL 15");
        let root = tempfile::tempdir_in(&folder)?;
        bootstrap(root.path())?;
        let path = "/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let image = Image { name: POSTGRESQL, command: "/bin/bash", user: USER, path };
        pack(root.path(), postgresql, &image)?;
    }
    tell("unpacking the images");
    unpack(&folder, &archives)
}

/// Gives a new node's containerd all images at once, without copying what never changes.
pub(super) fn provide(layout: &Layout, root: &Path) -> Result<()> {
    let template = folder(layout).join(TEMPLATE);
    // Contents and snapshots are only ever replaced as files; the databases are written in place.
    let mut link = Command::new("cp");
    link.args(["--archive", "--link"]).arg(&template).arg(root);
    run::succeed(link, WITHIN)?;
    let mut copy = Command::new("find");
    copy.arg(root).args(["-name", "*.db", "-exec", "sed", "--in-place", "", "{}", "+"]);
    run::succeed(copy, WITHIN).map(drop)
}

/// Imports an archive into the containerd that listens there; `command` says where to run.
pub(super) fn import(mut command: Command, socket: &str, archive: &Path) -> Result<()> {
    command.args(["ctr", "--address", socket, "--namespace", "k8s.io", "images", "import"]);
    command.arg(archive);
    run::succeed(command, IMPORT_WITHIN).map(drop)
}

fn folder(layout: &Layout) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (PAUSE, POSTGRESQL, DEBIAN, PACKAGES, USER).hash(&mut hasher);
    layout.cache().join(format!("images-{:016x}", hasher.finish()))
}

struct Image<'a> {
    name: &'a str,
    command: &'static str,
    user: &'static str,
    path: &'static str,
}

/// The image of our own program.
pub const PGHERD: &str = "localhost/pgherd:dev";

/// The image of the client of proofs.
pub const CLIENT: &str = "localhost/pgherd-e2e:dev";

/// Packs a static program as an image that has nothing else in it. The same program gives the same
/// image.
pub fn pack_program(program: &Path, archive: &Path, name: &str) -> Result<()> {
    let place = archive.parent().context("an archive without a folder")?;
    let root = tempfile::tempdir_in(place)?;
    let own = root.path().join("pgherd");
    // Where proofs keep their book.
    fs::create_dir(root.path().join("tmp"))?;
    fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&own).arg(program);
    run::succeed(strip, WITHIN)?;
    for path in [root.path(), &own] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    pack(root.path(), archive, &Image { name, command: "/pgherd", user: "10001", path: "/" })
}

/// A Debian with PostgreSQL in it, and nothing of the machine it was made on.
fn bootstrap(root: &Path) -> Result<()> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), DEBIAN]).arg(root);
    run::succeed(command, MAKE_WITHIN)?;
    let mut user = Command::new("chroot");
    user.arg(root).args(["usermod", "--uid", USER, "postgres"]);
    run::succeed(user, WITHIN)?;
    // Debian makes a cluster when it installs PostgreSQL; an image has none.
    for rest in [
        "var/lib/postgresql",
        "etc/postgresql",
        "var/cache/apt",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/man",
        "var/log",
        "etc/hostname",
        "etc/resolv.conf",
    ] {
        let path = root.join(rest);
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
            fs::create_dir(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Packs a folder as an archive that `docker save` could have made.
fn pack(root: &Path, archive: &Path, image: &Image<'_>) -> Result<()> {
    let place = tempfile::tempdir_in(archive.parent().context("an archive without a folder")?)?;
    let layer = place.path().join("layer.tar");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--numeric-owner", "--sort=name", "--mtime=@0", "--file"]).arg(&layer);
    tar.arg("--directory").arg(root).arg(".");
    run::succeed(tar, MAKE_WITHIN)?;
    let digest = digest(&layer)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Cmd": [image.command],
            "User": image.user,
            "Env": [format!("PATH={}", image.path)],
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created": "1970-01-01T00:00:00Z"}],
    });
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [image.name], "Layers": ["layer.tar"]}]);
    fs::write(place.path().join("config.json"), config.to_string())?;
    fs::write(place.path().join("manifest.json"), manifest.to_string())?;
    let unfinished = place.path().join("image");
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(&unfinished).arg("--directory").arg(place.path());
    tar.args(["manifest.json", "config.json", "layer.tar"]);
    run::succeed(tar, MAKE_WITHIN)?;
    fs::rename(unfinished, archive)?;
    Ok(())
}

fn digest(file: &Path) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    let said = run::succeed(command, MAKE_WITHIN)?;
    said.split_whitespace().next().map(str::to_owned).context("sha256sum said nothing")
}

/// Lets a containerd of its own unpack them, once for all nodes to come.
fn unpack(folder: &Path, archives: &[PathBuf]) -> Result<()> {
    let place = tempfile::tempdir_in(folder)?;
    let (root, socket) = (place.path().join("root"), place.path().join("socket"));
    let settings = place.path().join("containerd.toml");
    let text = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = \
         [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = \"{}\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"{}\"\n",
        root.display(),
        place.path().join("state").display(),
        socket.display(),
        place.path().join("opt").display(),
    );
    fs::write(&settings, text)?;
    let log = fs::File::create(place.path().join("log"))?;
    let mut command = Command::new("/usr/bin/containerd");
    command.arg("--config").arg(&settings).stdin(Stdio::null());
    command.stdout(log.try_clone()?).stderr(log);
    let running = Running(command.spawn().context("starting containerd")?);
    wait::until("containerd", SOCKET_WITHIN, || Ok(socket.exists()))?;
    for archive in archives {
        let env = Command::new("env");
        import(env, &socket.display().to_string(), archive)?;
    }
    drop(running);
    fs::rename(root, folder.join(TEMPLATE))?;
    Ok(())
}

/// Ends a program with the scope that needed it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _finishing = wait::finishing();
        // It may have ended already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}
