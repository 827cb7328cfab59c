//! Recognises the files that relations consist of, by their names.
//!
//! Never opens one.

use super::Part;

/// A file with pages of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
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
        let holds_relations = match part {
            Part::Data => folder == "global" || folder.strip_prefix("base/").is_some_and(is_number),
            Part::Tablespace(_) => folder
                .split_once('/')
                .is_some_and(|(version, of)| version.starts_with("PG_") && is_number(of)),
        };
        if !holds_relations {
            return None;
        }
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, segment.parse().ok()?),
            None => (name, 0),
        };
        let (number, fork) = match name.split_once('_') {
            Some((number, "fsm" | "vm" | "init")) => (number, Fork::Other),
            Some(_) => return None,
            None => (name, Fork::Main),
        };
        is_number(number).then_some(Self { segment, fork })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
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
    }
}
