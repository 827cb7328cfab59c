//! Finds work in agents whose object was deleted while no operator watched, and breaks it off.
//!
//! Never touches work that a person asked for, or that of an object which may exist: it breaks off only what
//! the API server itself says to be gone.

use super::Work;
use super::deleted::{ATTEMPTS, PAUSE, WITHIN};
use crate::cluster::reach::{self, Reach, Said};
use crate::run::Context;
use futures_util::stream::{self, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use pgherd_agent::chain::chain;
use pgherd_api::agent::AskedBy;
use pgherd_api::cluster::Cluster;
use pgherd_core::names::InstanceName;
use std::sync::Arc;
use tracing::{debug, info, warn};

/// Clusters that are looked into at the same moment.
const AT_ONCE: usize = 8;

/// What is known of the work in a cluster's agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    All,
    /// Somebody was silent: an agent, or the API server.
    NotAll,
}

/// Looks into all clusters, and again into those that were not heard out. Who stays silent is left to
/// end its work.
pub(super) async fn break_off<E: Work>(context: &Context) {
    let are_known = async {
        context.stores.ready().await?;
        context.clusters.wait_until_ready().await
    };
    if are_known.await.is_err() {
        return;
    }
    let mut doubtful = context.clusters.state();
    for _ in 0..ATTEMPTS {
        let looked = stream::iter(doubtful).map(|cluster| async move {
            let known = look::<E>(context, &cluster).await;
            (known == Known::NotAll).then_some(cluster)
        });
        let looked: Vec<Option<Arc<Cluster>>> = looked.buffer_unordered(AT_ONCE).collect().await;
        doubtful = looked.into_iter().flatten().collect();
        if doubtful.is_empty() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    for cluster in doubtful {
        let name = cluster.metadata.name.as_deref();
        let kind = E::KIND;
        debug!(kind, name, "not all agents say what they do: that is done to its end");
    }
}

async fn look<E: Work>(context: &Context, cluster: &Cluster) -> Known {
    // Without a manifest that can be read nobody's agents are known.
    let Some(reach) = reach::reach(context, cluster) else { return Known::All };
    let statuses = reach.statuses().await;
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let is_silent = |name: &InstanceName| reach.pod(name).is_some() && !statuses.contains_key(name);
    let mut known = if reach.instances().any(is_silent) { Known::NotAll } else { Known::All };
    for (instance, status) in &statuses {
        let Some((asked_by, session)) = E::running(status) else { continue };
        let found = find::<E>(context, (namespace, asked_by.name.as_str())).await;
        let ended = match found {
            Ok(found) if !is_gone(asked_by, found.as_ref().map(E::meta)) => continue,
            Ok(_) => cancel::<E>(&reach, instance, session).await,
            Err(()) => Known::NotAll,
        };
        if ended == Known::NotAll {
            known = Known::NotAll;
        }
    }
    known
}

/// Whether the object that asked is not the one that is there, if any is.
fn is_gone(asked_by: &AskedBy, found: Option<&ObjectMeta>) -> bool {
    found.is_none_or(|found| found.uid.as_deref() != Some(&asked_by.uid))
}

/// As the API server has it now: what watches know may be older.
async fn find<E: Work>(
    context: &Context,
    (namespace, name): (&str, &str),
) -> Result<Option<E>, ()> {
    let all: Api<E> = Api::namespaced(context.client.clone(), namespace);
    match tokio::time::timeout(WITHIN, all.get_opt(name)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            debug!(namespace, name, error = %chain(&error), "whether it exists is not known");
            Err(())
        }
        Err(_late) => Err(()),
    }
}

async fn cancel<E: Work>(reach: &Reach, instance: &InstanceName, session: &str) -> Known {
    let asked = E::named(session.to_owned());
    let said: Said<Option<E::Report>> = reach.ask((instance, E::CANCEL), &asked, WITHIN).await;
    let kind = E::KIND;
    match said {
        Said::Answered(_) => {
            info!(kind, session, %instance, "its object was deleted unseen: it is broken off");
            Known::All
        }
        Said::Refused(refusal) => {
            warn!(kind, session, %instance, why = refusal.why, "it is done to its end");
            Known::All
        }
        Said::Silent => Known::NotAll,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errand::asked_by;
    use pgherd_api::agent::Status;
    use pgherd_api::backup::Backup;
    use pgherd_api::dump::Dump;
    use serde_json::{Value, json};

    #[test]
    fn only_the_very_object_that_asked_keeps_its_work() {
        let of = |uid: &str| ObjectMeta {
            name: Some("nightly".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        let asked_by = asked_by(&of("1"));
        assert!(!is_gone(&asked_by, Some(&of("1"))));
        assert!(is_gone(&asked_by, Some(&of("2"))));
        assert!(is_gone(&asked_by, None));
        assert!(is_gone(&asked_by, Some(&ObjectMeta::default())));
    }

    fn status(backup: &Value, dump: &Value) -> Status {
        let at = "2027-01-15T08:00:00Z";
        let verdict = json!({"state": "serving", "reason": "", "because": null, "since": at});
        serde_json::from_value(json!({
            "cluster": "db", "me": {"instance": "db-1", "volume": 1, "incarnation": 1},
            "at": at, "started": at, "pid": 1, "version": "0.1.0", "role": "primary",
            "verdict": verdict, "known": {"epoch": 1, "promise": 1}, "server": {},
            "specification": 1, "switchoverDone": 0, "restartDone": 0, "configurationDone": 1,
            "happenings": [], "backup": backup, "dump": dump,
        }))
        .unwrap()
    }

    #[test]
    fn what_a_person_asked_for_and_what_is_over_is_no_objects_work() {
        let at = "2026-11-22T11:22:33Z";
        let backup = |phase: &str, asked_by: &Value| {
            let report = json!({
                "name": "nightly.4f3a21bc", "askedBy": asked_by, "id": null, "instance": "db-1",
                "destination": "s3://b", "server": "db", "phase": phase, "since": at, "ordered": at,
                "done": 0, "total": 0, "stored": 0,
            });
            let status = status(&report, &Value::Null);
            Backup::running(&status)
                .map(|(by, session)| format!("{} {} {session}", by.name, by.uid))
        };
        let by = json!({"name": "nightly", "uid": "4f3a21bc-1"});
        let running = Some("nightly 4f3a21bc-1 nightly.4f3a21bc".to_owned());
        assert_eq!(backup("copy", &by), running);
        assert_eq!(backup("wal", &by), running);
        assert_eq!(backup("completed", &by), None);
        assert_eq!(backup("copy", &Value::Null), None);
        let dump = |work: &str, phase: &str, asked_by: &Value| {
            let report = json!({
                "name": "nightly.4f3a21bc", "askedBy": asked_by, "work": work, "id": null,
                "instance": "db-1", "phase": phase, "since": at, "ordered": at, "ended": null,
                "database": null, "databasesDone": 0, "databases": 1, "moved": 0, "total": null,
                "snapshotSeconds": 0, "snapshotTransactions": 0, "failure": null,
            });
            Dump::running(&status(&Value::Null, &report)).is_some()
        };
        assert!(dump("dump", "copy", &by));
        assert!(!dump("dump", "cancelled", &by));
        assert!(!dump("restore", "copy", &Value::Null));
    }
}
