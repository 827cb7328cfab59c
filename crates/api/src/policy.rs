//! Makes the policies: what the API server refuses of objects that their schemas cannot say, or only
//! at too great a cost.
//!
//! Never judges what a change leaves as it was: who has lived with a mistake can still add a label,
//! and an object that is being deleted can go.

mod access;
mod annotations;
mod backup;
mod cluster;
mod database;
#[cfg(test)]
mod generated;
mod initdb;
mod parameters;
mod pooler;
mod recovery;
mod resources;
mod schedule;
mod slots;
mod warnings;

use crate::kind::{GROUP, VERSION};
use serde_json::{Value, json};
use std::borrow::Cow;

/// What is refused of one kind of object, or what its author is warned of.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The API group of what it is about.
    pub group: &'static str,
    /// The version of that group.
    pub version: &'static str,
    /// The kind that it is about.
    pub kind: &'static str,
    /// The kind's plural, which the policy is named after.
    pub plural: &'static str,
    /// What becomes of an object that offends.
    pub effect: Effect,
    /// Parts of the object that are looked at more than once; later ones may use earlier ones.
    parts: &'static [(&'static str, &'static str)],
    /// Everything that is looked for.
    pub checks: Vec<Check>,
}

/// What becomes of an object that offends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is refused.
    Refused,
    /// It is taken, and its author reads a warning.
    Warned,
}

/// Something that a policy refuses or warns of.
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

/// When a request is looked at.
const CONDITIONS: [(&str, &str); 2] = [
    ("stays", "!has(object.metadata.deletionTimestamp)"),
    (
        "changes",
        "oldObject == null || object.spec != oldObject.spec || \
         object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({})",
    ),
];

/// Who knows better says so; the operator then reports what it cannot do.
const NOT_WAVED_THROUGH: (&str, &str) = (
    "is-not-waved-through",
    "object.metadata.?annotations[?'cnpg.io/validation'].orValue('') != 'disabled'",
);

/// All policies.
pub fn policies() -> [Policy; 8] {
    [
        cluster::policy(),
        warnings::policy(),
        pooler::policy(),
        database::policy(),
        schedule::policy(&schedule::BACKUPS),
        schedule::warnings(&schedule::BACKUPS),
        schedule::policy(&schedule::DUMPS),
        schedule::warnings(&schedule::DUMPS),
    ]
}

/// The policies, each with the binding that puts it into effect everywhere.
pub fn objects() -> Vec<Value> {
    policies().iter().flat_map(Policy::objects).collect()
}

impl Policy {
    fn objects(&self) -> [Value; 2] {
        [self.policy(), self.binding()]
    }

    fn file(&self) -> String {
        match self.effect {
            Effect::Refused => self.plural.to_owned(),
            Effect::Warned => format!("{}-warned", self.plural),
        }
    }

    fn name(&self) -> String {
        format!("pgherd-{}", self.file())
    }

    fn policy(&self) -> Value {
        let named =
            |(name, expression): &(&str, &str)| json!({"name": name, "expression": expression});
        let heeds_waving = (self.effect == Effect::Refused).then_some(NOT_WAVED_THROUGH);
        let conditions: Vec<_> = CONDITIONS.iter().chain(&heeds_waving).map(named).collect();
        let found = self
            .checks
            .iter()
            .map(|check| json!({"name": check.variable(), "expression": check.offenders}));
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": self.name()},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [{
                        "apiGroups": [self.group],
                        "apiVersions": [self.version],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [self.plural],
                    }],
                },
                "matchConditions": conditions,
                "variables": self.parts.iter().map(named).chain(found).collect::<Vec<_>>(),
                "validations": self.checks.iter().map(Check::validation).collect::<Vec<_>>(),
            },
        })
    }

    fn action(&self) -> &'static str {
        match self.effect {
            Effect::Refused => "Deny",
            Effect::Warned => "Warn",
        }
    }

    fn binding(&self) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": self.name()},
            "spec": {"policyName": self.name(), "validationActions": [self.action()]},
        })
    }
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
