//! Measures how long writes stand still, by a client that the verb runs in a pod of the cluster.
//!
//! Never in the way of what is measured: without it the verb does the same.

use super::super::inside::probe::Told;
use super::super::output::remark;
use super::place::Reached;
use pgherd_agent::chain::chain;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::cluster::manifests::services;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::inside::{Conversation, InsideError, within_reach};
use std::time::Duration;

/// It has to find the primary, and to write without a pause.
const BEGIN: Duration = Duration::from_secs(15);
/// Writes may still stand when it is asked to end.
const END: Duration = Duration::from_secs(15);

/// A client that writes through the service for writing.
pub(super) struct Probe {
    pod: InstanceName,
    conversation: Conversation,
}

/// What it felt.
pub(super) struct Outage {
    pub(super) longest: Duration,
    /// The pod it wrote from.
    pub(super) from: InstanceName,
}

impl Outage {
    pub(super) fn sentence(&self, reached: &Reached) -> String {
        let (longest, from) = (self.longest.as_secs_f64(), &self.from);
        let through = services::of_primary(&reached.cluster);
        format!("write outage {longest:.2}s (of a client in pod {from}, through {through})")
    }
}

impl Probe {
    /// A running probe, if one can be had: what cannot be measured can be done all the same.
    pub(super) async fn start(
        reached: &Reached,
        view: &View,
        target: Option<&InstanceName>,
    ) -> Option<Self> {
        let pod = host(view, target)?;
        match begin(reached, view, &pod).await {
            Ok(conversation) => Some(Self { pod, conversation }),
            Err(error) if error.is_forbidden() => {
                let namespace = &reached.namespace;
                remark(&format!(
                    "note: not measured: it takes the right to create pods/exec in {namespace}"
                ));
                None
            }
            Err(error) => {
                remark(&format!("note: not measured: {}", chain(&error)));
                None
            }
        }
    }

    /// The longest pause since it began.
    pub(super) async fn end(mut self) -> Option<Outage> {
        match longest(&mut self.conversation).await {
            Ok(longest) => Some(Outage { longest, from: self.pod }),
            Err(error) => {
                remark(&format!("note: not measured: {}", chain(&error)));
                None
            }
        }
    }
}

async fn begin(
    reached: &Reached,
    view: &View,
    pod: &InstanceName,
) -> Result<Conversation, InsideError> {
    let initdb = view.checked.as_ref().map(|checked| &checked.postgres.initdb);
    let (user, database) =
        initdb.map(|initdb| (initdb.owner.clone(), initdb.database.clone())).unwrap_or_default();
    let host = format!("{}:5432", services::of_primary(&reached.cluster));
    let words = ["inside", "probe", "--host", &host, "--user", &user, "--database", &database];
    let at = (reached.namespace.as_str(), pod.to_string());
    let mut conversation = Conversation::begin(&reached.client, (at.0, &at.1), &words).await?;
    match conversation.hear(BEGIN).await? {
        Told::Writing => Ok(conversation),
        Told::Measured { .. } => Err(conversation.out_of_turn()),
    }
}

async fn longest(conversation: &mut Conversation) -> Result<Duration, InsideError> {
    conversation.tell("").await?;
    match conversation.hear(END).await? {
        Told::Measured { longest_pause_milliseconds } => {
            Ok(Duration::from_millis(longest_pause_milliseconds))
        }
        Told::Writing => Err(conversation.out_of_turn()),
    }
}

/// Where it runs: rather beside a standby that stays one than beside who changes. If nobody was
/// named, the first of those who are equally far takes over: it is the last of them, then.
fn host(view: &View, target: Option<&InstanceName>) -> Option<InstanceName> {
    let holder = view.record.as_ref().map(|record| &record.holder.instance);
    let fit = within_reach(view).filter(|name| view.is_ready(name));
    fit.max_by_key(|&name| (Some(name) != holder, Some(name) != target)).cloned()
}
