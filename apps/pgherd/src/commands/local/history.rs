//! `pgherd local history`: the terms of a cluster, with reason and duration.
//!
//! Never asks agents: their logs tell what they did, also of those that are gone.

use super::output::{Output, say_all, say_either, say_json};
use super::place::Place;
use super::status::table;
use jiff::{SignedDuration, Timestamp, Unit};
use pgherd_core::names::InstanceName;
use pgherd_local::failure::Failure;
use pgherd_local::folder::ClusterFolder;
use pgherd_local::history::{self, Known, Term, Verdict};

/// Show who was primary when, on which timeline, and why
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local history")]
pub(crate) struct History {
    #[command(flatten)]
    pub(super) place: Place,
}

impl History {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.with(|supervisor| async move {
            let view = supervisor.view().await?;
            let Some(record) = &view.record else {
                let nothing: [Term; 0] = [];
                return say_either(output, "nobody has been primary yet", &nothing);
            };
            let names = record.terms.iter().map(|term| term.holder.clone());
            let told = names.map(|name| {
                let verdicts = verdicts(supervisor.folder(), &name);
                (name, verdicts)
            });
            let known = Known { told: told.collect(), ..Known::default() };
            let terms = history::terms(record, &known);
            if output == Output::Json {
                return say_json(&terms);
            }
            say_all(&lines(&terms));
            Ok(())
        })
    }
}

/// A table of terms.
pub(crate) fn lines(terms: &[Term]) -> Vec<String> {
    let rows: Vec<Vec<String>> = terms.iter().map(row).collect();
    let header = ["EPOCH", "TIMELINE", "PRIMARY", "FROM", "LASTED", "STARTS AT", "REASON"];
    table(&header, &rows)
}

fn verdicts(folder: &ClusterFolder, name: &InstanceName) -> Vec<Verdict> {
    let log = folder.instance(name).log().join("agent.log");
    // An instance that was removed has left no log, and its terms no reason.
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(history::verdict).collect()
}

fn row(term: &Term) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let from = term.serving.or(term.opening);
    let lasted = history::lasted(term, Timestamp::now()).map(short);
    vec![
        term.epoch.to_string(),
        term.timeline.to_string(),
        term.primary.clone(),
        known(from.and_then(|at| at.round(Unit::Second).ok()).map(|at| at.to_string())),
        known(lasted.map(|it| if term.ended.is_none() { format!("{it} so far") } else { it })),
        known(term.began_at.clone()),
        term.reason.clone(),
    ]
}

fn short(lasted: SignedDuration) -> String {
    match lasted.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
    }
}
