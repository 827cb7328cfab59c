//! `pgherd local window`: to which moments a cluster can be taken back, and where there are gaps.
//!
//! Never promises more than the repository holds.

use super::output::{Output, say, say_all, say_json};
use super::place::Place;
use super::repository::{self, second, timestamp};
use pgherd_core::backup::window::{Gap, Interval, Unusable, Window as Found};
use pgherd_local::failure::Failure;
use serde::Serialize;

/// Show to which moments the cluster can be taken back, and where there are gaps
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local window")]
pub(crate) struct Window {
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    repository: String,
    retention: Option<&'a str>,
    #[serde(flatten)]
    window: &'a Found,
}

impl Window {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            let failed = |error| opened.failed(&error);
            let catalogue = opened.repository.list().await.map_err(failed)?;
            let (_, window) = opened.repository.window(&catalogue).await.map_err(failed)?;
            let retention = opened.spec.retention.as_deref();
            if output == Output::Json {
                let repository = opened.place();
                return say_json(&Told { repository, retention, window: &window });
            }
            say(&format!(
                "{}   retention {}",
                opened.place(),
                retention.unwrap_or("none: backups are kept for ever")
            ));
            say_all(&lines(&window));
            Ok(())
        })
    }
}

fn lines(window: &Found) -> Vec<String> {
    if window.intervals.is_empty() && window.unusable.is_empty() {
        return vec!["  nothing can be recovered: take a backup (pgherd local backup)".to_owned()];
    }
    let gaps = match window.gaps.as_slice() {
        [] => vec!["  no gaps".to_owned()],
        gaps => gaps.iter().map(gap).collect(),
    };
    let unusable = window.unusable.iter().map(|Unusable { backup, missing }| {
        format!("  backup {backup} cannot be restored: {missing} is missing")
    });
    window.intervals.iter().map(interval).chain(gaps).chain(unusable).collect()
}

fn interval(interval: &Interval) -> String {
    let Interval { timeline, backup, from, since, to, until } = interval;
    format!(
        "  timeline {timeline}   {} to {}   {from} to {to}   from backup {backup}",
        second(timestamp(*since)),
        second(timestamp(*until))
    )
}

fn gap(gap: &Gap) -> String {
    let Gap { first, last, since, .. } = gap;
    let what = if first == last { format!("{first} is") } else { format!("{first} to {last} are") };
    format!("  GAP: {what} missing, after {}", second(timestamp(*since)))
}
