//! Describes an incremental backup: what it builds on, and all that is told of a full one.
//!
//! Never in a form that barman reads: it would restore what is there as if that were all.

use crate::backup_info::BackupInfo;
use pgherd_core::backup::BackupId;
use serde::{Deserialize, Serialize};

/// What is written; readers refuse greater ones.
pub const FORMAT: u32 = 1;

/// An incremental backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    pub base: BackupId,
    pub info: BackupInfo,
}

/// As it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    format: u32,
    backup: String,
    /// The backup that it builds on, full or incremental.
    base: String,
    /// As the `backup.info` of a full one.
    description: String,
}

/// Why a description is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no description of an incremental backup")]
    Parse { source: serde_json::Error },
    #[error("a newer pgherd wrote it: use that one")]
    Newer,
    #[error("it is that of another backup")]
    OfAnother,
    #[error("what it builds on is not older than itself")]
    Base,
}

impl Increment {
    /// The text of the object that makes it a backup.
    pub(crate) fn write(&self, id: &BackupId) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(&Document {
            format: FORMAT,
            backup: id.to_string(),
            base: self.base.to_string(),
            description: self.info.write(),
        })
    }

    pub fn read(id: &BackupId, text: &[u8]) -> Result<Self, Unreadable> {
        let read: Document =
            serde_json::from_slice(text).map_err(|source| Unreadable::Parse { source })?;
        if read.format > FORMAT {
            return Err(Unreadable::Newer);
        }
        if read.backup != id.as_str() {
            return Err(Unreadable::OfAnother);
        }
        let base = BackupId::parse(&read.base).ok().filter(|base| base < id);
        let base = base.ok_or(Unreadable::Base)?;
        Ok(Self { base, info: BackupInfo::read(&read.description) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::backup::Status;

    fn one() -> (BackupId, Increment) {
        let id = |text| BackupId::parse(text).unwrap();
        let info = BackupInfo {
            name: Some("nightly".to_owned()),
            status: Some(Status::Done),
            ..BackupInfo::default()
        };
        (id("20261123T112233"), Increment { base: id("20261122T112233"), info })
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let (id, one) = one();
        let text = String::from_utf8(one.write(&id).unwrap()).unwrap();
        let read = Increment::read(&id, text.as_bytes()).unwrap();
        assert_eq!((&read.base, &read.info.name), (&one.base, &one.info.name));
        for (from, to, expected) in [
            ("{", "[", "no description"),
            ("\"format\": 1", "\"format\": 2", "newer"),
            ("20261123T112233", "20261124T112233", "another"),
            ("20261122T112233", "20261123T112233", "older"),
            ("20261122T112233", "../etc", "older"),
        ] {
            let refused = Increment::read(&id, text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }

    #[test]
    fn fuzzed() {
        let (id, one) = one();
        let feed = |bytes: &[u8]| {
            let read = Increment::read(&id, bytes);
            if let Ok(read) = &read {
                assert!(read.base < id);
                let again = Increment::read(&id, &read.write(&id).unwrap()).unwrap();
                assert_eq!(again.base, read.base);
            }
            crate::fuzz::outcome(&read)
        };
        crate::fuzz::fuzz(2000, vec![one.write(&id).unwrap()], feed);
    }
}
