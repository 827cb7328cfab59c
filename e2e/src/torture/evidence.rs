//! Reads and keeps what a cluster wrote about itself.
//!
//! Never keeps a secret: only logs are copied, and the client's book.

use crate::rig::pgherd::Pgherd;
use anyhow::{Context, Result};
use pgherd_local::history;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who served each epoch, by the instances' own logs.
pub(super) fn epochs(pgherd: &Pgherd) -> Result<BTreeMap<u64, BTreeSet<String>>> {
    let mut epochs: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (instance, folder) in instances(pgherd)? {
        for log in ["agent.log.1", "agent.log"] {
            // The first part exists only when the second grew too long.
            let text = fs::read_to_string(folder.join("log").join(log)).unwrap_or_default();
            let verdicts = text.lines().filter_map(history::verdict);
            let serving = verdicts.filter(|verdict| verdict.state == "serving");
            for epoch in serving.filter_map(|verdict| verdict.epoch) {
                epochs.entry(epoch).or_default().insert(instance.clone());
            }
        }
    }
    Ok(epochs)
}

/// Copies logs and book to a new folder.
pub(super) fn keep(folder: &Path, pgherd: &Pgherd, book: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    copy(book, &folder.join("book"))?;
    copy_logs(&cluster(pgherd)?, folder)?;
    for (instance, from) in instances(pgherd)? {
        let to = folder.join(instance);
        fs::create_dir_all(&to)?;
        // The agent's, and PostgreSQL's own.
        copy_logs(&from.join("log"), &to)?;
        copy_logs(&from, &to)?;
    }
    Ok(())
}

fn copy_logs(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        if path.is_file() && name.to_string_lossy().contains("log") {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

fn cluster(pgherd: &Pgherd) -> Result<PathBuf> {
    Ok(pgherd.status()?.folder)
}

fn instances(pgherd: &Pgherd) -> Result<Vec<(String, PathBuf)>> {
    let status = pgherd.status()?;
    let names = status.instances.into_iter().map(|instance| instance.name);
    Ok(names.map(|name| (name.clone(), status.folder.join(name))).collect())
}
