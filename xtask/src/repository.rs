//! Finds the repository and reads its text files.
//!
//! Never writes, and never looks into build output.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A text file: its path from the root of the repository, with `/`, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Text {
    #[cfg(test)]
    pub(crate) fn new(path: &str, body: &str) -> Self {
        Self { path: path.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// The root folder: where the workspace's `Cargo.toml` is.
pub(crate) fn root() -> PathBuf {
    // Cargo tells a running program where its package is; a copied binary falls back to where it
    // was built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// Every text file of the repository, sorted by path.
pub(crate) fn texts() -> Result<Vec<Text>> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !is_skipped(&entry.path()) {
                folders.push(entry.path());
            } else if kind.is_file()
                && entry.file_name() != ".git"
                && let Some(text) = read(&root, &entry.path())?
            {
                found.push(text);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Build folders carry cargo's cache tag, whatever they are called.
fn is_skipped(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    name == ".git" || name == "target" || folder.join("CACHEDIR.TAG").exists()
}

/// The text of a file, or nothing when it is not text.
fn read(root: &Path, path: &Path) -> Result<Option<Text>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let Ok(body) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    let inside = path.strip_prefix(root).unwrap_or(path);
    Ok(Some(Text { path: inside.to_string_lossy().replace('\\', "/"), body }))
}
