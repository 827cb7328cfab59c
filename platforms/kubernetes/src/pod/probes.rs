//! Answers the kubelet: whether this agent lives, and whether its PostgreSQL can be used.
//!
//! Never asks the API server or a peer: nothing far away makes this pod unhealthy.

use pgherd_agent::chain::chain;
use pgherd_agent::http::refusal::{Kind, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::{Bounds, Server};
use pgherd_agent::platform::Lent;
use pgherd_agent::process::clock;
use pgherd_agent::process::fence::Fence;
use pgherd_agent::wake::{Wake, Waker};
use pgherd_api::agent::Role;
use pgherd_core::seen::Gate;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::error;

/// A fencing thread that has not looked at its deadline for this long stands still.
const STILL: Duration = Duration::from_secs(3);
/// Less than the time that the kubelet usually gives an answer.
const FIRST_WITHIN: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Answers on `address` for as long as it is polled.
pub(super) fn answer(address: SocketAddr, lent: &Lent) -> impl Future<Output = ()> + Send + use<> {
    let (identity, fence) = (Arc::clone(&lent.identity), Arc::clone(&lent.fence));
    let waker = lent.waker.clone();
    async move {
        match Server::open(address, identity, Bounds::default()).await {
            Ok(server) => server.serve(routes(&fence, &waker), std::future::pending()).await,
            // The kubelet's probes fail, and it starts the container anew.
            Err(error) => error!(error = %chain(&error), "probes are not answered"),
        }
    }
}

fn routes(fence: &Arc<Fence>, waker: &Waker) -> Routes {
    let fence = Arc::clone(fence);
    let (startup, readiness) = (waker.clone(), waker.clone());
    let was_ready = Arc::new(AtomicBool::new(false));
    Routes::default()
        .probe("/healthz", move || std::future::ready(lives(&fence)))
        .probe("/startupz", move || started(startup.clone()))
        .probe("/readyz", move || first_ready(readiness.clone(), Arc::clone(&was_ready)))
}

/// An agent whose fencing thread ticks keeps its promises, whatever else is wrong.
fn lives(fence: &Fence) -> Result<(), Refusal> {
    let still = clock::now().since(fence.ticked_at());
    if still < STILL {
        return Ok(());
    }
    Err(not_now(format!("the fencing thread has stood still for {still:?}")))
}

/// The loop turns. How long it then takes until PostgreSQL is up depends on its data, and killing
/// it would not make it faster.
async fn started(waker: Waker) -> Result<(), Refusal> {
    waker.ask(|answer| Wake::StatusAsked { answer }).await.map(drop)
}

/// Until it has been ready once, the answer waits for that: so it comes at once, and the kubelet has
/// no failure to tell of every two seconds.
async fn first_ready(waker: Waker, was_ready: Arc<AtomicBool>) -> Result<(), Refusal> {
    let asked = clock::now();
    loop {
        let answer = ready(waker.clone()).await;
        let waits = !was_ready.load(Ordering::Relaxed) && clock::now().since(asked) < FIRST_WITHIN;
        if answer.is_ok() {
            was_ready.store(true, Ordering::Relaxed);
        } else if waits {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        return answer;
    }
}

async fn ready(waker: Waker) -> Result<(), Refusal> {
    let status = waker.ask(|answer| Wake::StatusAsked { answer }).await?;
    match status.role {
        Role::Primary if status.server.gate == Some(Gate::Closed) => {
            Err(not_now(format!("PostgreSQL lets no client in yet: {}", status.verdict.reason)))
        }
        Role::Primary | Role::Standby => Ok(()),
        Role::Unknown | Role::Absent | Role::Stopped | Role::Starting => {
            Err(not_now(format!("PostgreSQL is not up: {:?}", status.role)))
        }
    }
}

fn not_now(why: String) -> Refusal {
    Refusal::new(Kind::Unavailable, why)
}
