//! Has the primary's agent restore a database from a dump, and follows that.
//!
//! Never ends a restore because nobody follows it any more.

use super::super::super::dump::{Follower, Restoring};
use super::super::super::form::write;
use super::super::super::inside::dump::Asked as Asking;
use super::super::super::output::warn;
use super::super::super::repository::dump::details::Details;
use super::super::super::repository::{Asked, Told};
use super::super::errand::objects;
use super::super::hint;
use super::super::place::{Place, Reached};
use super::super::repository::{ask, forbidden, refuse_without_archive};
use super::super::wait::{BETWEEN_LOOKS, Waiting};
use pgherd_agent::chain::chain;
use pgherd_api::agent::DumpReport;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::inside::{self, Conversation, InsideError};
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;
use tokio::time::sleep;

/// An agent answers at once.
const WITHIN: Duration = Duration::from_secs(15);

/// Restore a database from a dump
#[derive(clap::Args)]
#[command(after_help = "\
The agent of the primary does it. All is looked at that could be in the way before anything is touched. With
one job it is all or nothing: whatever goes wrong, the database is as it was. It takes the right to create
pods/exec.

Examples:
  pgherd dump restore app-db latest --database shop --into shop_copy --create
  pgherd dump restore app-db latest --into shop --clean
  pgherd dump restore app-db nightly-20261122030000 --into shop --table orders
  pgherd dump restore app-db latest --server shop --into shop --no-owner")]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    wanted: Restoring,
    #[command(flatten)]
    waiting: Waiting,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, mut wanted, waiting } = self;
        place.with(|reached| async move {
            let view = reached.look().await?;
            refuse_without_archive(&view)?;
            let Some(primary) = view.primary() else {
                let what = format!("cluster {} has no primary to restore into", view.name);
                return Err(Failure::new(Kind::Refused, what).fix(view.command("explain")));
            };
            if wanted.server.is_none() {
                objects::of::<pgherd_api::dump::Dump>(&reached).await?.resolve(&mut wanted.dump);
                wanted.dump = usable(&reached, wanted.dump.clone()).await?;
            }
            let order = wanted.order();
            let name = order.name.clone();
            begin(&reached, (&view, &primary), &Asking::Restore(order)).await?;
            let object = format!("restore/{name}");
            if waiting.no_wait {
                let document = serde_json::json!({ "name": name, "instance": primary });
                let line = format!("{object} begun on {primary}");
                return write(form, (&[object], &[line]), &document);
            }
            let followed = follow(&reached, (&primary, &name), waiting.timeout).await;
            let report = followed.map_err(|failure| hint::addressed(failure, &reached))?;
            warn(&report.warnings);
            write(form, (&[object], &[wanted.restored(&report)]), &report)
        })
    }
}

/// The id of one that can be used; whoever cannot be seen from here is refused at once.
async fn usable(reached: &Reached, dump: String) -> Result<String, Failure> {
    match ask(reached, &Asked::DumpInfo(Details { dump })).await? {
        Told::DumpInfo(listed) => {
            Restoring::refuse_unusable(&listed)?;
            listed.id.ok_or_else(Told::unexpected)
        }
        _ => Err(Told::unexpected()),
    }
}

/// Asks the agent of an instance from within its pod.
pub(super) async fn begin(
    reached: &Reached,
    (view, instance): (&View, &InstanceName),
    asking: &Asking,
) -> Result<Option<DumpReport>, Failure> {
    let question =
        serde_json::to_string(asking).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let asked = asked(reached, instance, &question).await;
    asked.map_err(|error| match error {
        error if error.is_forbidden() => forbidden(view),
        InsideError::End { complaint, .. } => {
            let what = format!("{instance} does not do that");
            Failure::new(Kind::Refused, what).because(complaint)
        }
        error => Failure::new(Kind::Failed, format!("{instance} could not be asked"))
            .because(chain(&error).to_string())
            .fix(view.command("explain")),
    })
}

async fn asked(
    reached: &Reached,
    instance: &InstanceName,
    question: &str,
) -> Result<Option<DumpReport>, InsideError> {
    let at = (reached.namespace.as_str(), instance.to_string());
    let words = ["inside", "dump"];
    let mut conversation = Conversation::begin(&reached.client, (at.0, &at.1), &words).await?;
    conversation.tell(question).await?;
    conversation.hear(WITHIN).await
}

async fn follow(
    reached: &Reached,
    (instance, name): (&InstanceName, &str),
    patience: Duration,
) -> Result<DumpReport, Failure> {
    let mut follower = Follower::new(instance, name, patience);
    loop {
        // One that is away says nothing: it is asked again.
        let said = inside::agent(&reached.client, &reached.namespace, instance).await.ok();
        if let Some(report) = follower.look(said.as_ref())? {
            return Ok(report);
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
