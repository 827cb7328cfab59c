//! Says which settings belong to the cluster, and what to use instead.
//!
//! Never depends on the value of a setting.

use std::fmt;

/// To whom a setting belongs that users may not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "what the variants are for is their text")]
pub enum Owner {
    Following,
    Delay,
    Synchronous,
    Recovery,
    Archive,
    Crash,
    Network,
    Certificates,
    Log,
    Files,
    AccessRules,
    UserMaps,
    Identity,
    Libraries,
    Tablespaces,
    AlterSystem,
    Slots,
    Unsafe,
}

const OURS: &[(Owner, &[&str])] = &[
    (
        Owner::Following,
        &["hot_standby", "primary_conninfo", "primary_slot_name", "promote_trigger_file"],
    ),
    (Owner::Delay, &["recovery_min_apply_delay"]),
    (Owner::Synchronous, &["synchronous_standby_names"]),
    (
        Owner::Recovery,
        &[
            "archive_cleanup_command",
            "recovery_end_command",
            "recovery_target",
            "recovery_target_action",
            "recovery_target_inclusive",
            "recovery_target_lsn",
            "recovery_target_name",
            "recovery_target_time",
            "recovery_target_timeline",
            "recovery_target_xid",
            "restore_command",
        ],
    ),
    (Owner::Archive, &["archive_command", "archive_library", "archive_mode"]),
    (Owner::Crash, &["data_sync_retry", "restart_after_crash"]),
    (
        Owner::Network,
        &[
            "bonjour",
            "bonjour_name",
            "listen_addresses",
            "port",
            "unix_socket_directories",
            "unix_socket_group",
            "unix_socket_permissions",
        ],
    ),
    (
        Owner::Log,
        &[
            "event_source",
            "log_destination",
            "log_directory",
            "log_file_mode",
            "log_filename",
            "log_rotation_age",
            "log_rotation_size",
            "log_truncate_on_rotation",
            "logging_collector",
            "syslog_facility",
            "syslog_ident",
            "syslog_sequence_numbers",
            "syslog_split_messages",
        ],
    ),
    (
        Owner::Files,
        &[
            "config_file",
            "data_directory",
            "external_pid_file",
            // Not settings, but PostgreSQL would obey them in its configuration file.
            "include",
            "include_dir",
            "include_if_exists",
            "stats_temp_directory",
        ],
    ),
    (Owner::AccessRules, &["hba_file"]),
    (Owner::UserMaps, &["ident_file"]),
    (Owner::Identity, &["cluster_name"]),
    (Owner::Libraries, &["shared_preload_libraries"]),
    (Owner::Tablespaces, &["temp_tablespaces"]),
    (Owner::AlterSystem, &["allow_alter_system"]),
    (
        Owner::Slots,
        &[
            "pg_failover_slots.primary_dsn",
            "pg_failover_slots.standby_slot_names",
            "synchronized_standby_slots",
        ],
    ),
    (Owner::Unsafe, &["allow_system_table_mods", "jit_provider"]),
];

/// What of TLS is not about files and who may read them.
pub(crate) const TLS_FOR_USERS: [&str; 7] = [
    "ssl_ciphers",
    "ssl_ecdh_curve",
    "ssl_groups",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "ssl_prefer_server_ciphers",
    "ssl_tls13_ciphers",
];

/// Every owner that has settings by name, with those.
pub(crate) fn owners() -> impl Iterator<Item = (Owner, &'static [&'static str])> {
    OURS.iter().copied()
}

/// The owner of the setting `name`, which is in lower case.
pub(super) fn owner(name: &str) -> Option<Owner> {
    if name.starts_with("ssl") && !name.contains('.') && !TLS_FOR_USERS.contains(&name) {
        return Some(Owner::Certificates);
    }
    OURS.iter().find(|(_, names)| names.contains(&name)).map(|(owner, _)| *owner)
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Following => "the cluster decides who follows whom: remove it",
            Self::Delay => {
                "a standby that lags on purpose could not take over: use spec.replica.minApplyDelay \
                 in a cluster that follows this one"
            }
            Self::Synchronous => {
                "the cluster keeps this list up to date: use spec.postgresql.synchronous"
            }
            Self::Recovery => "the cluster directs every recovery: use spec.bootstrap.recovery",
            Self::Archive => "the cluster archives by itself: use spec.backup",
            Self::Crash => "the cluster decides what follows a crash: remove it",
            Self::Network => "the cluster places every instance: remove it",
            Self::Certificates => "the cluster keeps the certificates: use spec.certificates",
            Self::Log => "the agent collects the log: remove it",
            Self::Files => "the cluster knows its own files: remove it",
            Self::AccessRules => "the cluster writes this file: use spec.postgresql.pg_hba",
            Self::UserMaps => "the cluster writes this file: use spec.postgresql.pg_ident",
            Self::Identity => "it carries the instance's name: remove it",
            Self::Libraries => {
                "it is kept as a list: use spec.postgresql.shared_preload_libraries"
            }
            Self::Tablespaces => {
                "it names the tablespaces that are temporary: use spec.tablespaces"
            }
            Self::AlterSystem => "it has a field of its own: use spec.postgresql.enableAlterSystem",
            Self::Slots => "the cluster keeps the slots of standbys: use spec.replicationSlots",
            Self::Unsafe => "it can destroy a server from within: remove it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_setting_has_one_owner() {
        let names: Vec<_> = OURS.iter().flat_map(|(_, names)| names.iter()).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(names.iter().all(|name| **name == name.to_ascii_lowercase()));
        assert_eq!(owner("port"), Some(Owner::Network));
        assert_eq!(owner("ssl"), Some(Owner::Certificates));
        assert_eq!(owner("ssl_ciphers"), None);
        assert_eq!(owner("work_mem"), None);
    }
}
