//! Makes the policy: what the API server refuses of a `Cluster` that its schema cannot say, or only
//! at too great a cost.
//!
//! Never judges what a change leaves as it was: who has lived with a mistake can still add a label,
//! and an object that is being deleted can go.

mod access;
mod annotations;
mod cluster;
#[cfg(test)]
mod generated;
mod initdb;
mod parameters;

use crate::kind::{GROUP, VERSION};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What the policy and its binding are called.
pub const POLICY: &str = "pgherd-clusters";

/// Something that the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What the check wants, in a few words joined by hyphens; its examples have the same name.
    pub name: Cow<'static, str>,
    /// Where the offenders are: what the message begins with, up to their names.
    pub place: Cow<'static, str>,
    /// The names of everything that offends, as a list in Kubernetes' expression language (CEL).
    pub offenders: Cow<'static, str>,
    /// What is wrong with them and how to fix it; reads on behind their names.
    pub refusal: Cow<'static, str>,
}

impl Check {
    const fn new(
        name: &'static str,
        place: &'static str,
        offenders: &'static str,
        refusal: &'static str,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            place: Cow::Borrowed(place),
            offenders: Cow::Borrowed(offenders),
            refusal: Cow::Borrowed(refusal),
        }
    }

    /// What is said when these offend.
    pub fn message(&self, offenders: &str) -> String {
        format!("{}{offenders} {}", self.place, self.refusal)
    }

    fn variable(&self) -> String {
        self.name.replace('-', "_")
    }

    fn validation(&self) -> Value {
        let found = format!("variables.{}", self.variable());
        json!({
            "expression": format!("{found}.size() == 0"),
            "messageExpression": format!(
                "{} + {found}.join(', ') + {}",
                quoted(&self.place),
                quoted(&format!(" {}", self.refusal))
            ),
            // Said when a name would break the line.
            "message": self.message("NAME"),
            "reason": "Invalid",
        })
    }
}

/// Parts of the object that are looked at more than once; later ones may use earlier ones.
const PARTS: &[(&str, &str)] = &[
    ("annotations", "object.metadata.?annotations.orValue({})"),
    ("parameters", "object.spec.?postgresql.?parameters.orValue({})"),
    ("rules", "object.spec.?postgresql.?pg_hba.orValue([])"),
    ("maps", "object.spec.?postgresql.?pg_ident.orValue([])"),
    ("bootstrap", "object.spec.?bootstrap.orValue({})"),
    ("initdb", "variables.bootstrap.?initdb.orValue({})"),
    ("recovery", "variables.bootstrap.?recovery.orValue({})"),
    ("replica", "object.spec.?replica.orValue({})"),
    ("external", "object.spec.?externalClusters.orValue([])"),
    ("external_names", "variables.external.map(one, one.name)"),
    ("tablespaces", "object.spec.?tablespaces.orValue([])"),
    ("tablespaces_before", "oldObject == null ? [] : oldObject.spec.?tablespaces.orValue([])"),
    ("roles", "object.spec.?managed.?roles.orValue([])"),
    (
        "services",
        "object.spec.?managed.?services.?additional.orValue([])\
         .map(one, one.serviceTemplate.?metadata.?name.orValue(''))",
    ),
    ("certificates", "object.spec.?certificates.orValue({})"),
    (
        "archivers",
        "object.spec.?plugins.orValue([]).filter(one, one.enabled && one.isWALArchiver)\
         .map(one, one.name)",
    ),
];

/// When a request is looked at.
const CONDITIONS: &[(&str, &str)] = &[
    ("stays", "!has(object.metadata.deletionTimestamp)"),
    (
        "changes",
        "oldObject == null || object.spec != oldObject.spec || \
         object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({})",
    ),
    // Who knows better says so; the operator then reports what it cannot do.
    (
        "is-not-waved-through",
        "object.metadata.?annotations[?'cnpg.io/validation'].orValue('') != 'disabled'",
    ),
];

/// Everything that the policy refuses.
pub fn checks() -> Vec<Check> {
    let made = [parameters::checks(), access::checks(), initdb::checks(), annotations::checks()];
    made.concat().into_iter().chain(cluster::CHECKS.iter().cloned()).collect()
}

/// The policy, and the binding that puts it into effect everywhere.
pub fn objects() -> [Value; 2] {
    [policy(), binding()]
}

fn policy() -> Value {
    let checks = checks();
    let named = |(name, expression): &(&str, &str)| json!({"name": name, "expression": expression});
    let found =
        checks.iter().map(|check| json!({"name": check.variable(), "expression": check.offenders}));
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [{
                    "apiGroups": [GROUP],
                    "apiVersions": [VERSION],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["clusters"],
                }],
            },
            "matchConditions": CONDITIONS.iter().map(named).collect::<Vec<_>>(),
            "variables": PARTS.iter().map(named).chain(found).collect::<Vec<_>>(),
            "validations": checks.iter().map(Check::validation).collect::<Vec<_>>(),
        },
    })
}

fn binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    })
}

/// As a text of the expression language, which knows JSON's escapes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// As a list of texts.
fn list(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}
