//! Reads what the operator was configured with, under the names that its users know.
//!
//! Never reads the environment itself: it is handed in.

use crate::leader::NAMESPACE;
use crate::stores::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

const OPERATOR_IMAGE: &str = "OPERATOR_IMAGE_NAME";
const POSTGRES_IMAGE: &str = "POSTGRES_IMAGE_NAME";
const INHERITED_ANNOTATIONS: &str = "INHERITED_ANNOTATIONS";
const INHERITED_LABELS: &str = "INHERITED_LABELS";
const WATCH_NAMESPACE: &str = "WATCH_NAMESPACE";
const CLUSTERS_ROLLOUT_DELAY: &str = "CLUSTERS_ROLLOUT_DELAY";
const INSTANCES_ROLLOUT_DELAY: &str = "INSTANCES_ROLLOUT_DELAY";
const CLUSTER_DOMAIN: &str = "KUBERNETES_CLUSTER_DOMAIN";
const PULL_SECRET: &str = "PULL_SECRET_NAME";
const CHECK_THRESHOLD: &str = "EXPIRING_CHECK_THRESHOLD";
const CERTIFICATE_DURATION: &str = "CERTIFICATE_DURATION";
const IN_PLACE_UPDATES: &str = "ENABLE_INSTANCE_MANAGER_INPLACE_UPDATES";

const DEFAULT_OPERATOR_IMAGE: &str = concat!("ghcr.io/pgherd/pgherd:", env!("CARGO_PKG_VERSION"));
const DEFAULT_POSTGRES_IMAGE: &str = "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie";
const DEFAULT_CHECK_THRESHOLD_DAYS: u32 = 7;
const DEFAULT_CERTIFICATE_DAYS: u32 = 90;
const DAY: Duration = Duration::from_hours(24);

/// Why the operator cannot be run as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{name} is {given:?}, which is not a number of {unit}: write a whole number of {unit}")]
    ReadNumber { name: &'static str, given: String, unit: &'static str },
    #[error(
        "{name} is {given:?}, which is not an image: write REGISTRY/NAME:TAG, for example {example}"
    )]
    ReadImage { name: &'static str, given: String, example: &'static str },
    #[error(
        "{name} lists {given:?}, which no key looks like: write keys such as team or example.com/*, with commas between them"
    )]
    ReadPattern { name: &'static str, given: String },
    #[error(
        "{name} has {given:?}, which is not a name: use lower-case letters, digits and '-', for example {example}"
    )]
    ReadName { name: &'static str, given: String, example: &'static str },
    #[error("{name} is {given:?}: write true or false")]
    ReadSwitch { name: &'static str, given: String },
    #[error(
        "{CHECK_THRESHOLD} is {threshold} days, but certificates last only {duration}, so that every one would be renewed without end: write less than {CERTIFICATE_DURATION}"
    )]
    CompareDays { threshold: u32, duration: u32 },
    #[error(
        "{PULL_SECRET} is {0:?}, but {NAMESPACE} does not say in which namespace it is: set {NAMESPACE} to that of the operator"
    )]
    FindNamespace(String),
}

/// What the operator was configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The image that brings the agent into a pod.
    pub operator_image: String,
    /// The image of PostgreSQL for clusters that name none.
    pub postgres_image: String,
    /// The annotations of a cluster that its objects have, too.
    pub inherited_annotations: Vec<KeyPattern>,
    /// The labels of a cluster that its objects have, too.
    pub inherited_labels: Vec<KeyPattern>,
    /// Where clusters are looked after.
    pub watched: Watched,
    /// How long to wait between replacing pods of two clusters.
    pub clusters_rollout_delay: Duration,
    /// How long to wait between replacing pods of two instances of a cluster.
    pub instances_rollout_delay: Duration,
    /// What the names of all services end with.
    pub cluster_domain: String,
    /// The Secret beside the operator that images are pulled with.
    pub pull_secret: Option<PullSecret>,
    /// How long before its end a certificate is renewed.
    pub expiring_check_threshold: Duration,
    /// How long a certificate lasts.
    pub certificate_duration: Duration,
    /// How agents get the program of a new version of the operator.
    pub agent_updates: AgentUpdates,
}

/// How agents get another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentUpdates {
    /// They become it, and PostgreSQL runs on.
    InPlace,
    /// In new pods, one after the other.
    ByReplacement,
}

