//! Folders as they look: to make some up, and to compare.
//!
//! Never looks at times.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is in a folder, by path; folders have no content.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                tree.insert(name, None);
                waiting.push(path);
            } else if kind.is_file() {
                tree.insert(name, Some(fs::read(path).unwrap()));
            }
        }
    }
    tree
}

/// Fails with the names that differ, not with their content.
pub(crate) fn assert_same(left: &Tree, right: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right));
    for (name, content) in left {
        assert!(right[name] == *content, "{name} differs");
    }
}

/// Bytes that neither repeat nor are the same for two seeds.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        state.to_le_bytes()[7]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn write(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
