//! Decides what the annotations of a cluster switch on: fences, rest, pause, the greatest lag.
//!
//! Never passes over a switch that it does not understand.

pub use self::requests::Requests;
use super::Cluster;
use super::problem::{Findings, Refusal};
use super::references::SecretKeySelector;
use crate::agent::{ReadRate, StreamSpec};
use crate::backup::rate::{self, BACKUP_RATE, RateRefusal};
use crate::field::FieldPath;
use crate::guess::closest;
use crate::quantity::parse_bytes;
use crate::warning::Caution;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

mod requests;

/// Instances whose PostgreSQL stays down: a JSON list of their names, or `["*"]` for all.
pub const FENCED_INSTANCES: &str = "cnpg.io/fencedInstances";
/// `on` stops the whole cluster cleanly and keeps its data.
pub const HIBERNATION: &str = "cnpg.io/hibernation";
/// `disabled` leaves everything as it is: no automatic failover, restart or rejoin.
pub const RECONCILIATION_LOOP: &str = "cnpg.io/reconciliationLoop";
/// How much WAL an asynchronous standby may lack and still be promoted, as a quantity such as
/// `16Mi`. Default: 16Mi, a segment of WAL; more may be lost only with a person's consent.
pub const MAX_LAG: &str = "pgherd.dev/maxLag";
/// How often log that is in no finished segment yet goes to the archive: seconds, from 0.2 to 10,
/// or `off`. Default: 1.
pub const STREAM: &str = "pgherd.dev/walStream";
/// Encrypts everything that goes into the archive with a key of its owner: `SECRET/KEY`, the name of a
/// Secret and of its entry; in local mode also the absolute path of a file. Default: not encrypted
/// before it leaves.
pub const REPOSITORY_KEY: &str = "pgherd.dev/repositoryKey";
/// What the archive was encrypted with that the cluster begins with a backup of, written like
/// `pgherd.dev/repositoryKey`.
pub const SOURCE_REPOSITORY_KEY: &str = "pgherd.dev/sourceRepositoryKey";

/// Asks for another primary: `{"number":N,"target":"db-2","epoch":E}`, with or without a target. A
/// request counts once, if its number is higher than that of the last one, and only while nobody has
/// taken office since epoch E, or else since it was taken up.
pub const SWITCHOVER: &str = "pgherd.dev/switchover";
/// Asks for a restart of PostgreSQL: `{"number":N,"instances":["db-2"]}`; of all, if none is named.
pub const RESTART: &str = "pgherd.dev/restart";
/// Asks all instances to read their settings again: a number, higher than the last one.
pub const RELOAD: &str = "pgherd.dev/reload";
/// What `kubectl rollout restart` writes: each new value asks for a restart of all instances.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// The default of [`MAX_LAG`].
pub const DEFAULT_MAX_LAG: Bytes = Bytes(16 << 20);

/// Why an annotation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum AnnotationRefusal {
    #[error(
        "is {given:?}, which is not a list: write [\"{cluster}-1\"], or [\"*\"] for all instances"
    )]
    FencedList { given: String, cluster: ClusterName },
    #[error(
        "names {given:?}, which is not an instance of this cluster: write names such as \"{cluster}-1\""
    )]
    FencedName { given: String, cluster: ClusterName },
    #[error("is {given:?}: write on or off")]
    Hibernation { given: String },
    #[error(transparent)]
    BackupRate(RateRefusal),
    #[error("is {given:?}: write off, or seconds from 0.2 to 10, such as 1")]
    Stream { given: String },
    #[error(
        "is {given:?}: write SECRET/KEY, the name of a Secret and of its entry, or in local mode the \
         absolute path of a file"
    )]
    RepositoryKey { given: String },
    #[error(
        "is {given:?}, a file, and pods are shown Secrets: write SECRET/KEY, the name of a Secret and of \
         its entry"
    )]
    KeyFile { given: String },
    #[error(
        "is {given:?}, which is not a request: write {{\"number\":1,\"target\":\"{cluster}-2\"}}, with a number that is higher than the last one"
    )]
    Switchover { given: String, cluster: ClusterName },
    #[error(
        "is {given:?}, which is not a request: write {{\"number\":1,\"instances\":[\"{cluster}-2\"]}}, with a number that is higher than the last one"
    )]
    Restart { given: String, cluster: ClusterName },
    #[error("is {given:?}: write a number that is higher than the last one, such as 1")]
    Reload { given: String },
    #[error(
        "names {given:?}, which is not an instance of this cluster: write a name such as \"{cluster}-1\", or remove the request"
    )]
    Requested { given: String, cluster: ClusterName },
}

/// Which instances are fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fenced {
    /// Those in the set; nobody if it is empty.
    Instances(BTreeSet<InstanceName>),
    /// All instances, also those to come.
    All,
}

