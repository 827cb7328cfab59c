//! Asks cargo which packages the workspace has and what each of them is built from.
//!
//! Never guesses from manifests: what cargo resolves is what ships.

use crate::repository;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One package of ours, seen through its normal dependencies: neither tests nor build scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// From the root of the repository.
    pub(crate) folder: String,
    /// Packages it names itself.
    pub(crate) direct: BTreeSet<String>,
    /// Packages that end up in it, directly or through others.
    pub(crate) reaches: BTreeSet<String>,
}

/// The cargo that runs us, so that a pinned toolchain stays pinned.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(repository::root());
    command
}

/// The packages of the workspace, sorted by name.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let host = host()?;
    // `--locked`: a lock file that lags behind the manifests must be noticed here, not by a user.
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &host];
    let metadata: Value = serde_json::from_str(&output(cargo().args(arguments))?)
        .context("reading the output of cargo metadata")?;
    let mut packages = read(&metadata)?;
    for package in &mut packages {
        package.reaches = reaches(&package.name)?;
    }
    Ok(packages)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    repository::root().join(given.unwrap_or_else(|| PathBuf::from("target")))
}

/// Whether the workspace has this package today.
pub(crate) fn exists(package: &str) -> bool {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let found = output(cargo().args(arguments)).ok();
    let found = found.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    found.is_some_and(|metadata| {
        list(field(&metadata, "packages")).any(|one| field(one, "name") == package)
    })
}

fn host() -> Result<String> {
    let about = output(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("running {command:?}"))?;
    if !done.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The packages with what they name; what that leads to stays empty.
fn read(metadata: &Value) -> Result<Vec<Package>> {
    let names: BTreeMap<&str, &str> = list(field(metadata, "packages"))
        .filter_map(|one| Some((field(one, "id").as_str()?, field(one, "name").as_str()?)))
        .collect();
    let arrows: BTreeMap<&str, Vec<&str>> = list(field(field(metadata, "resolve"), "nodes"))
        .filter_map(|node| Some((field(node, "id").as_str()?, normal_dependencies(node))))
        .collect();
    let root = field(metadata, "workspace_root").as_str().context("no workspace root")?;
    let members: Vec<&str> =
        list(field(metadata, "workspace_members")).filter_map(Value::as_str).collect();
    let mut packages = Vec::new();
    for package in list(field(metadata, "packages")) {
        let id = field(package, "id").as_str().context("a package without an id")?;
        if !members.contains(&id) {
            continue;
        }
        let manifest =
            field(package, "manifest_path").as_str().context("a package without a manifest")?;
        let folder = Path::new(manifest).parent().context("a manifest without a folder")?;
        let named = |ids: &[&str]| {
            ids.iter().filter_map(|id| names.get(id)).map(|name| (*name).to_owned()).collect()
        };
        packages.push(Package {
            name: names.get(id).copied().unwrap_or_default().to_owned(),
            folder: folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned(),
            direct: named(arrows.get(id).map_or(&[], Vec::as_slice)),
            reaches: BTreeSet::new(),
        });
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// A field of an object; null when it is not there, as cargo writes it.
fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn normal_dependencies(node: &Value) -> Vec<&str> {
    // In cargo's answer the kind of a normal dependency is null.
    let is_normal = |dependency: &&Value| {
        list(field(dependency, "dep_kinds")).any(|how| field(how, "kind").is_null())
    };
    list(field(node, "deps"))
        .filter(is_normal)
        .filter_map(|one| field(one, "pkg").as_str())
        .collect()
}

/// What ends up in a package that is built alone. Not from `cargo metadata`, which also names
/// optional crates that nothing switches on.
fn reaches(package: &str) -> Result<BTreeSet<String>> {
    let arguments = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--package"];
    let tree = output(cargo().args(arguments).arg(package))?;
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| *name != package).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tests_and_build_scripts_do_not_count_as_arrows() {
        let edge = |to: &str, kind: Value| json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "workspace_root": "/r",
            "workspace_members": ["a"],
            "packages": [
                {"id": "a", "name": "ours", "manifest_path": "/r/crates/a/Cargo.toml"},
                {"id": "b", "name": "direct", "manifest_path": "/c/b/Cargo.toml"},
                {"id": "d", "name": "test-only", "manifest_path": "/c/d/Cargo.toml"},
                {"id": "e", "name": "build-only", "manifest_path": "/c/e/Cargo.toml"},
            ],
            "resolve": {"nodes": [
                {"id": "a", "deps": [edge("b", Value::Null), edge("d", json!("dev")), edge("e", json!("build"))]},
            ]},
        });
        assert_eq!(
            read(&metadata).unwrap(),
            [Package {
                name: "ours".to_owned(),
                folder: "crates/a".to_owned(),
                direct: BTreeSet::from(["direct".to_owned()]),
                reaches: BTreeSet::new(),
            }]
        );
    }
}
