//! Follows an object that asks for long work to its end.
//!
//! Never ends the work because nobody follows it any more.

use super::super::super::output::remark;
use super::super::super::progress::{Headway, Progress};
use super::super::place::Reached;
use super::super::wait::{BETWEEN_LOOKS, Waiting};
use super::{Followed, Followup};
use kube::Api;
use pgherd_agent::chain::chain;
use pgherd_api::errand::{COMPLETED, FAILED, Going};
use pgherd_kubernetes::console::inside;
use pgherd_kubernetes::console::read::answer;
use pgherd_local::failure::{Failure, Kind};
use tokio::time::sleep;

/// Until it is completed. It may take as long as it likes while it gets on.
pub(super) async fn follow<E: Followed>(
    reached: &Reached,
    (all, name): (Api<E>, String),
    waiting: &Waiting,
) -> Result<Followup<E>, Failure> {
    let (mut progress, mut headway, mut ear) = (Progress::new(), Headway::new(), Ear::Open);
    loop {
        let found = match answer(all.get_opt(&name)).await {
            Ok(Some(found)) => Some(found),
            Ok(None) => {
                let what = format!("{} {name} was deleted, and so broken off", E::SINGULAR);
                return Err(Failure::new(Kind::Failed, what));
            }
            Err(error) => {
                progress.tell(&error.to_string());
                None
            }
        };
        if let Some(found) = found {
            let going = found.going();
            let heard = hear::<E>(reached, &going, &mut ear).await;
            match going.phase.as_deref() {
                Some(COMPLETED) => return Ok((found, heard)),
                Some(FAILED) => {
                    let what = format!("{} {name} failed", E::SINGULAR);
                    let why = going.error.unwrap_or_default();
                    return Err(Failure::new(Kind::Failed, what).because(why));
                }
                Some(_) | None => {}
            }
            let (step, detail) = match &heard {
                Some(report) if !E::is_over(report) => E::words(report),
                Some(_) | None => said(&going),
            };
            progress.tell_step(&step, &detail);
            headway.at((step, going.phase, heard.as_ref().map_or(0, E::done)));
        }
        if headway.stands() >= waiting.timeout {
            return Err(timed_out::<E>(reached, &name, waiting));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Whether agents may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ear {
    Open,
    Shut,
}

/// What the agent says that does it.
async fn hear<E: Followed>(reached: &Reached, going: &Going, ear: &mut Ear) -> Option<E::Report> {
    if *ear == Ear::Shut {
        return None;
    }
    let instance = going.taker()?;
    let Reached { client, namespace, .. } = reached;
    match inside::agent(client, namespace, &instance).await {
        Ok(status) => E::heard(status).filter(|report| Some(E::session(report)) == going.session()),
        Err(error) if error.is_forbidden() => {
            *ear = Ear::Shut;
            remark(&format!(
                "note: how far it is cannot be seen (it takes the right to create pods/exec in \
                 {namespace})"
            ));
            None
        }
        Err(error) => {
            tracing::debug!(error = %chain(&error), "its agent says nothing");
            None
        }
    }
}

fn timed_out<E: Followed>(reached: &Reached, name: &str, waiting: &Waiting) -> Failure {
    let (noun, cluster, namespace) = (E::SINGULAR, &reached.cluster, &reached.namespace);
    let what = format!("{noun} {name} has not got on for {:?}", waiting.timeout);
    Failure::new(Kind::TimedOut, what).fix(format!(
        "it goes on: pgherd {noun} list {cluster} -n {namespace}; pgherd {noun} cancel {cluster} \
         -n {namespace} {name} ends it"
    ))
}

/// What the object says of it.
fn said(going: &Going) -> (String, String) {
    let step = match (going.phase.clone(), &going.error) {
        (None, _) => "waiting for the operator".to_owned(),
        (Some(phase), Some(why)) => format!("{phase}: {why}"),
        (Some(phase), None) => phase,
    };
    (step, String::new())
}
