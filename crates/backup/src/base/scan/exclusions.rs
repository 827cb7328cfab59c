//! Says what of a data folder is no part of a backup.
//!
//! Never looks at the disk.

use super::Part;

/// Folders that are backed up without their content: PostgreSQL fills them itself.
const EMPTIED: [&str; 10] = [
    "log",
    "pg_dynshmem",
    "pg_log",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
];

/// What belongs to this instance or to another backup, directly in the data folder.
const OF_THE_INSTANCE: [&str; 11] = [
    "backup_label",
    "backup_label.old",
    "backup_manifest",
    "current_logfiles.tmp",
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "recovery.conf",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
];

pub(super) fn is_emptied(folder: &str) -> bool {
    EMPTIED.contains(&folder)
}

pub(super) fn is_excluded(part: Part, path: &str, name: &str) -> bool {
    let of_the_part = match part {
        // Tablespaces have archives of their own.
        Part::Data => OF_THE_INSTANCE.contains(&path) || path.starts_with("pg_tblspc/"),
        Part::Tablespace(_) => !path.starts_with("PG_"),
    };
    of_the_part
        || name.starts_with("pgsql_tmp")
        || name.starts_with("pg_internal.init")
        || is_temporary(name)
}

/// `t3_16390`: a relation of a session that will not be there.
fn is_temporary(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((session, relation)) = name.strip_prefix('t').and_then(|rest| rest.split_once('_'))
    else {
        return false;
    };
    let number: String = relation.chars().take_while(char::is_ascii_digit).collect();
    digits(session) && digits(&number)
}