/// Whether the cluster shall rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hibernation {
    /// It runs.
    Awake,
    /// It is stopped, and its data is kept.
    Asleep,
}

/// Whether the cluster is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// What fails is repaired.
    Active,
    /// Somebody is at work: everything is left as it is.
    Paused,
}

/// What the annotations of a cluster say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotations {
    /// Which instances are fenced.
    pub fenced: Fenced,
    /// Whether the cluster shall rest.
    pub hibernation: Hibernation,
    /// Whether the cluster is looked after.
    pub care: Care,
    /// How far behind an asynchronous standby may be promoted, if it is said.
    pub max_lag: Option<Bytes>,
    /// How log that is in no finished segment goes to the archive; not at all if it is switched off.
    pub stream: Option<StreamSpec>,
    /// How fast base backups read.
    pub backup_rate: ReadRate,
    /// What the archive is encrypted with, if it is.
    pub repository_key: Option<KeyPlace>,
    /// What the archive was encrypted with that the cluster begins with a backup of.
    pub source_repository_key: Option<KeyPlace>,
    /// What is asked for, once each.
    pub requests: Requests,
}

/// Where the key of a repository is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// An entry of a Secret.
    Secret(SecretKeySelector),
    /// A file of this machine, in local mode.
    File(PathBuf),
}

impl KeyPlace {
    fn parse(given: &str) -> Option<Self> {
        if given.starts_with('/') && given.len() > 1 && !given.contains(char::is_control) {
            return Some(Self::File(PathBuf::from(given)));
        }
        let (name, key) = given.split_once('/')?;
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = name.bytes().all(|byte| lower(byte) || b"-.".contains(&byte))
            && name.bytes().next().is_some_and(lower)
            && name.bytes().next_back().is_some_and(lower);
        let is_key = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let fits = (1..=253).contains(&name.len()) && (1..=253).contains(&key.len());
        let selector = SecretKeySelector { name: name.to_owned(), key: key.to_owned() };
        (is_name && is_key && fits).then_some(Self::Secret(selector))
    }
}

impl Cluster {
    /// Where the key is kept that one of the two annotations names, if it can be understood.
    pub fn repository_key(&self, annotation: &str) -> Option<KeyPlace> {
        KeyPlace::parse(self.metadata.annotations.as_ref()?.get(annotation)?)
    }
}

/// Where an annotation is written.
pub(super) fn place(name: &str) -> FieldPath {
    FieldPath::of("metadata.annotations").name(name)
}

pub(super) fn checked(
    annotations: &BTreeMap<String, String>,
    cluster: &ClusterName,
    findings: &mut Findings,
) -> Annotations {
    for name in annotations.keys().filter(|name| name.starts_with("pgherd.dev/")) {
        const KNOWN: [&str; 8] = [
            MAX_LAG,
            STREAM,
            BACKUP_RATE,
            REPOSITORY_KEY,
            SOURCE_REPOSITORY_KEY,
            SWITCHOVER,
            RESTART,
            RELOAD,
        ];
        if !KNOWN.contains(&name.as_str()) {
            let guess = closest(name, KNOWN);
            findings.warn(&place(name), Caution::UnknownAnnotation { guess });
        }
    }
    let given = |name: &str| annotations.get(name).map(String::as_str);
    Annotations {
        fenced: given(FENCED_INSTANCES)
            .map_or(Fenced::Instances(BTreeSet::new()), |list| fenced(list, cluster, findings)),
        hibernation: given(HIBERNATION)
            .map_or(Hibernation::Awake, |value| hibernation(value, findings)),
        care: given(RECONCILIATION_LOOP).map_or(Care::Active, |value| care(value, findings)),
        max_lag: given(MAX_LAG).and_then(|quantity| match parse_bytes(quantity) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                findings.refuse(&place(MAX_LAG), Refusal::Quantity(error));
                None
            }
        }),
        stream: given(STREAM)
            .map_or_else(|| Some(StreamSpec::default()), |value| stream(value, findings)),
        backup_rate: given(BACKUP_RATE)
            .map_or(ReadRate::Unlimited, |value| backup_rate(value, findings)),
        repository_key: given(REPOSITORY_KEY)
            .and_then(|value| key_place(REPOSITORY_KEY, value, findings)),
        source_repository_key: given(SOURCE_REPOSITORY_KEY)
            .and_then(|value| key_place(SOURCE_REPOSITORY_KEY, value, findings)),
        requests: requests::checked(annotations, cluster, findings),
    }
}