/// A Secret that every cluster gets a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecret {
    pub namespace: String,
    pub name: String,
}

/// Where clusters are looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// In every namespace.
    Everywhere,
    /// In these namespaces.
    Namespaces(BTreeSet<String>),
}

impl Watched {
    /// One for each controller that is to be run.
    pub fn scopes(&self) -> Vec<Scope> {
        match self {
            Self::Everywhere => vec![Scope::Everywhere],
            Self::Namespaces(names) => names.iter().cloned().map(Scope::Namespace).collect(),
        }
    }
}

/// A key of labels or annotations in which `*` stands for any letters but `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern(String);

impl KeyPattern {
    /// Whether a key is meant.
    pub fn matches(&self, key: &str) -> bool {
        matches(&self.0, key)
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn matches(pattern: &str, key: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == key };
    let Some(rest) = key.strip_prefix(before) else { return false };
    let part = rest.find('/').unwrap_or(rest.len());
    (0..=part).filter_map(|skipped| rest.get(skipped..)).any(|rest| matches(after, rest))
}

impl Settings {
    /// What the variables of an environment say. An empty variable is like an absent one.
    pub fn parse(environment: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let given = Given(environment);
        let threshold = given.number(CHECK_THRESHOLD, "days")?;
        let duration = given.number(CERTIFICATE_DURATION, "days")?;
        let threshold = threshold.unwrap_or(DEFAULT_CHECK_THRESHOLD_DAYS);
        let duration = duration.unwrap_or(DEFAULT_CERTIFICATE_DAYS);
        if threshold >= duration {
            return Err(SettingsError::CompareDays { threshold, duration });
        }
        Ok(Self {
            operator_image: given.image(OPERATOR_IMAGE, DEFAULT_OPERATOR_IMAGE)?,
            postgres_image: given.image(POSTGRES_IMAGE, DEFAULT_POSTGRES_IMAGE)?,
            inherited_annotations: given.patterns(INHERITED_ANNOTATIONS)?,
            inherited_labels: given.patterns(INHERITED_LABELS)?,
            watched: given.watched()?,
            clusters_rollout_delay: given.seconds(CLUSTERS_ROLLOUT_DELAY)?,
            instances_rollout_delay: given.seconds(INSTANCES_ROLLOUT_DELAY)?,
            cluster_domain: given
                .name(CLUSTER_DOMAIN, "cluster.local")?
                .unwrap_or_else(|| "cluster.local".to_owned()),
            pull_secret: given.pull_secret()?,
            expiring_check_threshold: DAY * threshold,
            certificate_duration: DAY * duration,
            agent_updates: given.agent_updates()?,
        })
    }
}

/// The variables of an environment.
struct Given<'a>(&'a BTreeMap<String, String>);

