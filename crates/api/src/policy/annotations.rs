//! Refuses switches in annotations that nobody would understand.
//!
//! Never looks at annotations of others.

use super::Check;
use crate::backup::rate::BACKUP_RATE;
use crate::cluster::annotations::{
    FENCED_INSTANCES, HIBERNATION, MAX_LAG, REPOSITORY_KEY, SOURCE_REPOSITORY_KEY, STREAM,
};

/// Not what a Secret and its entry are called.
const KEY: &str = "!value.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/[-._a-zA-Z0-9]{1,253}$')";
const PLACE: &str = "metadata.annotations: ";

pub(super) fn checks() -> Vec<Check> {
    let item = r#""(\\*|' + object.metadata.name + '-[1-9][0-9]*)""#;
    let list = format!(
        "!value.matches('^\\\\s*([*]|\\\\[\\\\s*({item}(\\\\s*,\\\\s*{item})*)?\\\\s*\\\\])\\\\s*$')"
    );
    vec![
        of(
            HIBERNATION,
            "cluster-hibernates-or-not",
            "!(value in ['on', 'off'])",
            "is neither on nor off: write one of them",
        ),
        of(
            FENCED_INSTANCES,
            "cluster-fences-its-instances",
            &list,
            r#"is not a list of this cluster's instances: write ["NAME-1"] with the cluster's name, or ["*"] for all"#,
        ),
        of(
            MAX_LAG,
            "cluster-greatest-lag-is-a-quantity",
            "(!isQuantity(value) || quantity(value).isLessThan(quantity('0')))",
            "is not a quantity: write a number and a unit, such as 16Mi",
        ),
        of(
            STREAM,
            "cluster-streams-its-log-in-time",
            "!value.matches('^(off|0[.][2-9][0-9]{0,2}|[1-9]([.][0-9]{1,3})?|10([.]0{1,3})?)$')",
            "is neither off nor seconds from 0.2 to 10: write one of them, such as 1",
        ),
        of(
            BACKUP_RATE,
            "cluster-backups-read-at-a-rate",
            "value != 'off' && (!isQuantity(value) || quantity(value).isLessThan(quantity('1Mi')))",
            "is neither off nor how much is read in a second, 1Mi at least: write one of them, such as 50Mi",
        ),
        of(
            REPOSITORY_KEY,
            "cluster-repository-key-is-in-a-secret",
            KEY,
            "does not name an entry of a Secret: write SECRET/KEY, such as store/repository.key",
        ),
        of(
            SOURCE_REPOSITORY_KEY,
            "cluster-source-repository-key-is-in-a-secret",
            KEY,
            "does not name an entry of a Secret: write SECRET/KEY, such as store/repository.key",
        ),
    ]
}

/// What offends is said of the `value` of one annotation.
fn of(annotation: &str, name: &'static str, offends: &str, refusal: &'static str) -> Check {
    let offends = offends.replace("value", "variables.annotations[name]");
    Check {
        name: name.into(),
        place: PLACE.into(),
        offenders: format!(
            "['{annotation}'].filter(name, name in variables.annotations && {offends})"
        )
        .into(),
        refusal: refusal.into(),
    }
}
