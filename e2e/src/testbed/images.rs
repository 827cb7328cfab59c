//! Makes the images that pods of the testbed start from, and brings them onto nodes.
//!
//! Never asks an image registry: everything comes from packages.

use super::layout::Layout;
use super::pack::{self, Image, Layer, Packed, Start, Weight};
use super::programs::Programs;
use crate::{run, wait};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Debian's PostgreSQL 15, packed.
const ARCHIVE: &str = "postgresql-15.tar";
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
    let archives = [folder.join("pause.tar"), folder.join(ARCHIVE)];
    let [pause, postgresql] = &archives;
    if !pause.exists() {
        let root = tempfile::tempdir_in(&folder)?;
        let program = root.path().join("pause");
        fs::copy(programs.of("pause"), &program)?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        let image = image(PAUSE, "/pause", "65535", "/");
        pack::pack(&[Layer::Folder(root.path())], pause, &image, Weight::Plain)?;
    }
    if !postgresql.exists() {
        tell("making an image of Debian's PostgreSQL 15");
        let root = tempfile::tempdir_in(&folder)?;
        bootstrap(root.path())?;
        let path = path(15);
        let image = image(POSTGRESQL, "/bin/bash", USER, &path);
        pack::pack(&[Layer::Owned(root.path())], postgresql, &image, Weight::Plain)?;
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

/// Gives an image of the containerd that listens there another name, too.
pub(super) fn call(mut command: Command, socket: &str, (image, name): (&str, &str)) -> Result<()> {
    command.args(["ctr", "--address", socket, "--namespace", "k8s.io", "images", "tag"]);
    command.args(["--force", image, name]);
    run::succeed(command, WITHIN).map(drop)
}

fn folder(layout: &Layout) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (PAUSE, POSTGRESQL, DEBIAN, PACKAGES, USER).hash(&mut hasher);
    layout.cache().join(format!("images-{:016x}", hasher.finish()))
}

/// Another PostgreSQL on the Debian that 15 is on: `tree` is what it adds. Returns the archive.
pub(super) fn another(layout: &Layout, major: u32, tree: &Path, archive: &Path) -> Result<Packed> {
    let base = folder(layout).join(ARCHIVE);
    let bin = tree.join(format!("usr/lib/postgresql/{major}/bin"));
    if !bin.join("postgres").exists() {
        bail!("{} holds no PostgreSQL: `cargo xtask kubernetes postgres {major}`", bin.display());
    }
    // Who looks for PostgreSQL in such an image must find one.
    let without = tempfile::tempdir_in(folder(layout))?;
    let hidden = without.path().join("usr/lib/postgresql");
    fs::create_dir_all(&hidden)?;
    fs::write(hidden.join(".wh.15"), "")?;
    for above in hidden.ancestors().take_while(|above| above.starts_with(without.path())) {
        fs::set_permissions(above, fs::Permissions::from_mode(0o755))?;
    }
    let layers = [Layer::Base(&base), Layer::Folder(without.path()), Layer::Folder(tree)];
    let (name, path) = (name(major), path(major));
    pack::pack(&layers, archive, &image(&name, "/bin/bash", USER, &path), Weight::Plain)
}

/// The name of the image with this PostgreSQL.
pub fn name(major: u32) -> String {
    format!("localhost/postgresql:{major}")
}

fn path(major: u32) -> String {
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    format!("/usr/lib/postgresql/{major}/bin:{usual}")
}

fn image<'a>(name: &'a str, program: &'a str, user: &'a str, path: &'a str) -> Image<'a> {
    Image { name, start: Start::Usually(program), user, path, labels: BTreeMap::new() }
}

/// The image of our own program.
pub const PGHERD: &str = "localhost/pgherd:dev";

/// The image of the client of proofs.
pub const CLIENT: &str = "localhost/pgherd-e2e:dev";

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
