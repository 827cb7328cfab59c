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
}

/// Says in kubectl's form what is different now.
pub(super) fn told(
    form: Form,
    written: &Written,
    (changed, unchanged): (&str, &str),
) -> Result<(), Failure> {
    let Written { before, asked } = written;
    let done = if asked.is_some() { changed } else { unchanged };
    let cluster = before.name.to_string();
    let line = format!("cluster/{cluster} {done}");
    let number = asked.as_ref().and_then(|asked| asked.number);
    let changed = asked.is_some();
    let told =
        Told { cluster: cluster.clone(), namespace: &before.namespace, done, changed, number };
    tell(form, (&cluster, &[line]), &told)
}
