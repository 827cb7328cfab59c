//! Decides which settings of PostgreSQL a user may make.
//!
//! Never lets a setting through that the protocol of the cluster depends on.

mod ours;
mod written;

use super::postgresql::Postgresql;
use super::problem::{Findings, Refusal};
use crate::field::FieldPath;
use crate::warning::Caution;
use std::collections::BTreeMap;

pub use ours::Owner;
pub(crate) use ours::{TLS_FOR_USERS, owners};
pub(crate) use written::WRITTEN;

/// To whom the setting `name`, in lower case, belongs, if users may not make it. This list is the
/// only one: agents refuse by it, too.
pub fn owner(name: &str) -> Option<Owner> {
    ours::owner(name)
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum ParameterRefusal {
    #[error(
        "is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name"
    )]
    Name,
    #[error("is set as {other:?}, too, and case makes no difference: remove one of the two")]
    Twice { other: String },
    #[error("cannot be set, because {0}")]
    Ours(Owner),
    #[error("has a line break in its value: write it in one line")]
    LineBreak,
    #[error("is neither on nor off: write one of them")]
    Switch,
    #[error("is not a size: write a number and B, kB, MB, GB or TB, such as 256MB")]
    Size,
    #[error(
        "is {given}, but has to be replica or logical for standbys to follow: write one of them or remove it"
    )]
    WalLevel { given: String },
    #[error("is {given}, but has to be on, because {why}: remove it")]
    Off { given: String, why: &'static str },
    #[error(
        "is {given}, but {least} are needed for this number of instances: write {least} or more"
    )]
    TooFew { given: String, least: i64 },
    #[error(
        "is {given}, but has to have a bound, or a standby that is away fills the disk: write a size such as 16GB"
    )]
    NoBound { given: String },
    #[error("is {given}, but logins need scram-sha-256: remove it")]
    Passwords { given: String },
    #[error("holds {given:?}, which is not the name of a library: use letters, digits and _")]
    Library { given: String },
}

/// Libraries that have to be loaded as soon as one of their parameters is set.
const LOADED_WITH_PARAMETERS: [&str; 4] =
    ["auto_explain", "pg_failover_slots", "pg_stat_statements", "pgaudit"];

/// Settings that have one value in every cluster: saying it again is allowed, and changes nothing.
pub const SAME_FOR_ALL: [&str; 5] = [
    "fsync",
    "full_page_writes",
    "password_encryption",
    "wal_log_hints",
    "wal_retrieve_retry_interval",
];

/// Settings that are on or off; one that is neither keeps PostgreSQL from starting.
pub(crate) const SWITCHES: [&str; 5] = [
    "fsync",
    "full_page_writes",
    "hot_standby_feedback",
    "sync_replication_slots",
    "wal_log_hints",
];

/// Sizes that other things are measured by.
pub(crate) const SIZES: [&str; 3] = ["max_wal_size", "min_wal_size", "shared_buffers"];

/// Settings that nobody may switch off, and why.
pub(crate) const MUST_BE_ON: [(&str, &str); 3] = [
    ("fsync", "a commit has to survive a power cut on the standby that confirms it"),
    ("full_page_writes", "pg_rewind needs whole pages to take a lost primary back"),
    ("wal_log_hints", "pg_rewind needs it to take a lost primary back"),
];

/// What the checks of settings need to know of the rest of the cluster.
pub(super) struct Around {
    pub(super) instances: i64,
    pub(super) is_synchronous: bool,
}

/// The settings that are passed on, by their names in lower case.
pub(super) fn checked(
    postgresql: &Postgresql,
    around: &Around,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let place = FieldPath::of("spec.postgresql.parameters");
    let mut first = BTreeMap::new();
    let mut parameters = BTreeMap::new();
    for (as_written, value) in &postgresql.parameters {
        let path = place.name(as_written);
        let name = as_written.to_ascii_lowercase();
        if let Some(other) = first.insert(name.clone(), as_written) {
            let refusal = ParameterRefusal::Twice { other: other.clone() };
            findings.refuse(&path, Refusal::Parameter(refusal));
        } else if written::is_written(as_written, value) {
            findings.warn(&path, Caution::WrittenByCloudNativePg);
        } else if let Some(refusal) = refusal(&name, value, around) {
            findings.refuse(&path, Refusal::Parameter(refusal));
        } else {
            if let Some(caution) = caution(&name, value, around) {
                findings.warn(&path, caution);
            }
            if !SAME_FOR_ALL.contains(&&*name) {
                parameters.insert(name, value.clone());
            }
        }
    }
    let libraries = libraries(postgresql, &parameters, findings);
    if !libraries.is_empty() {
        parameters.insert("shared_preload_libraries".to_owned(), libraries.join(","));
    }
    parameters
}

