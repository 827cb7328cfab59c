//! Breaks off a dump that is being taken, or a restore from one.
//!
//! Never touches one that is over.

use super::super::super::dump::word;
use super::super::super::form::{Form, write};
use super::super::super::inside::dump::Asked;
use super::super::errand::{cancel, objects};
use super::super::place::{Place, Reached};
use super::super::wait::{Waiting, until_agents};
use super::restore::begin;
use pgherd_api::agent::{DumpNamed, DumpReport, Status};
use pgherd_api::dump::Dump;
use pgherd_kubernetes::console::View;
use pgherd_local::failure::{Failure, Kind};
use std::collections::BTreeSet;

/// Break off the dump or restore that goes on; nothing is kept of it
#[derive(clap::Args)]
#[command(after_help = "\
Deletes the Dump object, and waits until its agent has taken back what was stored. Without a name it is the
dump that is being taken, or else the restore that goes on.

Examples:
  pgherd dump cancel app-db
  pgherd dump cancel app-db nightly-20261122030000")]
pub(super) struct Cancel {
    #[command(flatten)]
    pub(super) place: Place,
    /// The Dump object (default: the one that is being taken)
    #[arg(value_name = "DUMP")]
    dump: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Cancel {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, dump, waiting } = self;
        place.with(|reached| async move {
            let all = objects::of::<Dump>(&reached).await?.0;
            let meant = match &dump {
                Some(given) => Some(cancel::named(&reached, &all, given)?),
                None => cancel::under_way(&all),
            };
            match meant {
                Some(dump) => cancel::cancel(&reached, dump, (form, &waiting)).await,
                None => Box::pin(without_object(&reached, (form, &waiting))).await,
            }
        })
    }
}

/// What agents do that no object asks for: restores, and dumps whose object is gone.
async fn without_object(
    reached: &Reached,
    (form, waiting): (Form, &Waiting),
) -> Result<(), Failure> {
    let view = Box::pin(reached.view()).await?;
    let Some(report) = running(&view) else {
        let what = "no dump is being taken, and nothing restored from one";
        return Err(Failure::new(Kind::NotFound, what).fix(cancel::list::<Dump>(reached)));
    };
    let (instance, name) = (&report.instance, &report.name);
    let asked = Asked::Cancel(DumpNamed { name: Some(name.clone()) });
    begin(reached, (&view, instance), &asked).await?;
    if !waiting.no_wait {
        let names = BTreeSet::from([instance.clone()]);
        let is_over = |status: &Status| {
            let report = status.dump.as_deref().filter(|it| it.name == *name);
            report.is_none_or(|it| it.phase.is_over())
        };
        until_agents(reached, (names, waiting.timeout), |_, status| is_over(status)).await?;
    }
    let object = format!("{}/{name}", word(report.work));
    let line = format!("{object} cancelled");
    let document = serde_json::json!({ "name": name, "state": "cancelled" });
    write(form, (&[object], &[line]), &document)
}

fn running(view: &View) -> Option<&DumpReport> {
    let mut reports = view.agents.values().filter_map(|status| status.dump.as_deref());
    reports.find(|report| !report.phase.is_over())
}
