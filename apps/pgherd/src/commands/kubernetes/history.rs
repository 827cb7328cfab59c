//! `pgherd history`: the terms of a cluster, with reason and duration.
//!
//! Never invents a time: only what an agent's log or the Lease still tells has one.

use super::super::local::history::lines;
use super::super::output::remark;
use super::form::tell;
use super::place::{Place, Reached, lacking};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::read::answer;
use pgherd_kubernetes::console::{Part, View};
use pgherd_local::failure::Failure;
use pgherd_local::history::{self, Known, Term, Verdict};
use std::collections::BTreeMap;

/// How many lines of an agent's log are looked through.
const LINES: i64 = 20_000;

/// Show who was primary when, on which timeline, and why
#[derive(clap::Args)]
#[command(after_help = "\
Times are those of the agents' logs as far back as the pods keep them, and before that those at which
each term was written into the Lease. A switchover is one that was asked for; a primary whose pod is
deleted hands over, too. Time in which the primary was stopped on purpose does not count.

Example:
  pgherd history app-db")]
pub(crate) struct History {
    #[command(flatten)]
    pub(super) place: Place,
}

impl History {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let view = reached.view().await?;
            let name = view.name.as_str();
            let Some(record) = &view.record else {
                let line = if view.sees(Part::Record) {
                    "nobody has been primary yet"
                } else {
                    "who was primary when cannot be seen"
                };
                let nothing: [Term; 0] = [];
                return tell(form, (name, &[line.to_owned()]), &nothing);
            };
            let known = Known {
                told: told(&reached, &view).await,
                began: view.began.clone(),
                ended: view.ended.clone(),
            };
            let terms = history::terms(record, &known);
            tell(form, (name, &lines(&terms)), &terms)
        })
    }
}

async fn told(reached: &Reached, view: &View) -> BTreeMap<InstanceName, Vec<Verdict>> {
    let pods: Api<Pod> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let wanted = LogParams {
        container: Some("postgres".to_owned()),
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    let mut told = BTreeMap::new();
    for name in view.pods.keys() {
        match answer(pods.logs(&name.to_string(), &wanted)).await {
            Ok(log) => {
                let verdicts = log.lines().filter_map(history::verdict).collect();
                told.insert(name.clone(), verdicts);
            }
            Err(error) => {
                let lacking = lacking(&error, &format!("get pods/log in {}", reached.namespace));
                remark(&format!("note: times of {name} are not shown: {error}{lacking}"));
            }
        }
    }
    told
}