impl<'a> Given<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|given| given.trim()).filter(|given| !given.is_empty())
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let items = self.text(name).unwrap_or_default().split(',');
        items.map(str::trim).filter(|item| !item.is_empty())
    }

    fn number(&self, name: &'static str, unit: &'static str) -> Result<Option<u32>, SettingsError> {
        let Some(given) = self.text(name) else { return Ok(None) };
        let refused = |_| SettingsError::ReadNumber { name, given: given.to_owned(), unit };
        given.parse().map(Some).map_err(refused)
    }

    fn agent_updates(&self) -> Result<AgentUpdates, SettingsError> {
        match self.text(IN_PLACE_UPDATES) {
            None => Ok(AgentUpdates::InPlace),
            Some(given) if given.eq_ignore_ascii_case("true") => Ok(AgentUpdates::InPlace),
            Some(given) if given.eq_ignore_ascii_case("false") => Ok(AgentUpdates::ByReplacement),
            Some(given) => {
                let (name, given) = (IN_PLACE_UPDATES, given.to_owned());
                Err(SettingsError::ReadSwitch { name, given })
            }
        }
    }

    fn seconds(&self, name: &'static str) -> Result<Duration, SettingsError> {
        let seconds = self.number(name, "seconds")?.unwrap_or(0);
        Ok(Duration::from_secs(u64::from(seconds)))
    }

    fn image(&self, name: &'static str, default: &'static str) -> Result<String, SettingsError> {
        let Some(given) = self.text(name) else { return Ok(default.to_owned()) };
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b"/:.-_@".contains(&b);
        if given.bytes().all(is_known) {
            return Ok(given.to_owned());
        }
        Err(SettingsError::ReadImage { name, given: given.to_owned(), example: default })
    }

    fn patterns(&self, name: &'static str) -> Result<Vec<KeyPattern>, SettingsError> {
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b"/.-_*".contains(&b);
        let pattern = |given: &str| {
            if given.bytes().all(is_known) && given.matches('/').count() <= 1 {
                return Ok(KeyPattern(given.to_owned()));
            }
            Err(SettingsError::ReadPattern { name, given: given.to_owned() })
        };
        self.list(name).map(pattern).collect()
    }

    fn watched(&self) -> Result<Watched, SettingsError> {
        let names = self.list(WATCH_NAMESPACE).map(|given| {
            let checked = checked_name(WATCH_NAMESPACE, given, "databases")?;
            if checked.contains('.') {
                let (name, example) = (WATCH_NAMESPACE, "databases");
                return Err(SettingsError::ReadName { name, given: checked, example });
            }
            Ok(checked)
        });
        let names: BTreeSet<_> = names.collect::<Result<_, _>>()?;
        Ok(if names.is_empty() { Watched::Everywhere } else { Watched::Namespaces(names) })
    }

    fn pull_secret(&self) -> Result<Option<PullSecret>, SettingsError> {
        let Some(name) = self.name(PULL_SECRET, "registry-login")? else { return Ok(None) };
        let namespace = self.name(NAMESPACE, "pgherd-system")?;
        let namespace = namespace.ok_or_else(|| SettingsError::FindNamespace(name.clone()))?;
        Ok(Some(PullSecret { namespace, name }))
    }

    fn name(
        &self,
        name: &'static str,
        example: &'static str,
    ) -> Result<Option<String>, SettingsError> {
        self.text(name).map(|given| checked_name(name, given, example)).transpose()
    }
}

