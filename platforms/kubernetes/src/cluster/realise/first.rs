//! Asks the first instance why the cluster is not made yet: nobody else can tell.
//!
//! Never asks once there is a record, and never takes silence for a failure.

use super::super::manifests::Blueprint;
use super::super::observe::Seen;
use super::super::wanted::Wanted;
use super::{RealiseError, operator_identity};
use crate::pod::AGENT_PORT;
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_agent::tls::holder::Holder;
use pgherd_agent::tls::identity::Identity;
use pgherd_api::agent::{Status, names};
use pgherd_core::fleet::{Plan, Verdict};
use pgherd_core::names::InstanceName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::debug;

const WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn look(
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    now: SystemTime,
) -> Result<(), RealiseError> {
    let Verdict::SettingUp { first } = &plan.verdict else { return Ok(()) };
    let Some(endpoint) = endpoint(seen, first) else { return Ok(()) };
    let identity = operator_identity(blueprint, (seen, wanted), now);
    let Some(parts) = identity.map_err(RealiseError::Certify)? else { return Ok(()) };
    let client = match Identity::of(&parts) {
        Ok(identity) => Client::certified(Arc::new(identity)),
        Err(error) => {
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

fn endpoint(seen: &Seen, instance: &InstanceName) -> Option<Endpoint> {
    let address = seen.pods.get(instance)?.status.as_ref()?.pod_ip.as_ref()?;
    let address: IpAddr = address.parse().ok()?;
    let holder = Holder::Instance(instance.clone());
    Some(Endpoint::Certified { holder, address: SocketAddr::new(address, AGENT_PORT) })
}
