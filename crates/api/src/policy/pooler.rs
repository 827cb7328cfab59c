//! Refuses settings of PgBouncer that are not for users.
//!
//! Never judges a value: PgBouncer does.

use super::{Check, Effect, GROUP, Policy, VERSION, list};
use crate::pooler::parameters::FOR_USERS;

pub(super) fn policy() -> Policy {
    let check = Check {
        name: "pooler-parameter-is-for-users".into(),
        place: "spec.pgbouncer.parameters.".into(),
        offenders: format!(
            "object.spec.pgbouncer.?parameters.orValue({{}}).filter(name, !(name in {}))",
            list(&FOR_USERS)
        )
        .into(),
        refusal: "is set by the pooler itself, or PgBouncer does not know it: remove it".into(),
    };
    Policy {
        group: GROUP,
        version: VERSION,
        kind: "Pooler",
        plural: "poolers",
        effect: Effect::Refused,
        parts: &[],
        checks: vec![check],
    }
}