fn fenced(list: &str, cluster: &ClusterName, findings: &mut Findings) -> Fenced {
    let path = place(FENCED_INSTANCES);
    if list.trim() == "*" {
        return Fenced::All;
    }
    let Ok(names) = serde_json::from_str::<Vec<String>>(list) else {
        let refusal =
            AnnotationRefusal::FencedList { given: list.to_owned(), cluster: cluster.clone() };
        findings.refuse(&path, Refusal::Annotation(refusal));
        return Fenced::All;
    };
    if names.iter().any(|name| name == "*") {
        return Fenced::All;
    }
    let mut instances = BTreeSet::new();
    for given in names {
        match InstanceName::parse(&given) {
            Ok(instance) if instance.cluster() == cluster => _ = instances.insert(instance),
            Ok(_) | Err(_) => {
                let refusal = AnnotationRefusal::FencedName { given, cluster: cluster.clone() };
                findings.refuse(&path, Refusal::Annotation(refusal));
            }
        }
    }
    Fenced::Instances(instances)
}

fn hibernation(value: &str, findings: &mut Findings) -> Hibernation {
    match value {
        "on" => Hibernation::Asleep,
        "off" => Hibernation::Awake,
        _ => {
            let refusal = AnnotationRefusal::Hibernation { given: value.to_owned() };
            findings.refuse(&place(HIBERNATION), Refusal::Annotation(refusal));
            Hibernation::Awake
        }
    }
}

fn stream(value: &str, findings: &mut Findings) -> Option<StreamSpec> {
    if value == "off" {
        return None;
    }
    let Some(interval_milliseconds) = milliseconds(value) else {
        let refusal = AnnotationRefusal::Stream { given: value.to_owned() };
        findings.refuse(&place(STREAM), Refusal::Annotation(refusal));
        return None;
    };
    Some(StreamSpec { interval_milliseconds })
}

fn backup_rate(value: &str, findings: &mut Findings) -> ReadRate {
    rate::parse(value).unwrap_or_else(|refusal| {
        let refusal = Refusal::Annotation(AnnotationRefusal::BackupRate(refusal));
        findings.refuse(&place(BACKUP_RATE), refusal);
        ReadRate::Unlimited
    })
}

fn key_place(name: &str, value: &str, findings: &mut Findings) -> Option<KeyPlace> {
    let place = KeyPlace::parse(value);
    if place.is_none() {
        let refusal = AnnotationRefusal::RepositoryKey { given: value.to_owned() };
        findings.refuse(&self::place(name), Refusal::Annotation(refusal));
    }
    place
}

/// Of a number of seconds with up to three digits behind the point.
fn milliseconds(value: &str) -> Option<u32> {
    let (whole, rest) = value.split_once('.').unwrap_or((value, "0"));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = (1..=2).contains(&whole.len()) && (1..=3).contains(&rest.len());
    if !fits || !is_plain(whole) || !is_plain(rest) {
        return None;
    }
    let (whole, rest): (u32, u32) = (whole.parse().ok()?, format!("{rest:0<3}").parse().ok()?);
    let milliseconds = whole * 1000 + rest;
    (200..=10_000).contains(&milliseconds).then_some(milliseconds)
}

