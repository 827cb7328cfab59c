//! What is asked of a server whose databases are imported.
//!
//! Never needs more than the right to connect.

use pgherd_core::units::Bytes;
use serde::Deserialize;

/// As one document, because names may hold anything. A size may be asked for only by those who may
/// connect.
pub(super) const DATABASES: &str = "select coalesce(json_agg(json_build_object('name', datname, \
    'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), \
    'collate', datcollate, 'ctype', datctype, 'size', case when \
    has_database_privilege(oid, 'connect') then pg_database_size(oid) end) order by datname), '[]') \
    from pg_database where datallowconn and not datistemplate";

/// A database there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) encoding: String,
    pub(super) collate: String,
    pub(super) ctype: String,
    size: Option<u64>,
}

impl Database {
    /// Nothing if it may not be known.
    pub(super) fn size(&self) -> Bytes {
        Bytes(self.size.unwrap_or_default())
    }
}
