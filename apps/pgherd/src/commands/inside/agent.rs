//! Reaches the agent beside this process, as one agent of the cluster reaches another.
//!
//! Never another one than that of this pod.

use anyhow::Context;
use pgherd_agent::http::client::{Client, Endpoint};
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::identity::Identity;
use pgherd_kubernetes::pod::AGENT_PORT;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn ask<Question: Serialize + Sync, Answer: DeserializeOwned>(
    identity: &Path,
    (name, question): (&str, &Question),
    within: Duration,
) -> anyhow::Result<Answer> {
    let files = IdentityFiles::in_folder(&identity.join("tls"));
    let identity = Identity::open(files).context("reading the agent's certificate")?;
    let address = SocketAddr::new(own_address(), AGENT_PORT);
    let endpoint = Endpoint::Certified { holder: identity.holder(), address };
    let client = Client::certified(Arc::new(identity));
    client.call(&endpoint, name, question, within).await.context("asking the agent")
}

/// The pod's own: an agent listens at addresses of the same kind.
fn own_address() -> IpAddr {
    let given = std::env::var("POD_IP").ok().and_then(|given| given.parse().ok());
    given.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
