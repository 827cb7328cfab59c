//! Makes the folder of a cluster that a restore or a clone makes, and removes what was made in vain.
//!
//! Never touches a cluster that was there before.

use super::super::destroy;
use super::super::output::remark;
use super::super::up;
use pgherd_local::account::Account;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::prepare::{self, Claim, PrepareError};
use std::time::Duration;

pub(in super::super) fn refuse_existing(new: &ClusterFolder) -> Result<(), Failure> {
    let owner = prepare::owner(new).map_err(|error| Failure::from_error(Kind::Refused, &error))?;
    match owner {
        None => Ok(()),
        Some(_) => {
            Err(taken(new).because("a new cluster is made, and every other one is left alone"))
        }
    }
}

/// Of two who want the name one gets it.
pub(in super::super) fn claim(new: &ClusterFolder) -> Result<Account, Failure> {
    prepare::claim(new, Claim::New).map_err(|error| match error {
        PrepareError::Taken { .. } => taken(new).because(error.to_string()),
        error => up::told(&error),
    })
}

fn taken(new: &ClusterFolder) -> Failure {
    Failure::new(Kind::Refused, format!("cluster {} exists", new.name())).fix("choose another name")
}

/// Who interrupts it before anything was asked for has nothing that goes on.
pub(in super::super) fn unasked(failure: Failure) -> Failure {
    if failure.kind != Kind::Interrupted {
        return failure;
    }
    Failure::new(Kind::Interrupted, "interrupted before anything was asked for")
}

/// What was made in vain is removed; what was asked for and only takes longer goes on.
pub(in super::super) fn cleared(
    (new, owner): (&ClusterFolder, &Account),
    patience: Duration,
    failure: Failure,
) -> Failure {
    let name = new.name();
    let is_asked = new.manifest().exists();
    if is_asked && matches!(failure.kind, Kind::TimedOut | Kind::Interrupted) {
        return failure.fix(format!(
            "it goes on: pgherd local status --name {name}; pgherd local destroy --name {name} ends it"
        ));
    }
    let failure = unasked(failure);
    match destroy::destroy(new, owner, patience) {
        Ok(()) => failure,
        Err(left) => {
            remark(&format!("warning: what was made is still there: {left}"));
            failure.fix(format!("pgherd local destroy --name {name}"))
        }
    }
}
