//! Has the user's own checks run in the pod of a restored cluster's primary.
//!
//! Never takes a connection that broke for a check that passed.

use super::super::super::check::Checked;
use super::super::super::inside::check::{Question, Said};
use super::super::super::progress::Progress;
use super::super::place::Reached;
use pgherd_agent::chain::chain;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::inside::{Conversation, InsideError};
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

/// It says every other second that it goes on.
const WORD: Duration = Duration::from_mins(1);

/// What becomes of these statements there.
pub(in super::super) async fn run(to: &Reached, statements: String) -> Result<Checked, Failure> {
    let view = to.look().await?;
    let failed = |why: String| {
        let what = format!("cluster {} is restored, and its checks cannot be run", to.cluster);
        Failure::new(Kind::Failed, what).because(why).fix(view.command("psql"))
    };
    let primary = view.primary().ok_or_else(|| failed("it has no primary".to_owned()))?;
    let Some(checked) = &view.checked else {
        return Err(failed(view.problems.join("; ")));
    };
    let initdb = &checked.postgres.initdb;
    let (database, role) = (initdb.database.clone(), initdb.owner.clone());
    let question = Question { statements, database, role };
    let heard = Box::pin(heard(to, &primary, &question)).await;
    heard.map_err(|error| match error {
        Trouble::Refused(failure) => failure,
        Trouble::Inside(error) => failed(chain(&error).to_string()),
    })
}

enum Trouble {
    Refused(Failure),
    Inside(InsideError),
}

async fn heard(
    to: &Reached,
    primary: &InstanceName,
    question: &Question,
) -> Result<Checked, Trouble> {
    let failed = |error| Trouble::Refused(Failure::from_error(Kind::Failed, &error));
    let question = serde_json::to_string(question).map_err(failed)?;
    let at = (to.namespace.as_str(), primary.to_string());
    let words = ["inside", "check"];
    let begun = Conversation::begin(&to.client, (at.0, &at.1), &words).await;
    let mut conversation = begun.map_err(Trouble::Inside)?;
    conversation.tell(&question).await.map_err(Trouble::Inside)?;
    let mut progress = Progress::new();
    loop {
        match conversation.hear::<Said>(WORD).await.map_err(Trouble::Inside)? {
            Said::Running => progress.tell_step("running the checks", ""),
            Said::Checked(checked) => return Ok(checked),
            Said::Refused(failure) => return Err(Trouble::Refused(failure)),
        }
    }
}
