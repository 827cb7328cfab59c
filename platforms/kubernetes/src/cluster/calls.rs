//! Reaches the agents of a cluster as its operator.
//!
//! Never without certificates on both sides.

use super::certificates::CertificateError;
use super::manifests::Blueprint;
use super::observe::Seen;
use super::realise;
use super::wanted::Wanted;
use crate::pod::AGENT_PORT;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_agent::tls::holder::Holder;
use pgherd_agent::tls::identity::{Identity, IdentityError};
use pgherd_core::names::InstanceName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Debug, thiserror::Error)]
pub(super) enum CallerError {
    #[error("making the identity to call agents with")]
    Certify(#[source] CertificateError),
    #[error("the authority of the agents is not made yet")]
    Await,
    #[error("using the identity to call agents with")]
    Identify(#[source] IdentityError),
}

/// Where an instance's agent is, if its pod has an address.
pub(super) fn endpoint(seen: &Seen, instance: &InstanceName) -> Option<Endpoint> {
    let address = seen.pods.get(instance)?.status.as_ref()?.pod_ip.as_ref()?;
    let address: IpAddr = address.parse().ok()?;
    let holder = Holder::Instance(instance.clone());
    Some(Endpoint::Certified { holder, address: SocketAddr::new(address, AGENT_PORT) })
}

pub(super) fn client(
    blueprint: &Blueprint<'_>,
    known: (&Seen, &Wanted),
    now: SystemTime,
) -> Result<Client, CallerError> {
    let parts = realise::operator_identity(blueprint, known, now).map_err(CallerError::Certify)?;
    let identity =
        Identity::of(&parts.ok_or(CallerError::Await)?).map_err(CallerError::Identify)?;
    Ok(Client::certified(Arc::new(identity)))
}
