//! Groups all processes of a node, so that all of them can stand still at once.
//!
//! Never limits anything: a node may use what the machine has.

use super::layout::Node;
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
/// On a machine with one hierarchy, processes may only be in leaves.
const LEAF: &str = "system";

/// Makes the node's group in every hierarchy.
pub fn make(node: Node) -> Result<()> {
    for folder in folders(node)? {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    if is_unified() {
        let group = Path::new(ROOT).join(node.cgroup());
        let all = fs::read_to_string(group.join("cgroup.controllers"))?;
        let all: Vec<String> = all.split_whitespace().map(|name| format!("+{name}")).collect();
        fs::write(group.join("cgroup.subtree_control"), all.join(" "))?;
        fs::create_dir_all(group.join(LEAF))?;
    }
    Ok(())
}

/// Puts this process, and all that it will start, into the node's group.
pub fn join(node: Node) -> Result<()> {
    let group =
        if is_unified() { Path::new(ROOT).join(node.cgroup()).join(LEAF) } else { freezer(node) };
    fs::write(group.join("cgroup.procs"), "0")
        .with_context(|| format!("joining {}", group.display()))
}

/// Stops the clocks of everything on the node, or lets them go on.
pub fn set(node: Node, motion: Motion) -> Result<()> {
    let (file, word) = if is_unified() {
        let group = Path::new(ROOT).join(node.cgroup());
        (group.join("cgroup.freeze"), if motion == Motion::Frozen { "1" } else { "0" })
    } else {
        let word = if motion == Motion::Frozen { "FROZEN" } else { "THAWED" };
        (freezer(node).join("freezer.state"), word)
    };
    fs::write(&file, word).with_context(|| format!("writing {word} to {}", file.display()))
}

pub fn motion(node: Node) -> Result<Motion> {
    let text = if is_unified() {
        fs::read_to_string(Path::new(ROOT).join(node.cgroup()).join("cgroup.freeze"))?
    } else {
        fs::read_to_string(freezer(node).join("freezer.state"))?
    };
    Ok(if matches!(text.trim(), "0" | "THAWED") { Motion::Running } else { Motion::Frozen })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    Running,
    Frozen,
}

/// Removes the node's group from every hierarchy; nothing runs in it any more.
pub fn remove(node: Node) -> Result<()> {
    for folder in folders(node)? {
        remove_tree(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

/// A group's files go with it; only the groups below it have to go first.
fn remove_tree(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

fn folders(node: Node) -> Result<Vec<PathBuf>> {
    if is_unified() {
        return Ok(vec![Path::new(ROOT).join(node.cgroup())]);
    }
    let mut folders = Vec::new();
    for hierarchy in fs::read_dir(ROOT)? {
        let hierarchy = hierarchy?;
        // Some are links to others: `cpu` and `cpuacct` to both in one.
        if hierarchy.file_type()?.is_dir() && hierarchy.file_name() != "unified" {
            folders.push(hierarchy.path().join(node.cgroup()));
        }
    }
    Ok(folders)
}

fn freezer(node: Node) -> PathBuf {
    Path::new(ROOT).join("freezer").join(node.cgroup())
}

fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}
