//! Takes a dump and follows it.
//!
//! Never ends a dump because nobody follows it any more.

use super::super::super::dump::{What, completed};
use super::super::output::{say_either, warn};
use super::super::place::Place;
use super::super::repository;
use super::follow;
use crate::commands::repository::dump::list::Listed;
use jiff::Timestamp;
use pgherd_local::control::Request;
use pgherd_local::failure::{Failure, Kind};

#[derive(clap::Args)]
pub(super) struct Take {
    #[command(flatten)]
    what: What,
    /// The instance to take it from
    #[arg(long, value_name = "INSTANCE", conflicts_with = "target")]
    instance: Option<String>,
    /// What people call it (default: the cluster's name and the time)
    #[arg(long, value_name = "NAME")]
    dump_name: Option<String>,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

impl Take {
    /// Whether nothing is said of what to dump.
    pub(super) fn is_plain(&self) -> bool {
        self.what.is_plain() && self.instance.is_none() && self.dump_name.is_none() && !self.no_wait
    }

    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let (output, patience) = (place.output(), place.timeout());
        place.with(|supervisor| async move {
            let folder = supervisor.folder();
            let cluster = folder.name().to_string();
            let usual = supervisor.view().await?.database;
            // Finer than a second: to ask under the same name is to ask how that dump is.
            let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S%3f");
            let name = self.dump_name.unwrap_or_else(|| format!("{cluster}-{stamp}"));
            let order = self.what.content(&usual).order(name.clone());
            let target = self.what.target();
            let request = Request::Dump { order, target, instance: self.instance };
            let done = supervisor.ask(&request).await?;
            warn(&done.warnings);
            let Some(instance) = done.instances.first().cloned() else {
                return Err(Failure::new(Kind::Failed, "nobody takes the dump"));
            };
            if self.no_wait {
                let sentence = format!("dump/{name} begun on {instance}");
                let document = serde_json::json!({ "name": name, "instance": instance });
                return say_either(output, &sentence, &document);
            }
            let report = follow(&supervisor, (&instance, &name), patience).await?;
            warn(&report.warnings);
            let found = repository::open(folder)?.find_dump(&name).await?;
            let listed = Listed::of(&found);
            let took = report.ended.unwrap_or_default().duration_since(report.ordered);
            let line = completed(&cluster, &listed, (&instance, took), &listed.databases());
            say_either(output, &line, &listed)
        })
    }
}
