//! Recognises the files that relations consist of, by their names.
//!
//! Never opens one.

use super::Part;
use crate::blockmap::{self, Database};

/// A file with pages of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// As the log calls it.
    pub named: blockmap::Relation,
    /// Which of its files, each of which has as many pages as PostgreSQL was built for.
    pub segment: u32,
    pub fork: Fork,
}

/// Which of the files of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// Its rows: each change of a page is in the log, and the page says where.
    Main,
    /// What is known of free space, of visibility, or how it began: not each change is in the log.
    Other,
}

impl Relation {
    /// What is in this file of a part, if its pages have checksums.
    pub fn of(part: Part, path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        let of = database(part, folder)?;
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, segment.parse().ok()?),
            None => (name, 0),
        };
        let (number, fork) = match name.split_once('_') {
            Some((number, "fsm" | "vm" | "init")) => (number, Fork::Other),
            Some(_) => return None,
            None => (name, Fork::Main),
        };
        let named = blockmap::Relation { of, number: oid(number)? };
        Some(Self { named, segment, fork })
    }
}

/// Whose relations are in this folder.
fn database(part: Part, folder: &str) -> Option<Database> {
    // PostgreSQL's own tablespaces have the same numbers everywhere.
    const DEFAULT: u32 = 1663;
    const GLOBAL: u32 = 1664;
    match part {
        Part::Data if folder == "global" => Some(Database { tablespace: GLOBAL, database: 0 }),
        Part::Data => {
            let database = folder.strip_prefix("base/").and_then(oid)?;
            Some(Database { tablespace: DEFAULT, database })
        }
        Part::Tablespace(tablespace) => {
            let (version, of) = folder.split_once('/')?;
            let database = version.starts_with("PG_").then(|| oid(of)).flatten()?;
            Some(Database { tablespace, database })
        }
    }
}

fn oid(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_pages_are_relations() {
        let segment = |part, path| Relation::of(part, path).map(|found| found.segment);
        for (path, expected) in [
            ("base/5/1259", Some(0)),
            ("base/5/1259.12", Some(12)),
            ("base/5/1259_fsm", Some(0)),
            ("base/5/1259_vm.1", Some(1)),
            ("global/1262", Some(0)),
            ("global/pg_control", None),
            ("base/5/PG_VERSION", None),
            ("base/5/pg_filenode.map", None),
            ("base/5/1259_new", None),
            ("base/x/1259", None),
            ("pg_xact/0000", None),
            ("PG_VERSION", None),
        ] {
            assert_eq!(segment(Part::Data, path), expected, "{path}");
        }
        let fork = |path| Relation::of(Part::Data, path).map(|found| found.fork);
        assert_eq!(fork("base/5/1259.1"), Some(Fork::Main));
        assert_eq!(fork("base/5/1259_vm"), Some(Fork::Other));
        let space = Part::Tablespace(16384);
        assert_eq!(segment(space, "PG_15_202209061/5/16385.2"), Some(2));
        assert_eq!(segment(space, "PG_15_202209061/16385"), None);
        let named = |part, path| {
            let named = Relation::of(part, path).unwrap().named;
            (named.of.tablespace, named.of.database, named.number)
        };
        assert_eq!(named(space, "PG_15_202209061/5/16385.2"), (16384, 5, 16385));
        assert_eq!(named(Part::Data, "base/5/1259.1"), (1663, 5, 1259));
        assert_eq!(named(Part::Data, "global/1262_vm"), (1664, 0, 1262));
    }
}
