//! The parameters of PostgreSQL that are ours, those we only suggest, and what a user may set.
//!
//! Never accepts a user's value that would make a failover unsafe.

use crate::postgres::config::Profile;
use crate::postgres::control::Floors;
use pgherd_api::cluster::parameters::{self, Owner};
use pgherd_core::units::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A parameter that a user may not set, or not to this value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name} {why}")]
pub struct Refused {
    pub name: String,
    pub why: Cow<'static, str>,
}

/// Parameters of a user that the server accepts; see [`trial`](crate::postgres::config::trial).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn accepted(parameters: BTreeMap<String, String>) -> Self {
        Self(parameters)
    }

    /// These, and for the others of `given` what was accepted before.
    #[must_use]
    pub fn with_earlier(mut self, earlier: &Self, given: &BTreeMap<String, String>) -> Self {
        for (name, value) in &earlier.0 {
            if given.contains_key(name) {
                self.0.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        self
    }

    pub(super) fn get(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// Values that hold unless the user sets others.
const SUGGESTED: [(&str, &str); 22] = [
    ("archive_timeout", "5min"),
    ("default_text_search_config", "pg_catalog.english"),
    ("dynamic_shared_memory_type", "posix"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("log_line_prefix", "%m [%p] %q%u@%d/%a "),
    ("log_timezone", "Etc/UTC"),
    ("max_parallel_workers", "32"),
    ("max_replication_slots", "32"),
    ("max_slot_wal_keep_size", "16GB"),
    ("max_wal_senders", "32"),
    ("max_worker_processes", "32"),
    ("shared_memory_type", "mmap"),
    ("timezone", "Etc/UTC"),
    ("wal_keep_size", "512MB"),
    ("wal_level", "logical"),
    // A dead connection must be noticed while the term of its primary lasts.
    ("wal_receiver_status_interval", "1s"),
    ("wal_receiver_timeout", "3s"),
    ("wal_sender_timeout", "3s"),
    ("track_io_timing", "off"),
];

/// Several instances share one small disk and memory.
const SUGGESTED_FOR_LAPTOPS: [(&str, &str); 5] = [
    ("max_parallel_workers", "4"),
    ("max_slot_wal_keep_size", "1GB"),
    ("max_worker_processes", "8"),
    ("shared_buffers", "32MB"),
    ("wal_keep_size", "64MB"),
];

/// Values that are the same for every instance and that no user may change.
pub(super) const FIXED: [(&str, &str); 18] = [
    // A commit must survive power loss on the standby that acknowledges it.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("data_sync_retry", "off"),
    ("hot_standby", "on"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("password_encryption", "scram-sha-256"),
    ("recovery_min_apply_delay", "0"),
    ("recovery_target", ""),
    ("recovery_target_lsn", ""),
    ("recovery_target_name", ""),
    ("recovery_target_time", ""),
    ("recovery_target_timeline", "latest"),
    ("recovery_target_xid", ""),
    // The agent decides what follows a crash; PostgreSQL must not come back by itself.
    ("restart_after_crash", "off"),
    ("unix_socket_permissions", "0700"),
    // pg_rewind needs this or page checksums.
    ("wal_log_hints", "on"),
    // With the 5 s default, six of sixteen promotions took 5 s instead of 0.1 s.
    ("wal_retrieve_retry_interval", "100ms"),
];

/// What is raised because a standby with less could not start, by name. PostgreSQL's own value
/// counts where neither a user nor we name one.
pub(super) fn raised(
    floors: &Floors,
    suggested: &BTreeMap<&'static str, String>,
    user: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, u32> {
    let all = [
        ("max_connections", floors.max_connections, 100),
        ("max_locks_per_transaction", floors.max_locks_per_transaction, 64),
        ("max_prepared_transactions", floors.max_prepared_transactions, 0),
        ("max_wal_senders", floors.max_wal_senders, 10),
        ("max_worker_processes", floors.max_worker_processes, 8),
    ];
    let wanted = |name: &str| {
        let of_user = user.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        of_user.map(|(_, value)| value).or_else(|| suggested.get(name))
    };
    let is_less = |(name, floor, usual): &(&'static str, u32, u32)| match wanted(name) {
        // A number in words of its own is left to PostgreSQL.
        Some(value) => value.trim().parse().is_ok_and(|value: u32| value < *floor),
        None => usual < floor,
    };
    all.into_iter().filter(is_less).map(|(name, floor, _)| (name, floor)).collect()
}

/// What of the user's parameters stays larger than they ask for, in words.
pub fn kept(floors: &Floors, user: &Parameters) -> Vec<String> {
    let raised = raised(floors, &BTreeMap::new(), user.get());
    let told = |(name, floor): (&str, u32)| {
        let (_, value) = user.get().iter().find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(format!(
            "{name} = {value} is less than the {floor} that the log was written with, and a \
             standby with less cannot start: it stays {floor}"
        ))
    };
    raised.into_iter().filter_map(told).collect()
}

/// What of the user's parameters cannot be accepted by any server; empty when all is well.
pub fn check(parameters: &BTreeMap<String, String>) -> Vec<Refused> {
    parameters
        .iter()
        .filter_map(|(name, value)| {
            let why = refusal(&name.to_ascii_lowercase(), value)?;
            Some(Refused { name: name.clone(), why })
        })
        .collect()
}

fn refusal(name: &str, value: &str) -> Option<Cow<'static, str>> {
    if !is_name(name) {
        return Some("is not the name of a parameter: use letters, digits, '_' and '.'".into());
    }
    if value.contains('\0') {
        return Some("has a value with a zero byte, which PostgreSQL cannot read".into());
    }
    match parameters::owner(name) {
        // Written as a list of its own, it arrives as one of the others.
        Some(Owner::Libraries) | None => {}
        Some(owner) => return Some(format!("cannot be set, because {owner}").into()),
    }
    if let Some((_, fixed)) = FIXED.iter().find(|(ours, _)| *ours == name) {
        // The same value in other words is refused as well: there is no use in setting it.
        let differs = !value.eq_ignore_ascii_case(fixed);
        return differs.then(|| format!("stays {fixed:?} in every cluster: remove it").into());
    }
    match name {
        "wal_level" if !["replica", "logical"].contains(&value.to_ascii_lowercase().as_str()) => {
            Some(
                "must be 'replica' or 'logical', because standbys need the log: choose one of them"
                    .into(),
            )
        }
        "max_slot_wal_keep_size" if value.trim() == "-1" => Some(
            "must be bounded, because a standby that is away must not fill the disk: give a size such as 16GB"
                .into(),
        ),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

/// Our suggestions, without what the user has set.
pub(super) fn suggested(
    profile: Profile,
    volume: Option<Bytes>,
    user: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from(SUGGESTED);
    match profile {
        Profile::Server => {}
        Profile::Laptop => all.extend(SUGGESTED_FOR_LAPTOPS),
    }
    let mut all: BTreeMap<_, _> =
        all.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    all.extend(volume.into_iter().flat_map(of_volume));
    all.retain(|name, _| !user.keys().any(|set| set.eq_ignore_ascii_case(name)));
    all
}

/// How much log is kept on a volume too small for the usual amounts: a standby that is away, or a
/// checkpoint that is late, must not fill it.
fn of_volume(volume: Bytes) -> impl Iterator<Item = (&'static str, String)> {
    // In megabytes: what is usual, and the part of the volume that it may take.
    let bounded = [
        ("max_slot_wal_keep_size", 16 * 1024, 4),
        ("max_wal_size", 1024, 8),
        ("wal_keep_size", 512, 16),
    ];
    bounded.into_iter().filter_map(move |(name, usual, part)| {
        let share = (volume.0 >> 20) / part;
        // Less than a few segments is no amount that PostgreSQL could work with.
        (share < usual).then(|| (name, format!("{}MB", share.max(128))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> Option<String> {
        let parameters = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        check(&parameters).first().map(ToString::to_string)
    }

    #[test]
    fn what_is_ours_is_refused_with_a_reason() {
        expect_test::expect![[r#"
            parameter port cannot be set, because the cluster places every instance: remove it
            parameter SSL_CERT_FILE cannot be set, because the cluster keeps the certificates: use spec.certificates
            parameter fsync stays "on" in every cluster: remove it
            parameter wal_level must be 'replica' or 'logical', because standbys need the log: choose one of them
            parameter max_slot_wal_keep_size must be bounded, because a standby that is away must not fill the disk: give a size such as 16GB
            parameter work mem is not the name of a parameter: use letters, digits, '_' and '.'
            parameter a has a value with a zero byte, which PostgreSQL cannot read"#]]
        .assert_eq(
            &[
                refused("port", "5433"),
                refused("SSL_CERT_FILE", "x"),
                refused("fsync", "off"),
                refused("wal_level", "minimal"),
                refused("max_slot_wal_keep_size", "-1"),
                refused("work mem", "1"),
                refused("a", "\0"),
            ]
            .map(Option::unwrap)
            .join("\n"),
        );
    }

    #[test]
    fn what_is_fixed_here_is_refused_or_the_same_in_manifests() {
        let same = &parameters::SAME_FOR_ALL;
        for (name, _) in FIXED {
            let in_manifests = parameters::owner(name).is_some() || same.contains(&name);
            assert!(in_manifests, "a manifest may set {name}, and it would have no effect");
        }
        for name in same {
            let is_fixed = FIXED.iter().any(|(fixed, _)| fixed == name);
            assert!(is_fixed, "manifests may say {name} again, and nobody says it first");
        }
    }

    #[test]
    fn the_rest_is_the_users() {
        for (name, value) in [
            ("shared_preload_libraries", "pg_stat_statements"),
            ("work_mem", "8MB"),
            ("wal_level", "replica"),
            ("wal_log_hints", "on"),
            ("pg_stat_statements.max", "100"),
            ("ssl_min_protocol_version", "TLSv1.2"),
            ("wal_sender_timeout", "10s"),
        ] {
            assert_eq!(refused(name, value), None);
        }
    }

    #[test]
    fn a_users_value_replaces_our_suggestion() {
        let user = BTreeMap::from([("Shared_Buffers".to_owned(), "1GB".to_owned())]);
        assert!(!suggested(Profile::Laptop, None, &user).contains_key("shared_buffers"));
        let nothing = BTreeMap::new();
        assert_eq!(suggested(Profile::Laptop, None, &nothing)["shared_buffers"], "32MB");
        assert!(!suggested(Profile::Server, None, &nothing).contains_key("shared_buffers"));
    }

    #[test]
    fn a_small_volume_keeps_less_of_the_log() {
        let nothing = BTreeMap::new();
        let of = |gibibytes: u64| {
            let all = suggested(Profile::Server, Some(Bytes(gibibytes << 30)), &nothing);
            let names = ["max_slot_wal_keep_size", "max_wal_size", "wal_keep_size"];
            names.map(|name| all.get(name).cloned().unwrap_or_default()).join(" ")
        };
        let told: Vec<String> = [1, 10, 100].into_iter().map(of).collect();
        expect_test::expect![[r#"
            256MB 128MB 128MB
            2560MB  512MB
            16GB  512MB"#]]
        .assert_eq(&told.join("\n"));
    }
}