/// A name of parts with dots between them, each a DNS label.
fn checked_name(
    name: &'static str,
    given: &str,
    example: &'static str,
) -> Result<String, SettingsError> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = |part: &str| {
        let edges = part.starts_with('-') || part.ends_with('-');
        !part.is_empty() && !edges && part.bytes().all(inside)
    };
    if given.split('.').all(is_label) && given.len() <= 253 {
        return Ok(given.to_owned());
    }
    Err(SettingsError::ReadName { name, given: given.to_owned(), example })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn parse(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Settings::parse(&variables.collect())
    }

    #[test]
    fn without_variables_there_are_defaults() {
        let settings = parse(&[]).unwrap();
        assert_eq!(parse(&[("WATCH_NAMESPACE", " "), ("PULL_SECRET_NAME", "")]).unwrap(), settings);
        let shown = format!("{settings:#?}");
        expect![[r#"
            Settings {
                operator_image: "ghcr.io/pgherd/pgherd:VERSION",
                postgres_image: "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie",
                inherited_annotations: [],
                inherited_labels: [],
                watched: Everywhere,
                clusters_rollout_delay: 0ns,
                instances_rollout_delay: 0ns,
                cluster_domain: "cluster.local",
                pull_secret: None,
                expiring_check_threshold: 604800s,
                certificate_duration: 7776000s,
                agent_updates: InPlace,
            }"#]]
        .assert_eq(&shown.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn every_variable_is_understood() {
        let settings = parse(&[
            ("OPERATOR_IMAGE_NAME", "registry:5000/pgherd@sha256:ab"),
            ("POSTGRES_IMAGE_NAME", "postgres:17"),
            ("INHERITED_ANNOTATIONS", "team, example.com/*"),
            ("INHERITED_LABELS", "app*"),
            ("WATCH_NAMESPACE", "b,a"),
            ("CLUSTERS_ROLLOUT_DELAY", "60"),
            ("INSTANCES_ROLLOUT_DELAY", "5"),
            ("KUBERNETES_CLUSTER_DOMAIN", "k8s.example.org"),
            ("PULL_SECRET_NAME", "login"),
            ("POD_NAMESPACE", "pgherd-system"),
            ("EXPIRING_CHECK_THRESHOLD", "1"),
            ("CERTIFICATE_DURATION", "2"),
            ("ENABLE_INSTANCE_MANAGER_INPLACE_UPDATES", "False"),
        ]);
        expect![[r#"
            Settings {
                operator_image: "registry:5000/pgherd@sha256:ab",
                postgres_image: "postgres:17",
                inherited_annotations: [
                    KeyPattern(
                        "team",
                    ),
                    KeyPattern(
                        "example.com/*",
                    ),
                ],
                inherited_labels: [
                    KeyPattern(
                        "app*",
                    ),
                ],
                watched: Namespaces(
                    {
                        "a",
                        "b",
                    },
                ),
                clusters_rollout_delay: 60s,
                instances_rollout_delay: 5s,
                cluster_domain: "k8s.example.org",
                pull_secret: Some(
                    PullSecret {
                        namespace: "pgherd-system",
                        name: "login",
                    },
                ),
                expiring_check_threshold: 86400s,
                certificate_duration: 172800s,
                agent_updates: ByReplacement,
            }"#]]
        .assert_eq(&format!("{:#?}", settings.unwrap()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refusals = [
            ("CLUSTERS_ROLLOUT_DELAY", "1m"),
            ("CERTIFICATE_DURATION", "-1"),
            ("CERTIFICATE_DURATION", "0"),
            ("EXPIRING_CHECK_THRESHOLD", "90"),
            ("OPERATOR_IMAGE_NAME", "a b"),
            ("INHERITED_LABELS", "team,[a-z]"),
            ("INHERITED_ANNOTATIONS", "a/b/c"),
            ("WATCH_NAMESPACE", "default,Other"),
            ("WATCH_NAMESPACE", "a.b"),
            ("KUBERNETES_CLUSTER_DOMAIN", "cluster..local"),
            ("PULL_SECRET_NAME", "login"),
            ("ENABLE_INSTANCE_MANAGER_INPLACE_UPDATES", "later"),
        ]
        .map(|variable| format!("{}\n", parse(&[variable]).unwrap_err()));
        expect![[r#"
            CLUSTERS_ROLLOUT_DELAY is "1m", which is not a number of seconds: write a whole number of seconds
            CERTIFICATE_DURATION is "-1", which is not a number of days: write a whole number of days
            EXPIRING_CHECK_THRESHOLD is 7 days, but certificates last only 0, so that every one would be renewed without end: write less than CERTIFICATE_DURATION
            EXPIRING_CHECK_THRESHOLD is 90 days, but certificates last only 90, so that every one would be renewed without end: write less than CERTIFICATE_DURATION
            OPERATOR_IMAGE_NAME is "a b", which is not an image: write REGISTRY/NAME:TAG, for example ghcr.io/pgherd/pgherd:0.1.0
            INHERITED_LABELS lists "[a-z]", which no key looks like: write keys such as team or example.com/*, with commas between them
            INHERITED_ANNOTATIONS lists "a/b/c", which no key looks like: write keys such as team or example.com/*, with commas between them
            WATCH_NAMESPACE has "Other", which is not a name: use lower-case letters, digits and '-', for example databases
            WATCH_NAMESPACE has "a.b", which is not a name: use lower-case letters, digits and '-', for example databases
            KUBERNETES_CLUSTER_DOMAIN has "cluster..local", which is not a name: use lower-case letters, digits and '-', for example cluster.local
            PULL_SECRET_NAME is "login", but POD_NAMESPACE does not say in which namespace it is: set POD_NAMESPACE to that of the operator
            ENABLE_INSTANCE_MANAGER_INPLACE_UPDATES is "later": write true or false
        "#]].assert_eq(&refusals.concat());
    }

    #[test]
    fn a_star_stands_for_letters_of_one_part() {
        let cases = [
            ("team", "team"),
            ("team", "teams"),
            ("example.com/*", "example.com/one"),
            ("example.com/*", "example.org/one"),
            ("*", "team"),
            ("*", "example.com/one"),
            ("a*c*e", "abcde"),
            ("a*c*e", "abcd"),
            ("*é", "aé"),
        ];
        let shown = cases.map(|(pattern, key)| {
            format!("{pattern} {key} {}\n", KeyPattern(pattern.to_owned()).matches(key))
        });
        expect![[r#"
            team team true
            team teams false
            example.com/* example.com/one true
            example.com/* example.org/one false
            * team true
            * example.com/one false
            a*c*e abcde true
            a*c*e abcd false
            *é aé true
        "#]]
        .assert_eq(&shown.concat());
    }
}
