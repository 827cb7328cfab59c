//! Breaks off the work of Backup objects that are deleted while an agent takes them.
//!
//! Never touches what is in the repository: a backup that is completed stays there.

use super::status::{is_over, taker};
use crate::cluster::reach::{self, Said};
use crate::run::Context;
use kube::runtime::reflector::ObjectRef;
use pgherd_api::agent::{BackupNamed, BackupReport, names};
use pgherd_api::backup::Backup;
use pgherd_core::names::InstanceName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// An agent that is silent is asked again; after that it is left to end its work.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(5);

/// One after the other, until nobody tells of deleted ones any more.
pub(crate) async fn break_off(mut deleted: mpsc::Receiver<Backup>, context: Arc<Context>) {
    while let Some(backup) = deleted.recv().await {
        if let Some((instance, session)) = work(&backup) {
            cancel(&context, &backup, (&instance, session)).await;
        }
    }
}

/// Who takes it, and under which name; none if nobody does.
fn work(backup: &Backup) -> Option<(InstanceName, String)> {
    let status = backup.status.as_ref().filter(|status| !is_over(status))?;
    Some((taker(status)?, status.instance_id.as_ref()?.session_id.clone()?))
}

async fn cancel(context: &Context, backup: &Backup, (instance, session): (&InstanceName, String)) {
    let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    let named = ObjectRef::new(&backup.spec.cluster.name).within(namespace);
    let asked = BackupNamed { name: Some(session) };
    for _ in 0..ATTEMPTS {
        // A cluster that is gone takes its agents with it.
        let Some(cluster) = context.clusters.get(&named) else { return };
        let Some(reach) = reach::reach(context, &cluster) else { return };
        let said: Said<Option<BackupReport>> =
            reach.ask((instance, names::BACKUP_CANCEL), &asked, WITHIN).await;
        match said {
            Said::Answered(_) => {
                info!(namespace, backup = name, %instance, "it is deleted, and so broken off");
                return;
            }
            Said::Refused(refusal) => {
                warn!(namespace, backup = name, why = refusal.why, "it is taken to its end");
                return;
            }
            Said::Silent => tokio::time::sleep(PAUSE).await,
        }
    }
    warn!(namespace, backup = name, %instance, "its agent is silent: it is taken to its end");
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::backup;
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_an_agent_takes_is_broken_off() {
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
