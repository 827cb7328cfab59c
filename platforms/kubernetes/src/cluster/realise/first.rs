//! Asks the first instance why the cluster is not made yet: nobody else can tell.
//!
//! Never asks once there is a record, and never takes silence for a failure.

use super::super::calls::{self, CallerError};
use super::super::manifests::Blueprint;
use super::super::observe::Seen;
use super::super::wanted::Wanted;
use super::RealiseError;
use pgherd_agent::chain::chain;
use pgherd_api::agent::{Status, names};
use pgherd_core::fleet::{Plan, Verdict};
use std::time::{Duration, SystemTime};
use tracing::debug;

const WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn look(
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    now: SystemTime,
) -> Result<(), RealiseError> {
    let Verdict::SettingUp { first } = &plan.verdict else { return Ok(()) };
    let Some(endpoint) = calls::endpoint(seen, first) else { return Ok(()) };
    let client = match calls::client(blueprint, (seen, wanted), now) {
        Ok(client) => client,
        Err(CallerError::Certify(error)) => return Err(RealiseError::Certify(error)),
        Err(error @ (CallerError::Await | CallerError::Identify(_))) => {
            debug!(error = %chain(&error), "the first instance is not asked");
            return Ok(());
        }
    };
    match client.call::<_, Status>(&endpoint, names::STATUS, &(), WITHIN).await {
        Ok(Status { failure: Some(failure), .. }) => {
            Err(RealiseError::First { instance: first.clone(), why: failure.why })
        }
        Ok(_) => Ok(()),
        // It is not up yet, or too busy to say.
        Err(error) => {
            debug!(instance = %first, error = %chain(&error), "the first instance says nothing");
            Ok(())
        }
    }
}
