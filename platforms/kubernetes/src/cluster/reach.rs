//! Reaches the agents of a cluster for whoever looks after something else that is the cluster's.
//!
//! Never makes anything: what the agents need has been made, or they cannot be reached yet.

use super::manifests::Blueprint;
use super::observe::{self, Seen};
use super::{acted, calls, origin, wanted};
use crate::run::Context;
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{CallError, Client};
use pgherd_agent::http::refusal::Refusal;
use pgherd_api::agent::{Status, names};
use pgherd_api::cluster::annotations::Hibernation;
use pgherd_api::cluster::{Checked, Cluster};
use pgherd_core::names::InstanceName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::debug;

const WITHIN: Duration = Duration::from_secs(2);

/// A cluster whose manifest can be carried out.
pub(crate) struct Reach {
    pub(crate) checked: Checked,
    belonging: BTreeSet<InstanceName>,
    seen: Seen,
    client: Option<Client>,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Said<T> {
    Answered(T),
    Refused(Refusal),
    /// Nobody knows whether it was heard.
    Silent,
}

/// None: the manifest is refused, or nobody can read the record.
pub(crate) fn reach(context: &Context, cluster: &Cluster) -> Option<Reach> {
    let cluster = &*origin::ignored(cluster);
    let (checked, _warnings) = cluster.checked().and_then(acted::refuse).ok()?;
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let settings = &context.settings;
    let (seen, belonging, client) = {
        // Nothing is made from it, so that it does not matter which image it names.
        let (catalog_image, held_image, checked) = (None, None, &checked);
        let blueprint =
            Blueprint { cluster, checked, namespace, settings, catalog_image, held_image };
        let seen = observe::observe(&context.stores, &blueprint).ok()?;
        let now = SystemTime::now();
        let wanted = wanted::wanted(&blueprint, &seen, now);
        let client = calls::client(&blueprint, (&seen, &wanted), now)
            .inspect_err(|error| debug!(error = %chain(error), "agents cannot be reached"));
        (seen, wanted.wishes.belonging(), client.ok())
    };
    Some(Reach { checked, belonging, seen, client })
}

impl Reach {
    pub(crate) fn is_asleep(&self) -> bool {
        self.checked.annotations.hibernation == Hibernation::Asleep
    }

    pub(crate) fn belongs(&self, instance: &InstanceName) -> bool {
        self.belonging.contains(instance)
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &InstanceName> {
        self.belonging.iter()
    }

    pub(crate) fn pod(&self, instance: &InstanceName) -> Option<&Arc<Pod>> {
        self.seen.pods.get(instance)
    }

    /// What all agents that answer say of themselves.
    pub(crate) async fn statuses(&self) -> BTreeMap<InstanceName, Status> {
        let asked = self.belonging.iter().map(|name| async move {
            let said = self.ask::<_, Status>((name, names::STATUS), &(), WITHIN).await;
            match said {
                Said::Answered(status) => Some((name.clone(), status)),
                Said::Refused(_) | Said::Silent => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    pub(crate) async fn ask<Question: Serialize + Sync, Answer: DeserializeOwned>(
        &self,
        (instance, route): (&InstanceName, &str),
        question: &Question,
        within: Duration,
    ) -> Said<Answer> {
        let endpoint = calls::endpoint(&self.seen, instance);
        let (Some(client), Some(endpoint)) = (&self.client, endpoint) else { return Said::Silent };
        match client.call(&endpoint, route, question, within).await {
            Ok(answer) => Said::Answered(answer),
            Err(CallError::Refused { source, .. }) => Said::Refused(source),
            Err(error) => {
                debug!(%instance, route, error = %chain(&error), "it says nothing");
                Said::Silent
            }
        }
    }
}
