//! A target of a recovery in the words of whoever needs to hear of it.
//!
//! Never changes what is meant.

use pgherd_api::agent::{RecoverySpec, RecoveryTarget};
use pgherd_backup::restore::recovery::{Edge, Target};
use pgherd_core::backup::choice;
use pgherd_core::units::Moment;

/// For the choice of a backup.
pub(super) fn sought(spec: &RecoverySpec) -> choice::Target {
    match &spec.target {
        RecoveryTarget::Latest => choice::Target::Latest,
        RecoveryTarget::Immediate => choice::Target::Immediate,
        RecoveryTarget::Time(time) => choice::Target::Time(Moment(time.as_microsecond())),
        RecoveryTarget::Lsn(lsn) => choice::Target::Lsn(*lsn),
        RecoveryTarget::Transaction(_) | RecoveryTarget::Name(_) => {
            choice::Target::Sought(words(spec))
        }
    }
}

/// For PostgreSQL.
pub(super) fn replayed(spec: &RecoverySpec) -> Target {
    let edge = if spec.exclusive { Edge::Exclusive } else { Edge::Inclusive };
    match &spec.target {
        RecoveryTarget::Latest => Target::Latest,
        RecoveryTarget::Immediate => Target::Immediate,
        RecoveryTarget::Time(time) => Target::Time(Moment(time.as_microsecond()), edge),
        RecoveryTarget::Lsn(lsn) => Target::Lsn(*lsn, edge),
        RecoveryTarget::Transaction(id) => Target::Transaction(*id, edge),
        RecoveryTarget::Name(name) => Target::Name(name.clone()),
    }
}

/// For people.
pub fn words(spec: &RecoverySpec) -> String {
    let target = match &spec.target {
        RecoveryTarget::Latest => return "the end of the log".to_owned(),
        RecoveryTarget::Immediate => return "the end of the backup".to_owned(),
        RecoveryTarget::Time(time) => time.to_string(),
        RecoveryTarget::Lsn(lsn) => lsn.to_string(),
        RecoveryTarget::Transaction(id) => format!("transaction {id}"),
        RecoveryTarget::Name(name) => return format!("restore point {name:?}"),
    };
    if spec.exclusive { format!("just before {target}") } else { target }
}
