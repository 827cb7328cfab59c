//! Breaks off the work of objects that are deleted while an agent does it.
//!
//! Never touches what is in the repository: what is completed stays there.

use super::{Work, unseen};
use crate::cluster::reach::{self, Said};
use crate::run::Context;
use crate::stores::Gone;
use kube::runtime::reflector::ObjectRef;
use pgherd_core::names::InstanceName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// An agent that is silent is asked again; after that it is left to end its work.
pub(super) const ATTEMPTS: u32 = 6;
pub(super) const PAUSE: Duration = Duration::from_secs(5);
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// One after the other, until nobody tells of deleted ones any more.
pub(crate) async fn break_off<E: Work>(
    mut deleted: mpsc::Receiver<Gone<E>>,
    context: Arc<Context>,
) {
    while let Some(gone) = deleted.recv().await {
        match gone {
            Gone::Deleted(errand) => {
                if let Some((instance, session)) = work(&*errand) {
                    cancel(&context, &*errand, (&instance, session)).await;
                }
            }
            Gone::Unseen => unseen::break_off::<E>(&context).await,
        }
    }
}

/// Who does it, and under which name; none if nobody does.
fn work<E: Work>(errand: &E) -> Option<(InstanceName, String)> {
    let going = errand.going();
    if going.is_over() {
        return None;
    }
    Some((going.taker()?, going.session()?.to_owned()))
}

async fn cancel<E: Work>(
    context: &Context,
    errand: &E,
    (instance, session): (&InstanceName, String),
) {
    let kind = E::KIND;
    let namespace = errand.meta().namespace.as_deref().unwrap_or_default();
    let name = errand.meta().name.as_deref().unwrap_or_default();
    let named = ObjectRef::new(errand.cluster()).within(namespace);
    let asked = E::named(session);
    for _ in 0..ATTEMPTS {
        // A cluster that is gone takes its agents with it.
        let Some(cluster) = context.clusters.get(&named) else { return };
        let Some(reach) = reach::reach(context, &cluster) else { return };
        let said: Said<Option<E::Report>> = reach.ask((instance, E::CANCEL), &asked, WITHIN).await;
        match said {
            Said::Answered(_) => {
                info!(kind, namespace, name, %instance, "it is deleted, and so broken off");
                return;
            }
            Said::Refused(refusal) => {
                warn!(kind, namespace, name, why = refusal.why, "it is done to its end");
                return;
            }
            Said::Silent => tokio::time::sleep(PAUSE).await,
        }
    }
    warn!(kind, namespace, name, %instance, "its agent is silent: it is done to its end");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::backup;
    use serde_json::json;

    #[test]
    fn only_what_an_agent_does_is_broken_off() {
        let of = |status: serde_json::Value| {
            let mut backup = backup("nightly", 1);
            backup.status = serde_json::from_value(status).unwrap();
            work(&backup).map(|(instance, session)| format!("{instance} {session}"))
        };
        let taker = json!({"podName": "db-2", "sessionID": "nightly.4f3a21bc"});
        let running = json!({"phase": "running", "instanceID": taker});
        assert_eq!(of(running).as_deref(), Some("db-2 nightly.4f3a21bc"));
        assert_eq!(of(json!({"phase": "completed", "instanceID": taker})), None);
        assert_eq!(of(json!({"phase": "pending"})), None);
        assert_eq!(work(&backup("new", 1)), None);
    }
}