fn care(value: &str, findings: &mut Findings) -> Care {
    match value {
        "disabled" => Care::Paused,
        "enabled" => Care::Active,
        _ => {
            let caution = Caution::NoSuchSwitch { known: "disabled" };
            findings.warn(&place(RECONCILIATION_LOOP), caution);
            Care::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(annotations: &[(&str, &str)]) -> String {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut findings = Findings::default();
        let cluster = ClusterName::parse("db").unwrap();
        let said = checked(&annotations.iter().map(owned).collect(), &cluster, &mut findings);
        let fenced = match &said.fenced {
            Fenced::All => "all".to_owned(),
            Fenced::Instances(names) => {
                format!("{:?}", names.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
        };
        let lag = said.max_lag.map(|lag| lag.to_string());
        let problems = findings.problems.iter().map(|problem| format!("refused: {problem}\n"));
        let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let said = format!("fenced {fenced}, {:?}, {:?}, {lag:?}\n", said.hibernation, said.care);
        problems.chain(warnings).chain([said]).collect()
    }

    #[test]
    fn the_stream_has_an_interval_or_is_off() {
        let said = |value: &str| {
            let annotations = BTreeMap::from([(STREAM.to_owned(), value.to_owned())]);
            let mut findings = Findings::default();
            let cluster = ClusterName::parse("db").unwrap();
            let said = checked(&annotations, &cluster, &mut findings).stream;
            findings.problems.is_empty().then_some(said.map(|it| it.interval_milliseconds))
        };
        for (value, milliseconds) in [("0.2", 200), ("1", 1000), ("2.75", 2750), ("10.000", 10_000)]
        {
            assert_eq!(said(value), Some(Some(milliseconds)), "{value}");
        }
        assert_eq!(said("off"), Some(None));
        for bad in ["", "on", "0.1", "10.1", "1s", "-1", "+1", "1.", ".5", "1.0000", "100"] {
            assert_eq!(said(bad), None, "{bad}");
        }
        expect![[r#"
            refused: metadata.annotations["pgherd.dev/walStream"] is "0.1": write off, or seconds from 0.2 to 10, such as 1
            fenced [], Awake, Active, None
        "#]]
        .assert_eq(&outcome(&[(STREAM, "0.1")]));
    }

    #[test]
    fn the_key_of_a_repository_is_an_entry_of_a_secret_or_a_file() {
        let secret = |name: &str, key: &str| {
            let (name, key) = (name.to_owned(), key.to_owned());
            Some(KeyPlace::Secret(SecretKeySelector { name, key }))
        };
        assert_eq!(KeyPlace::parse("store/repository.key"), secret("store", "repository.key"));
        assert_eq!(KeyPlace::parse("a.b-1/K_2"), secret("a.b-1", "K_2"));
        assert_eq!(KeyPlace::parse("/etc/k"), Some(KeyPlace::File("/etc/k".into())));
        for bad in ["", "/", "store", "store/", "/\n", "a/b/c", "Store/k", "-a/k", "a/k k", "./k"] {
            assert_eq!(KeyPlace::parse(bad), None, "{bad:?}");
        }
        expect![[r#"
            refused: metadata.annotations["pgherd.dev/repositoryKey"] is "key": write SECRET/KEY, the name of a Secret and of its entry, or in local mode the absolute path of a file
            fenced [], Awake, Active, None
        "#]]
        .assert_eq(&outcome(&[(REPOSITORY_KEY, "key"), (SOURCE_REPOSITORY_KEY, "a/b")]));
    }

    #[test]
    fn annotations_switch_what_they_say() {
        expect![[r#"
            fenced [], Awake, Active, None
            fenced [], Awake, Active, None
            fenced ["db-1", "db-3"], Awake, Active, None
            fenced all, Awake, Active, None
            fenced all, Awake, Active, None
            fenced [], Awake, Active, None
            fenced [], Asleep, Paused, None
            fenced [], Awake, Active, Some("0 B")
            fenced [], Awake, Active, Some("64.0 MiB")
        "#]]
        .assert_eq(
            &[
                outcome(&[]),
                outcome(&[("example.org/team", "a")]),
                outcome(&[(FENCED_INSTANCES, r#"["db-1", "db-3"]"#)]),
                outcome(&[(FENCED_INSTANCES, r#"["*"]"#)]),
                outcome(&[(FENCED_INSTANCES, "*")]),
                outcome(&[(FENCED_INSTANCES, "[]")]),
                outcome(&[(HIBERNATION, "on"), (RECONCILIATION_LOOP, "disabled")]),
                outcome(&[(HIBERNATION, "off"), (RECONCILIATION_LOOP, "enabled"), (MAX_LAG, "0")]),
                outcome(&[(MAX_LAG, "64Mi")]),
            ]
            .concat(),
        );
    }

    #[test]
    fn what_is_not_understood_is_said() {
        expect![[r#"
            refused: metadata.annotations["cnpg.io/fencedInstances"] is "db-1", which is not a list: write ["db-1"], or ["*"] for all instances
            fenced all, Awake, Active, None
            refused: metadata.annotations["cnpg.io/fencedInstances"] names "other-1", which is not an instance of this cluster: write names such as "db-1"
            refused: metadata.annotations["cnpg.io/fencedInstances"] names "2", which is not an instance of this cluster: write names such as "db-1"
            fenced ["db-1"], Awake, Active, None
            refused: metadata.annotations["cnpg.io/hibernation"] is "true": write on or off
            fenced [], Awake, Active, None
            warning: metadata.annotations["cnpg.io/reconciliationLoop"] switches nothing: only "disabled" does
            fenced [], Awake, Active, None
            refused: metadata.annotations["pgherd.dev/maxLag"] is refused: "64MB" is not a quantity: write a number and a unit, such as 64Mi
            fenced [], Awake, Active, None
            warning: metadata.annotations["pgherd.dev/color"] means nothing: remove it
            warning: metadata.annotations["pgherd.dev/maxlag"] means nothing: did you mean pgherd.dev/maxLag?
            fenced [], Awake, Active, None
        "#]].assert_eq(
            &[
                outcome(&[(FENCED_INSTANCES, "db-1")]),
                outcome(&[(FENCED_INSTANCES, r#"["db-1", "other-1", "2"]"#)]),
                outcome(&[(HIBERNATION, "true")]),
                outcome(&[(RECONCILIATION_LOOP, "disable")]),
                outcome(&[(MAX_LAG, "64MB")]),
                outcome(&[("pgherd.dev/maxlag", "64Mi"), ("pgherd.dev/color", "red")]),
            ]
            .concat(),
        );
    }
}
