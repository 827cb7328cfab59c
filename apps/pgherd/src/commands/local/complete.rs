//! Completes the names of clusters on this machine, and of their instances.
//!
//! Never wakes a cluster: it only looks at the folders.

use super::super::completion::{given, instances_like};
use clap_complete::engine::CompletionCandidate;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_local::folder::Home;
use pgherd_local::hint::USUAL_NAME;
use std::ffi::OsStr;

/// The clusters whose name begins so.
pub(crate) fn clusters(begun: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let begun = begun.to_string_lossy();
    let names = home(&words).and_then(|home| home.clusters().ok()).unwrap_or_default();
    let names = names.iter().map(ToString::to_string).filter(|name| name.starts_with(&*begun));
    names.map(CompletionCandidate::new).collect()
}

/// The instances of the cluster that the command line is about.
pub(crate) fn instances(begun: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let name = given(&words, &["--name", "-n"]).unwrap_or_else(|| USUAL_NAME.to_owned());
    let found = home(&words).zip(ClusterName::parse(&name).ok());
    let found = found.map(|(home, name)| instances_of(&home, &name)).unwrap_or_default();
    instances_like(begun, &found)
}

fn home(words: &[String]) -> Option<Home> {
    match given(words, &["--dir"]) {
        Some(folder) => Some(Home::at(folder.into())),
        None => Home::usual().ok(),
    }
}

fn instances_of(home: &Home, name: &ClusterName) -> Vec<InstanceName> {
    let Ok(entries) = std::fs::read_dir(home.root().join(name.as_str())) else { return Vec::new() };
    let instance = |entry: std::fs::DirEntry| {
        let instance = InstanceName::parse(entry.file_name().to_str()?).ok()?;
        let is_own = instance.cluster() == name && entry.file_type().ok()?.is_dir();
        is_own.then_some(instance)
    };
    let mut found: Vec<_> = entries.filter_map(|entry| instance(entry.ok()?)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_folders_of_their_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = folder.path().join("shop");
        for name in ["shop-10", "shop-2", "other-1", "secrets", "shop-0x"] {
            std::fs::create_dir_all(cluster.join(name)).unwrap();
        }
        std::fs::write(cluster.join("shop-3"), "no folder").unwrap();
        let home = Home::at(folder.path().to_owned());
        let found = |name: &str| {
            let found = instances_of(&home, &ClusterName::parse(name).unwrap());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found("shop"), ["shop-2", "shop-10"]);
        assert!(found("absent").is_empty());
    }
}