fn refusal(name: &str, value: &str, around: &Around) -> Option<ParameterRefusal> {
    if !is_name(name) {
        return Some(ParameterRefusal::Name);
    }
    if let Some(owner) = ours::owner(name) {
        return Some(ParameterRefusal::Ours(owner));
    }
    if value.contains(['\n', '\r', '\0']) {
        return Some(ParameterRefusal::LineBreak);
    }
    let given = || value.to_owned();
    if SWITCHES.contains(&name) && !is_on(value) && !is_off(value) {
        return Some(ParameterRefusal::Switch);
    }
    if SIZES.contains(&name) && !is_size(value) {
        return Some(ParameterRefusal::Size);
    }
    if let Some((_, why)) = MUST_BE_ON.iter().find(|(must, _)| *must == name) {
        let is_needed = name != "wal_log_hints" || around.instances > 1;
        return (is_needed && is_off(value)).then(|| ParameterRefusal::Off { given: given(), why });
    }
    let at_least = |least| {
        let number = value.trim().parse::<i64>().ok()?;
        (number < least).then(|| ParameterRefusal::TooFew { given: given(), least })
    };
    match name {
        "wal_level" if !matches!(&*value.to_ascii_lowercase(), "replica" | "logical") => {
            Some(ParameterRefusal::WalLevel { given: given() })
        }
        "password_encryption" if !value.eq_ignore_ascii_case("scram-sha-256") => {
            Some(ParameterRefusal::Passwords { given: given() })
        }
        "max_slot_wal_keep_size" if value.trim_start().starts_with('-') => {
            Some(ParameterRefusal::NoBound { given: given() })
        }
        // One for each standby, one for a clone that is being made, one for a person.
        "max_wal_senders" => at_least(around.instances + 1),
        "max_replication_slots" => at_least(around.instances),
        _ => None,
    }
}

fn caution(name: &str, value: &str, around: &Around) -> Option<Caution> {
    let lower = value.to_ascii_lowercase();
    match name {
        "synchronous_commit" if around.is_synchronous && is_early(&lower) => {
            Some(Caution::MayLoseCommits { value: value.to_owned() })
        }
        "wal_log_hints" if is_off(value) => Some(Caution::StaysOn { value: value.to_owned() }),
        "wal_retrieve_retry_interval" if lower.trim() != "100ms" => {
            Some(Caution::Kept { value: value.to_owned(), kept: "100ms" })
        }
        _ => None,
    }
}

fn is_early(synchronous_commit: &str) -> bool {
    matches!(synchronous_commit, "local" | "remote_write") || is_off(synchronous_commit)
}

/// A name that PostgreSQL reads from its configuration file: one or two words.
fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        let inside = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        inside && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    name.len() <= 63 && name.split('.').count() <= 2 && name.split('.').all(is_word)
}

/// Whether PostgreSQL takes a value for false; it accepts beginnings of words, too.
fn is_off(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    value == "0"
        || value == "of"
        || value == "off"
        || !value.is_empty() && ["false", "no"].iter().any(|word| word.starts_with(&value))
}

/// Whether PostgreSQL takes a value for true.
fn is_on(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    value == "1"
        || value == "on"
        || !value.is_empty() && ["true", "yes"].iter().any(|word| word.starts_with(&value))
}

/// Whether a value is a number, with a unit or in the unit of its parameter.
fn is_size(value: &str) -> bool {
    let value = value.trim();
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = value.strip_prefix(number).unwrap_or_default();
    let number = number.trim_end();
    let is_plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    matches!(unit, "" | "B" | "kB" | "MB" | "GB" | "TB")
        && is_plain
        && number.parse::<f64>().is_ok()
}

