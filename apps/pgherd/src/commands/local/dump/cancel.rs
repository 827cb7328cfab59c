//! Breaks off a dump that is being taken, or a restore from one.
//!
//! Never touches one that is completed.

use super::super::super::dump::word;
use super::super::output::say_either;
use super::super::place::Place;
use super::BETWEEN_LOOKS;
use pgherd_api::agent::DumpReport;
use pgherd_local::control::{Request, View};
use pgherd_local::failure::{Failure, Kind};
use tokio::time::{Instant, sleep};

/// Break off the dump or restore that goes on; nothing is kept of it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local dump cancel")]
pub(super) struct Cancel {}

impl Cancel {
    pub(super) fn run(place: &Place) -> Result<(), Failure> {
        let (output, within) = (place.output(), place.timeout());
        place.with(|supervisor| async move {
            let view = supervisor.view().await?;
            let Some(report) = running(&view).next().cloned() else {
                let what = "no dump is being taken, and nothing restored from one";
                return Err(Failure::new(Kind::NotFound, what).fix("pgherd local dump list"));
            };
            let (instance, name) = (report.instance.to_string(), report.name.clone());
            supervisor.ask(&Request::CancelDump { instance, name }).await?;
            let end = Instant::now() + within;
            loop {
                let view = supervisor.view().await?;
                if running(&view).all(|other| other.name != report.name) {
                    break;
                }
                if Instant::now() >= end {
                    let what = format!("{} is still being taken back", report.name);
                    return Err(Failure::new(Kind::TimedOut, what).fix("pgherd local status"));
                }
                sleep(BETWEEN_LOOKS).await;
            }
            let sentence = format!("{}/{} cancelled", word(report.work), report.name);
            let document = serde_json::json!({ "name": report.name, "state": "cancelled" });
            say_either(output, &sentence, &document)
        })
    }
}

fn running(view: &View) -> impl Iterator<Item = &DumpReport> {
    let statuses = view.instances.iter().filter_map(|instance| instance.status.as_ref());
    statuses.filter_map(|status| status.dump.as_deref()).filter(|it| !it.phase.is_over())
}
