//! Asks a cluster's repository in one of its pods, where it can be opened.
//!
//! Never reads a Secret: whoever may run a program in the pod may ask.

use super::super::inside::repository::Said;
use super::super::progress::Progress;
use super::super::repository::{Asked, Step, Told};
use super::hint;
use super::place::{Place, Reached};
use pgherd_agent::chain::chain;
use pgherd_api::console::no_archive;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::inside::{Conversation, InsideError, within_reach};
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

/// It says every other second that it goes on.
const WORD: Duration = Duration::from_mins(1);

/// A question, and the cluster that it is about.
#[derive(clap::Args)]
pub(super) struct About<Question: clap::Args> {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) question: Question,
}

/// What the repository says to it.
pub(super) async fn ask(reached: &Reached, asked: &Asked) -> Result<Told, Failure> {
    let view = reached.look().await?;
    refuse_without_archive(&view)?;
    let question =
        serde_json::to_string(asked).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let mut last = None;
    for pod in pods(&view) {
        match Box::pin(begin(reached, pod, &question)).await {
            Ok(conversation) => {
                let told = Box::pin(listen(conversation)).await;
                return told.map_err(|failure| hint::addressed(failure, reached));
            }
            Err(error) if error.is_forbidden() => return Err(forbidden(&view)),
            // Another one opens the same repository.
            Err(error) => last = Some(error),
        }
    }
    Err(nobody(&view, last.as_ref()))
}

/// What needs an archive is refused before anything is asked.
pub(super) fn refuse_without_archive(view: &View) -> Result<(), Failure> {
    let Some(checked) = &view.checked else {
        let what = format!("the manifest of cluster {} cannot be carried out", view.name);
        return Err(Failure::new(Kind::Refused, what)
            .because(view.problems.join("; "))
            .fix("correct the manifest first"));
    };
    if checked.postgres.archive.is_none() {
        return Err(Failure::new(Kind::Refused, no_archive(&view.name))
            .fix("add spec.backup.barmanObjectStore to its manifest, and apply that"));
    }
    if view.is_asleep() {
        let what = format!("{} is hibernated: it has no pod to ask", view.name);
        return Err(Failure::new(Kind::Refused, what).fix(view.waking()));
    }
    Ok(())
}

/// Those that can be asked: standbys first, which have less to do.
fn pods(view: &View) -> Vec<&InstanceName> {
    let primary = view.record.as_ref().map(|record| &record.holder.instance);
    let mut pods: Vec<_> = within_reach(view).collect();
    pods.sort_by_key(|name| (!view.is_ready(name), Some(*name) == primary));
    pods
}

async fn begin(
    reached: &Reached,
    pod: &InstanceName,
    question: &str,
) -> Result<Conversation, InsideError> {
    let at = (reached.namespace.as_str(), pod.to_string());
    let words = ["inside", "repository"];
    let mut conversation = Conversation::begin(&reached.client, (at.0, &at.1), &words).await?;
    conversation.tell(question).await?;
    Ok(conversation)
}

async fn listen(mut conversation: Conversation) -> Result<Told, Failure> {
    let mut progress = Progress::new();
    loop {
        let said = conversation.hear::<Said>(WORD).await.map_err(|error| broken(&error))?;
        match said {
            Said::Told(told) => return Ok(*told),
            Said::Refused(failure) => return Err(failure),
            Said::Step(Step { step, .. }) if step.is_empty() => {}
            Said::Step(Step { step, detail }) => progress.tell_step(&step, &detail),
        }
    }
}

fn broken(error: &InsideError) -> Failure {
    let what = "the repository did not answer to its end";
    let failure = Failure::new(Kind::Failed, what).because(chain(error).to_string());
    failure.fix("the same command again; pods of an older version cannot answer it")
}

pub(super) fn forbidden(view: &View) -> Failure {
    let what = format!("cluster {} may not be asked for its backups", view.name);
    Failure::new(Kind::Refused, what)
        .because("running a program in its pods is forbidden")
        .fix(format!("ask for a Role with create on pods/exec in {}", view.namespace))
}

fn nobody(view: &View, last: Option<&InsideError>) -> Failure {
    let what = format!("no pod of cluster {} can be asked for its backups", view.name);
    let failure = Failure::new(Kind::Failed, what).fix(view.command("explain"));
    match last {
        Some(error) => failure.because(chain(error).to_string()),
        None => failure,
    }
}