fn libraries(
    postgresql: &Postgresql,
    parameters: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Vec<String> {
    let place = FieldPath::of("spec.postgresql.shared_preload_libraries");
    let mut libraries: Vec<String> = Vec::new();
    for (index, name) in postgresql.shared_preload_libraries.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            let refusal = ParameterRefusal::Library { given: name.clone() };
            findings.refuse(&place.item(index), Refusal::Parameter(refusal));
        } else if !libraries.contains(name) {
            libraries.push(name.clone());
        }
    }
    for library in LOADED_WITH_PARAMETERS {
        let of_library = |name: &String| name.split_once('.').is_some_and(|(of, _)| of == library);
        if parameters.keys().any(of_library) && libraries.iter().all(|name| name != library) {
            libraries.push(library.to_owned());
        }
    }
    libraries
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn postgresql(parameters: &[(&str, &str)], libraries: &[&str]) -> Postgresql {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Postgresql {
            parameters: parameters.iter().map(owned).collect(),
            shared_preload_libraries: libraries.iter().map(ToString::to_string).collect(),
            ..Postgresql::default()
        }
    }

    /// What comes of settings of three synchronous instances: refusals, warnings, settings.
    fn outcome(parameters: &[(&str, &str)], libraries: &[&str]) -> String {
        let mut findings = Findings::default();
        let around = Around { instances: 3, is_synchronous: true };
        let kept = checked(&postgresql(parameters, libraries), &around, &mut findings);
        let problems = findings.problems.iter().map(|problem| format!("refused: {problem}\n"));
        let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let kept = kept.iter().map(|(name, value)| format!("{name} = {value}\n"));
        problems.chain(warnings).chain(kept).collect()
    }

    #[test]
    fn settings_are_passed_on_in_lower_case() {
        let given = [("work_mem", "8MB"), ("TimeZone", "UTC"), ("my.setting", "it's"), ("a", "")];
        expect![[r#"
            a = 
            my.setting = it's
            timezone = UTC
            work_mem = 8MB
        "#]]
        .assert_eq(&outcome(&given, &[]));
    }

    #[test]
    fn names_and_values_that_would_break_the_file_are_refused() {
        expect![[r#"
            refused: spec.postgresql.parameters[""] is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name
            refused: spec.postgresql.parameters.1a is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name
            refused: spec.postgresql.parameters["a'b"] is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name
            refused: spec.postgresql.parameters["a.b.c"] is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name
            refused: spec.postgresql.parameters.search_path has a line break in its value: write it in one line
            refused: spec.postgresql.parameters["work mem"] is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name
            refused: spec.postgresql.parameters.work_mem is set as "Work_Mem", too, and case makes no difference: remove one of the two
            refused: spec.postgresql.parameters["x = 1\ninclude"] is not the name of a parameter: use letters, digits and _, with a dot behind an extension's name
            work_mem = 9MB
        "#]].assert_eq(&outcome(
            &[
                ("work mem", "8MB"),
                ("a.b.c", "1"),
                ("1a", "1"),
                ("a'b", "1"),
                ("", "1"),
                ("x = 1\ninclude", "'/etc/passwd'"),
                ("work_mem", "8MB\nport = 1"),
                ("Work_Mem", "9MB"),
                ("search_path", "a\rb"),
            ],
            &[],
        ));
    }

    #[test]
    fn settings_of_the_cluster_are_refused_with_what_to_use_instead() {
        expect![[r#"
            refused: spec.postgresql.parameters.Primary_ConnInfo cannot be set, because the cluster decides who follows whom: remove it
            refused: spec.postgresql.parameters.allow_alter_system cannot be set, because it has a field of its own: use spec.postgresql.enableAlterSystem
            refused: spec.postgresql.parameters.archive_command cannot be set, because the cluster archives by itself: use spec.backup
            refused: spec.postgresql.parameters.cluster_name cannot be set, because it carries the instance's name: remove it
            refused: spec.postgresql.parameters.data_directory cannot be set, because the cluster knows its own files: remove it
            refused: spec.postgresql.parameters.hba_file cannot be set, because the cluster writes this file: use spec.postgresql.pg_hba
            refused: spec.postgresql.parameters.include_dir cannot be set, because the cluster knows its own files: remove it
            refused: spec.postgresql.parameters.jit_provider cannot be set, because it can destroy a server from within: remove it
            refused: spec.postgresql.parameters.logging_collector cannot be set, because the agent collects the log: remove it
            refused: spec.postgresql.parameters.port cannot be set, because the cluster places every instance: remove it
            refused: spec.postgresql.parameters.recovery_target_time cannot be set, because the cluster directs every recovery: use spec.bootstrap.recovery
            refused: spec.postgresql.parameters.restart_after_crash cannot be set, because the cluster decides what follows a crash: remove it
            refused: spec.postgresql.parameters.shared_preload_libraries cannot be set, because it is kept as a list: use spec.postgresql.shared_preload_libraries
            refused: spec.postgresql.parameters.ssl_cert_file cannot be set, because the cluster keeps the certificates: use spec.certificates
            refused: spec.postgresql.parameters.ssl_of_tomorrow cannot be set, because the cluster keeps the certificates: use spec.certificates
            refused: spec.postgresql.parameters.synchronized_standby_slots cannot be set, because the cluster keeps the slots of standbys: use spec.replicationSlots
            refused: spec.postgresql.parameters.synchronous_standby_names cannot be set, because the cluster keeps this list up to date: use spec.postgresql.synchronous
        "#]].assert_eq(&outcome(
            &[
                ("port", "5433"),
                ("Primary_ConnInfo", "host=a"),
                ("synchronous_standby_names", "*"),
                ("shared_preload_libraries", "pgaudit"),
                ("archive_command", "true"),
                ("recovery_target_time", "now"),
                ("restart_after_crash", "on"),
                ("ssl_cert_file", "a"),
                ("ssl_of_tomorrow", "a"),
                ("logging_collector", "off"),
                ("hba_file", "a"),
                ("data_directory", "a"),
                ("include_dir", "a"),
                ("cluster_name", "a"),
                ("allow_alter_system", "on"),
                ("synchronized_standby_slots", "a"),
                ("jit_provider", "a"),
            ],
            &[],
        ));
    }

    #[test]
    fn switches_and_sizes_are_read() {
        let given = [
            ("hot_standby_feedback", "maybe"),
            ("sync_replication_slots", " Tru"),
            ("shared_buffers", "25%"),
            ("min_wal_size", ".5 GB"),
            ("max_wal_size", "1e3"),
            ("wal_log_hints", ""),
        ];
        expect![[r#"
            refused: spec.postgresql.parameters.hot_standby_feedback is neither on nor off: write one of them
            refused: spec.postgresql.parameters.max_wal_size is not a size: write a number and B, kB, MB, GB or TB, such as 256MB
            refused: spec.postgresql.parameters.shared_buffers is not a size: write a number and B, kB, MB, GB or TB, such as 256MB
            refused: spec.postgresql.parameters.wal_log_hints is neither on nor off: write one of them
            min_wal_size = .5 GB
            sync_replication_slots =  Tru
        "#]].assert_eq(&outcome(&given, &[]));
    }

    #[test]
    fn what_cloudnativepg_writes_down_has_no_effect() {
        let given = [
            ("archive_mode", "on"),
            ("log_directory", "/controller/log"),
            ("logging_collector", "off"),
            ("shared_preload_libraries", ""),
        ];
        expect![[r#"
            refused: spec.postgresql.parameters.logging_collector cannot be set, because the agent collects the log: remove it
            warning: spec.postgresql.parameters.archive_mode is what CloudNativePG writes down for its own servers, and has no effect here: remove it
            warning: spec.postgresql.parameters.log_directory is what CloudNativePG writes down for its own servers, and has no effect here: remove it
            warning: spec.postgresql.parameters.shared_preload_libraries is what CloudNativePG writes down for its own servers, and has no effect here: remove it
        "#]].assert_eq(&outcome(&given, &[]));
    }

    #[test]
    fn a_single_instance_needs_no_hints_but_has_them() {
        let mut findings = Findings::default();
        let around = Around { instances: 1, is_synchronous: false };
        let kept = checked(&postgresql(&[("wal_log_hints", "off")], &[]), &around, &mut findings);
        assert!(kept.is_empty() && findings.problems.is_empty());
        expect![[r#"
            Some(
                "spec.postgresql.parameters.wal_log_hints is off, but stays on, which a second instance needs: remove it",
            )
        "#]].assert_debug_eq(&findings.warnings.first().map(ToString::to_string));
    }

    #[test]
    fn values_that_take_the_cluster_apart_are_refused() {
        expect![[r#"
            refused: spec.postgresql.parameters.fsync is 0, but has to be on, because a commit has to survive a power cut on the standby that confirms it: remove it
            refused: spec.postgresql.parameters.full_page_writes is Off, but has to be on, because pg_rewind needs whole pages to take a lost primary back: remove it
            refused: spec.postgresql.parameters.max_replication_slots is 2, but 3 are needed for this number of instances: write 3 or more
            refused: spec.postgresql.parameters.max_slot_wal_keep_size is -1, but has to have a bound, or a standby that is away fills the disk: write a size such as 16GB
            refused: spec.postgresql.parameters.max_wal_senders is 3, but 4 are needed for this number of instances: write 4 or more
            refused: spec.postgresql.parameters.password_encryption is md5, but logins need scram-sha-256: remove it
            refused: spec.postgresql.parameters.wal_level is minimal, but has to be replica or logical for standbys to follow: write one of them or remove it
            refused: spec.postgresql.parameters.wal_log_hints is fal, but has to be on, because pg_rewind needs it to take a lost primary back: remove it
        "#]].assert_eq(&outcome(
            &[
                ("wal_level", "minimal"),
                ("full_page_writes", "Off"),
                ("wal_log_hints", "fal"),
                ("fsync", "0"),
                ("password_encryption", "md5"),
                ("max_slot_wal_keep_size", "-1"),
                ("max_wal_senders", "3"),
                ("max_replication_slots", "2"),
            ],
            &[],
        ));
        expect![[r#"
            max_replication_slots = 3
            max_slot_wal_keep_size = 1GB
            max_wal_senders = 4
            wal_level = Logical
        "#]]
        .assert_eq(&outcome(
            &[
                ("wal_level", "Logical"),
                ("full_page_writes", "on"),
                ("wal_log_hints", "1"),
                ("fsync", "true"),
                ("password_encryption", "SCRAM-SHA-256"),
                ("max_slot_wal_keep_size", "1GB"),
                ("max_wal_senders", "4"),
                ("max_replication_slots", "3"),
            ],
            &[],
        ));
    }

    #[test]
    fn unwise_values_are_accepted_with_a_warning() {
        expect![[r#"
            warning: spec.postgresql.parameters.synchronous_commit is local: confirmed commits can be lost in a failover, in spite of spec.postgresql.synchronous
            warning: spec.postgresql.parameters.wal_retrieve_retry_interval is 2s, but stays 100ms, which failovers are timed for: remove it
            synchronous_commit = local
        "#]].assert_eq(&outcome(
            &[("synchronous_commit", "local"), ("wal_retrieve_retry_interval", "2s")],
            &[],
        ));
        expect![[r#"
            synchronous_commit = remote_apply
        "#]]
        .assert_eq(&outcome(
            &[("synchronous_commit", "remote_apply"), ("wal_retrieve_retry_interval", "100ms")],
            &[],
        ));
    }

    #[test]
    fn libraries_are_loaded_once_and_with_their_parameters() {
        expect![[r#"
            auto_explain.log_min_duration = 1s
            pg_stat_statements.max = 1000
            shared_preload_libraries = timescaledb,auto_explain,pg_stat_statements
        "#]]
        .assert_eq(&outcome(
            &[("pg_stat_statements.max", "1000"), ("auto_explain.log_min_duration", "1s")],
            &["timescaledb", "auto_explain", "timescaledb"],
        ));
        expect![[r#"
            refused: spec.postgresql.shared_preload_libraries[0] holds "a,b", which is not the name of a library: use letters, digits and _
            refused: spec.postgresql.shared_preload_libraries[1] holds "", which is not the name of a library: use letters, digits and _
            refused: spec.postgresql.shared_preload_libraries[2] holds "$libdir/x", which is not the name of a library: use letters, digits and _
        "#]].assert_eq(&outcome(&[], &["a,b", "", "$libdir/x"]));
    }

    #[test]
    fn false_is_recognised_as_postgresql_does() {
        let off = ["0", "off", "of", "OFF", "f", "false", "n", "no"];
        let on = ["", "o", "on", "1", "true", "yes", "never"];
        assert!(off.iter().all(|value| is_off(value)) && !on.iter().any(|value| is_off(value)));
    }
}
