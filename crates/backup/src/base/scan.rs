//! Finds what a backup of a data folder consists of.
//!
//! Never lists what PostgreSQL makes anew at its start, nor what belongs to one instance alone.

mod exclusions;
mod relation;

pub use relation::{Fork, Relation};

use super::BackupError;
use std::collections::BTreeSet;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder that becomes archives of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub part: Part,
    pub root: Arc<Path>,
}

/// Which archives a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Data,
    /// A tablespace, by its oid.
    Tablespace(u32),
}

impl Part {
    /// What the names of its archives begin with.
    pub fn name(self) -> String {
        match self {
            Self::Data => "data".to_owned(),
            Self::Tablespace(oid) => oid.to_string(),
        }
    }

    /// The path of a member as seen from the data folder.
    pub fn within_data(self, path: &str) -> String {
        match self {
            Self::Data => path.to_owned(),
            Self::Tablespace(oid) => format!("pg_tblspc/{oid}/{path}"),
        }
    }
}

/// What was found in one folder, before anything was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub folders: Vec<String>,
    pub files: Vec<FoundFile>,
    /// What is not backed up although it is there: no file, no folder, or a name that is no text.
    pub skipped: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Below the folder.
    pub path: Box<str>,
    pub size: u64,
}

impl Found {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Walks through the folder; what vanishes meanwhile was not needed.
pub fn scan(source: &Source) -> Result<Found, BackupError> {
    let mut found = Found::default();
    let mut waiting = vec![String::new()];
    while let Some(folder) = waiting.pop() {
        let inside = match list(source, &folder) {
            Ok(inside) => inside,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !folder.is_empty() => {
                continue;
            }
            Err(error) => {
                let path = source.root.join(&folder);
                return Err(BackupError::Scan { path, source: error });
            }
        };
        waiting.extend(inside.folders.iter().filter(|path| !has_no_content(source, path)).cloned());
        found.folders.extend(inside.folders);
        found.files.extend(inside.files);
        found.skipped.extend(inside.skipped);
    }
    found.folders.sort();
    Ok(found)
}

fn has_no_content(source: &Source, folder: &str) -> bool {
    source.part == Part::Data && exclusions::is_emptied(folder)
}

/// What lies directly in one folder.
fn list(source: &Source, folder: &str) -> std::io::Result<Found> {
    let mut found = Found::default();
    let below = source.root.join(folder);
    for entry in fs::read_dir(&below)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            found.skipped.push(entry.path());
            continue;
        };
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if exclusions::is_excluded(source.part, &path, &name) {
            continue;
        }
        let Some((kind, size)) = look(&entry)? else { continue };
        if kind.is_dir() {
            found.folders.push(path);
        } else if kind.is_file() {
            found.files.push(FoundFile { path: path.into_boxed_str(), size });
        } else if kind.is_symlink() && has_no_content(source, &path) {
            // The log may lie on a volume of its own: the link belongs to this machine alone.
            found.folders.push(path);
        } else {
            found.skipped.push(entry.path());
        }
    }
    leave_unlogged(&mut found.files);
    Ok(found)
}

/// What an entry is and its size, a link to a file being the file. `None` when it is gone.
fn look(entry: &fs::DirEntry) -> std::io::Result<Option<(FileType, u64)>> {
    let there = |metadata: std::io::Result<fs::Metadata>| match metadata {
        Ok(metadata) => Ok(Some((metadata.file_type(), metadata.len()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let itself = there(entry.metadata())?;
    match itself {
        Some((kind, _)) if kind.is_symlink() => {
            let target = there(fs::metadata(entry.path()))?;
            Ok(target.filter(|(kind, _)| kind.is_file()).or(itself))
        }
        Some(_) | None => Ok(itself),
    }
}

/// Unlogged relations are made anew from their initial fork when recovery ends.
fn leave_unlogged(files: &mut Vec<FoundFile>) {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let unlogged: BTreeSet<String> = files
        .iter()
        .filter_map(|file| Some(name(&file.path).strip_suffix("_init")?.to_owned()))
        .filter(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    if unlogged.is_empty() {
        return;
    }
    files.retain(|file| {
        let name = name(&file.path);
        let number: String = name.chars().take_while(char::is_ascii_digit).collect();
        !unlogged.contains(&number) || name.ends_with("_init")
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "12345").unwrap();
        }
        folder
    }

    fn seen(part: Part, folder: &Path) -> String {
        let found = scan(&Source { part, root: folder.into() }).unwrap();
        let mut lines: Vec<String> = found.folders.iter().map(|path| format!("{path}/")).collect();
        lines.extend(found.files.iter().map(|file| format!("{} {}", file.path, file.size)));
        let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        lines.extend(found.skipped.iter().map(|path| format!("skipped: {}", name(path))));
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn a_data_folder_is_taken_without_what_is_made_anew() {
        let folder = folder(&[
            "PG_VERSION",
            "postmaster.pid",
            "standby.signal",
            "backup_label",
            "base/5/1259",
            "base/5/1259_vm",
            "base/5/pg_internal.init",
            "base/5/t3_16390",
            "base/5/16400",
            "base/5/16400.1",
            "base/5/16400_fsm",
            "base/5/16400_init",
            "base/pgsql_tmp/pgsql_tmp1.0",
            "global/pg_control",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status/000000010000000000000001.done",
            "pg_tblspc/16384/PG_15_202209061/5/1",
            "pg_subtrans/0000",
            "my.conf",
        ]);
        std::os::unix::fs::symlink("/tmp", folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("my.conf"), folder.path().join("linked"))
            .unwrap();
        expect![[r#"
            PG_VERSION 5
            base/
            base/5/
            base/5/1259 5
            base/5/1259_vm 5
            base/5/16400_init 5
            global/
            global/pg_control 5
            linked 5
            my.conf 5
            pg_subtrans/
            pg_tblspc/
            pg_wal/
            skipped: elsewhere"#]]
        .assert_eq(&seen(Part::Data, folder.path()));
    }

    #[test]
    fn only_the_folder_of_a_version_is_taken_of_a_tablespace() {
        let folder = folder(&["PG_15_202209061/5/16385", "PG_15_202209061/pgsql_tmp/x", "lost"]);
        expect![[r#"
            PG_15_202209061/
            PG_15_202209061/5/
            PG_15_202209061/5/16385 5"#]]
        .assert_eq(&seen(Part::Tablespace(16384), folder.path()));
    }
}
