//! Keeps logical dumps beside barman's folders: their files, and a description that makes them a dump.
//!
//! Never lists one that is not whole: its description is stored last and removed first.

mod catalogue;
mod description;
mod files;
mod taking;

pub use catalogue::{Dumps, Found};
pub use description::{
    DumpedDatabase, DumpedFile, DumpedFiles, DumpedFormat, DumpedFrom, DumpedPart, FORMAT, Snapshot,
};
pub use files::{Reading, Upload};
pub use taking::{Marker, Taking};

pub use description::Description;

use crate::encryption::FormError;
use crate::layout::Key;
use crate::store::StoreError;
use pgherd_core::backup::BackupId;
use serde::{Deserialize, Serialize};

/// The number of a database in its cluster: a name that fits into every store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Oid(pub u32);

/// The name of a file of a dump, as seen from the dump's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DumpFile(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the name of a file of a dump")]
pub struct DumpFileError {
    given: String,
}

impl DumpFile {
    pub fn globals() -> Self {
        Self("globals.sql.gz".to_owned())
    }

    /// A database in one file.
    pub fn of_database(database: Oid) -> Self {
        Self(format!("{}.dump", database.0))
    }

    /// What a database in the directory format consists of.
    pub fn list_of(database: Oid) -> Self {
        Self(format!("{}.json", database.0))
    }

    /// A file of a database in the directory format.
    pub fn of_folder(database: Oid, name: &str) -> Result<Self, DumpFileError> {
        let refused = || DumpFileError { given: name.to_owned() };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let is_name = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
        if is_name { Ok(Self(format!("{}/{name}", database.0))) } else { Err(refused()) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the folder.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl From<DumpFile> for String {
    fn from(file: DumpFile) -> Self {
        file.0
    }
}

/// A description is read from a store: no name in it may lead elsewhere.
impl TryFrom<String> for DumpFile {
    type Error = DumpFileError;

    fn try_from(given: String) -> Result<Self, DumpFileError> {
        let refused = || DumpFileError { given: given.clone() };
        let (folder, name) = given.split_once('/').unwrap_or(("0", &given));
        let folder: u32 = folder.parse().map_err(|_| refused())?;
        let parsed = Self::of_folder(Oid(folder), name).map_err(|_| refused())?;
        if given.contains('/') { Ok(parsed) } else { Ok(Self(given)) }
    }
}

/// What was attempted with dumps.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("listing the dumps of {server}")]
    List { server: String, source: StoreError },
    #[error("using the place of {server} in the repository")]
    Form { server: String, source: FormError },
    #[error("reading the description of dump {dump}")]
    Describe { dump: BackupId, source: StoreError },
    #[error("storing {what} of dump {dump}")]
    Store { dump: BackupId, what: String, source: StoreError },
    #[error("reading {what} of dump {dump}")]
    Read { dump: BackupId, what: String, source: StoreError },
    #[error("removing dump {dump}")]
    Remove { dump: BackupId, source: StoreError },
    #[error("{key} is missing: the dump is damaged, use another one")]
    Missing { key: Key },
    #[error("{key} is not what was stored there: the dump is damaged, use another one")]
    Damaged { key: Key },
    #[error(
        "dump {dump} was removed by another instance while it was taken: it took longer than dumps may, or clocks differ"
    )]
    GivenUp { dump: BackupId },
    #[error("packing the globals")]
    Pack { source: std::io::Error },
    #[error("writing the description of a dump as JSON")]
    Encode { source: serde_json::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for good in ["globals.sql.gz", "5.dump", "5/toc.dat", "16385/3201.dat.gz", "5/blob_7.dat"] {
            assert_eq!(DumpFile::try_from(good.to_owned()).unwrap().as_str(), good);
        }
        for bad in ["", "/", "../x", "5/../x", "5//x", "x/toc.dat", "5/.x", ".x", "5/a b"] {
            assert!(DumpFile::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
