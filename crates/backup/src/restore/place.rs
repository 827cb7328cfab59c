//! Says where on this machine a file of a backup belongs.
//!
//! Never names a place outside the folders it was given, whatever the backup says.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// PostgreSQL does not start without it, so it appears when all else is there.
pub(super) const CONTROL: &str = "global/pg_control";
const CONTROL_SO_FAR: &str = "global/pg_control.restored";

/// The folders that are restored into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) data: PathBuf,
    /// By oid.
    pub(super) tablespaces: BTreeMap<u32, PathBuf>,
}

/// Why a path is not one of a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0:?} leads out of the folder")]
    Outside(String),
    #[error("{0:?} is in a tablespace that the backup does not have")]
    NoTablespace(String),
    #[error("{0:?} is the folder itself")]
    Nothing(String),
}

impl Place {
    /// Where this file goes, its path as seen from the data folder.
    pub(super) fn of(&self, path: &str) -> Result<PathBuf, Refusal> {
        let parts = parts(path)?;
        let Some((first, rest)) = parts.split_first() else {
            return Err(Refusal::Nothing(path.to_owned()));
        };
        let whole = parts.join("/");
        if whole == CONTROL {
            return Ok(self.data.join(CONTROL_SO_FAR));
        }
        match rest.split_first() {
            Some((oid, rest)) if *first == "pg_tblspc" => {
                let tablespace = oid.parse().ok().and_then(|oid| self.tablespaces.get(&oid));
                let none = || Refusal::NoTablespace(path.to_owned());
                Ok(rest.iter().fold(tablespace.ok_or_else(none)?.clone(), |at, part| at.join(part)))
            }
            Some(_) | None => Ok(self.data.join(whole)),
        }
    }

    /// The same for a member of an archive of a part of a backup.
    pub(super) fn of_member(&self, folder: &str, path: &str) -> Result<PathBuf, Refusal> {
        // Each is looked at alone: joined, one could make up for the other.
        let inside = parts(path)?.join("/");
        self.of(&format!("{folder}{inside}"))
    }

    pub(super) fn control(&self) -> (PathBuf, PathBuf) {
        (self.data.join(CONTROL_SO_FAR), self.data.join(CONTROL))
    }

    /// All folders that are written to.
    pub(super) fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.data).chain(self.tablespaces.values())
    }
}

/// The names a path consists of.
fn parts(path: &str) -> Result<Vec<&str>, Refusal> {
    let outside = || Refusal::Outside(path.to_owned());
    let part = |component| match component {
        Component::Normal(part) => Some(part.to_str().ok_or_else(outside)),
        Component::CurDir => None,
        Component::Prefix(_) | Component::RootDir | Component::ParentDir => Some(Err(outside())),
    };
    if path.contains('\0') {
        return Err(outside());
    }
    Path::new(path).components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn place() -> Place {
        let tablespaces = BTreeMap::from([(16384, PathBuf::from("/space"))]);
        Place { data: "/data".into(), tablespaces }
    }

    #[test]
    fn files_go_where_they_belong_and_others_nowhere() {
        let at = |path: &str| match place().of(path) {
            Ok(place) => format!("{path} -> {}\n", place.display()),
            Err(refused) => format!("{refused}\n"),
        };
        let all = [
            "base/5/1259",
            "./PG_VERSION",
            "global/pg_control",
            "pg_tblspc",
            "pg_tblspc/16384",
            "pg_tblspc/16384/PG_15_202209061/5/1",
            "pg_tblspc/1/PG_15_202209061/5/1",
            "pg_tblspc/x",
            "../etc/passwd",
            "base/../../etc/passwd",
            "/etc/passwd",
            "",
            ".",
            "a\0b",
        ];
        expect![[r#"
            base/5/1259 -> /data/base/5/1259
            ./PG_VERSION -> /data/PG_VERSION
            global/pg_control -> /data/global/pg_control.restored
            pg_tblspc -> /data/pg_tblspc
            pg_tblspc/16384 -> /space
            pg_tblspc/16384/PG_15_202209061/5/1 -> /space/PG_15_202209061/5/1
            "pg_tblspc/1/PG_15_202209061/5/1" is in a tablespace that the backup does not have
            "pg_tblspc/x" is in a tablespace that the backup does not have
            "../etc/passwd" leads out of the folder
            "base/../../etc/passwd" leads out of the folder
            "/etc/passwd" leads out of the folder
            "" is the folder itself
            "." is the folder itself
            "a\0b" leads out of the folder
        "#]]
        .assert_eq(&all.map(at).concat());
        assert!(place().of_member("pg_tblspc/16384/", "../../../x").is_err());
        assert!(place().of_member("pg_tblspc/16384/", "/x").is_err());
    }

    proptest! {
        #[test]
        fn nothing_leads_outside(path in "[./a]{0,12}") {
            if let Ok(found) = place().of(&path) {
                let up = Component::ParentDir;
                let leads_up = found.components().any(|component| component == up);
                prop_assert!(found.starts_with("/data") && !leads_up);
            }
        }
    }
}
