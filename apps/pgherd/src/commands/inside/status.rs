//! `pgherd inside status`: what the agent of this pod says of itself, as one line of JSON.
//!
//! Never asks another agent than the one beside it.

use super::super::output::say;
use anyhow::Context;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::identity::Identity;
use pgherd_api::agent::names;
use pgherd_kubernetes::pod::AGENT_PORT;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// It answers from memory; one that takes longer is frozen or starved.
const PATIENCE: Duration = Duration::from_secs(2);

/// Print what the agent of this pod says of itself
#[derive(clap::Args)]
pub(super) struct Status {}

pub(super) async fn tell(identity: &Path) -> anyhow::Result<()> {
    let files = IdentityFiles::in_folder(&identity.join("tls"));
    let identity = Identity::open(files).context("reading the agent's certificate")?;
    let address = SocketAddr::new(own_address(), AGENT_PORT);
    let endpoint = Endpoint::Certified { holder: identity.holder(), address };
    let client = Client::certified(Arc::new(identity));
    let status: pgherd_api::agent::Status =
        client.call(&endpoint, names::STATUS, &(), PATIENCE).await.context("asking the agent")?;
    say(&serde_json::to_string(&status)?);
    Ok(())
}

/// The pod's own: an agent listens at addresses of the same kind.
fn own_address() -> IpAddr {
    let given = std::env::var("POD_IP").ok().and_then(|given| given.parse().ok());
    given.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
