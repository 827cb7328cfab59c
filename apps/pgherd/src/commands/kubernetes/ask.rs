//! Writes a request into the Cluster, exactly once, and tells what came of it.
//!
//! Never writes over what somebody else has changed meanwhile: it looks again first.

use super::form::{Form, tell};
use super::place::{Reached, refused, unread};
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::ask::{Asked, Refusal};
use pgherd_kubernetes::console::read::{self, ReadError};
use pgherd_local::failure::Failure;
use serde::Serialize;
use std::collections::BTreeSet;

/// How often it is looked again because the Cluster was changed meanwhile.
const ATTEMPTS: usize = 5;

/// What was asked for, and the cluster as it was just before.
pub(super) struct Written {
    pub(super) before: View,
    /// None: it is so already.
    pub(super) asked: Option<Asked>,
}

/// Writes what `ask` makes of the cluster as it is.
pub(super) async fn write(
    reached: &Reached,
    ask: impl Fn(&View) -> Result<Option<Asked>, Refusal>,
) -> Result<Written, Failure> {
    let mut attempts = 0;
    loop {
        let before = reached.look().await?;
        let Some(asked) = ask(&before).map_err(refused)? else {
            return Ok(Written { before, asked: None });
        };
        attempts += 1;
        match read::patch(&reached.client, &before, &asked.patch).await {
            Ok(()) => return Ok(Written { before, asked: Some(asked) }),
            Err(ReadError::Outrun) if attempts < ATTEMPTS => {}
            Err(error) => return Err(unread(&error)),
        }
    }
}

/// The instances that are called so.
pub(super) fn named(view: &View, given: &[String]) -> Result<BTreeSet<InstanceName>, Refusal> {
    given.iter().map(|given| view.find(given)).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    cluster: String,
    namespace: &'a str,
    done: &'a str,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// Those that were named; the whole cluster if none was.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    instances: BTreeSet<InstanceName>,
}

/// Says in kubectl's form what is different now.
pub(super) fn told(form: Form, written: &Written, words: (&str, &str)) -> Result<(), Failure> {
    told_of(form, written, BTreeSet::new(), words)
}

/// The same of these instances, if any are named.
pub(super) fn told_of(
    form: Form,
    written: &Written,
    instances: BTreeSet<InstanceName>,
    (changed, unchanged): (&str, &str),
) -> Result<(), Failure> {
    let Written { before, asked } = written;
    let done = if asked.is_some() { changed } else { unchanged };
    let cluster = before.name.to_string();
    let named: Vec<String> = instances.iter().map(ToString::to_string).collect();
    let line = if named.is_empty() {
        format!("cluster/{cluster} {done}")
    } else {
        format!("{} of cluster/{cluster} {done}", named.join(", "))
    };
    let number = asked.as_ref().and_then(|asked| asked.number);
    let changed = asked.is_some();
    let (namespace, cluster_told) = (before.namespace.as_str(), cluster.clone());
    let told = Told { cluster: cluster_told, namespace, done, changed, number, instances };
    tell(form, (&cluster, &[line]), &told)
}
