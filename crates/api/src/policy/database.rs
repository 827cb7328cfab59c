//! Refuses parts of a `Database` that are there twice: which one counts would be left to chance.
//!
//! Never depends on the database.

use super::{Check, Effect, GROUP, Policy, VERSION};

pub(super) fn policy() -> Policy {
    Policy {
        group: GROUP,
        version: VERSION,
        kind: "Database",
        plural: "databases",
        effect: Effect::Refused,
        parts: PARTS,
        checks: CHECKS.to_vec(),
    }
}

const PARTS: &[(&str, &str)] =
    &[("foreign", "object.spec.?fdws.orValue([]) + object.spec.?servers.orValue([])")];

const CHECKS: &[Check] = &[
    Check::new(
        "database-extension-names-differ",
        "spec.extensions: ",
        "object.spec.?extensions.orValue([]).map(one, one.name).filter(name, object.spec.extensions.filter(other, other.name == name).size() > 1)",
        "have the same name: remove all but one",
    ),
    Check::new(
        "database-schema-names-differ",
        "spec.schemas: ",
        "object.spec.?schemas.orValue([]).map(one, one.name).filter(name, object.spec.schemas.filter(other, other.name == name).size() > 1)",
        "have the same name: remove all but one",
    ),
    Check::new(
        "database-wrapper-names-differ",
        "spec.fdws: ",
        "object.spec.?fdws.orValue([]).map(one, one.name).filter(name, object.spec.fdws.filter(other, other.name == name).size() > 1)",
        "have the same name: remove all but one",
    ),
    Check::new(
        "database-server-names-differ",
        "spec.servers: ",
        "object.spec.?servers.orValue([]).map(one, one.name).filter(name, object.spec.servers.filter(other, other.name == name).size() > 1)",
        "have the same name: remove all but one",
    ),
    Check::new(
        "database-foreign-options-differ",
        "spec.fdws or servers: ",
        "variables.foreign.filter(one, one.?options.orValue([]).exists(inner, one.options.filter(other, other.name == inner.name).size() > 1)).map(one, one.name)",
        "has an option twice: remove one of the two",
    ),
    Check::new(
        "database-foreign-users-differ",
        "spec.fdws or servers: ",
        "variables.foreign.filter(one, one.?usage.orValue([]).exists(inner, one.usage.filter(other, other.name == inner.name).size() > 1)).map(one, one.name)",
        "has a role in usage twice: remove one of the two",
    ),
];
