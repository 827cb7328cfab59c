//! Breaks off long work by deleting the object that asks for it; the operator tells its agent.
//!
//! Never touches what is over.

use super::super::super::form::{Form, write};
use super::super::super::output::remark;
use super::super::super::progress::Progress;
use super::super::place::{Reached, unread};
use super::super::wait::{BETWEEN_LOOKS, Waiting, timed_out};
use super::{Followed, object};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use pgherd_api::errand::Going;
use pgherd_kubernetes::console::inside;
use pgherd_kubernetes::console::read::answer;
use pgherd_local::failure::{Failure, Kind};
use tokio::time::sleep;

/// The one that an agent works on.
pub(in super::super) fn under_way<E: Followed>(all: &[E]) -> Option<&E> {
    let is_done = |one: &&E| !one.going().is_over() && one.going().taker().is_some();
    all.iter().find(is_done)
}

/// The one that is named, unless it is over.
pub(in super::super) fn named<'a, E: Followed>(
    reached: &Reached,
    all: &'a [E],
    given: &str,
) -> Result<&'a E, Failure> {
    let (noun, cluster, namespace) = (E::SINGULAR, &reached.cluster, &reached.namespace);
    match all.iter().find(|one| one.name_any() == given) {
        None => {
            let what = format!("there is no {} {given} of cluster {cluster}", E::KIND);
            Err(Failure::new(Kind::NotFound, what).fix(list::<E>(reached)))
        }
        Some(one) if one.going().is_over() => {
            let what = format!("{noun} {given} is {}", one.going().phase.unwrap_or_default());
            Err(Failure::new(Kind::Refused, what).fix(format!(
                "pgherd {noun} delete {cluster} -n {namespace} {given} --yes removes what is stored"
            )))
        }
        Some(one) => Ok(one),
    }
}

/// The command that shows which there are.
pub(in super::super) fn list<E: Followed>(reached: &Reached) -> String {
    format!("pgherd {} list {} -n {}", E::SINGULAR, reached.cluster, reached.namespace)
}

/// Deletes it, waits until its agent has taken back what was stored, and says so.
pub(in super::super) async fn cancel<E: Followed>(
    reached: &Reached,
    one: &E,
    (form, waiting): (Form, &Waiting),
) -> Result<(), Failure> {
    let (noun, name, going) = (E::SINGULAR, one.name_any(), one.going());
    delete(reached, one).await?;
    let left = if waiting.no_wait {
        Left::Unknown
    } else {
        taken_back::<E>(reached, &going, waiting).await?
    };
    let state = match left {
        Left::Something => "was completed before, and stays",
        Left::Nothing | Left::Unknown => "cancelled",
    };
    let document = serde_json::json!({ "name": name, "state": state });
    write(form, (&[object::<E>(&name)], &[format!("{noun}/{name} {state}")]), &document)
}

/// What is left of it in the repository.
enum Left {
    Something,
    Nothing,
    Unknown,
}

async fn delete<E: Followed>(reached: &Reached, one: &E) -> Result<(), Failure> {
    let all: Api<E> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let this = Preconditions { uid: one.uid(), resource_version: None };
    let by = DeleteParams { preconditions: Some(this), ..DeleteParams::default() };
    let deleted = answer(all.delete(&one.name_any(), &by)).await;
    deleted.map(drop).map_err(|error| unread(&error))
}

/// Waits until its agent is done with it, if that can be seen.
async fn taken_back<E: Followed>(
    reached: &Reached,
    going: &Going,
    waiting: &Waiting,
) -> Result<Left, Failure> {
    let (Some(instance), Some(session)) = (going.taker(), going.session()) else {
        return Ok(Left::Unknown);
    };
    let mut progress = Progress::new();
    loop {
        let said = inside::agent(&reached.client, &reached.namespace, &instance).await;
        let missing = match said {
            Ok(status) => match E::heard(status).filter(|report| E::session(report) == session) {
                Some(report) if !E::is_over(&report) => {
                    format!("waiting for {instance} to take it back")
                }
                Some(report) if E::is_stored(&report) => return Ok(Left::Something),
                Some(_) | None => return Ok(Left::Nothing),
            },
            Err(error) if error.is_forbidden() => {
                remark("note: whether its agent has taken it back cannot be seen");
                return Ok(Left::Unknown);
            }
            Err(error) => error.to_string(),
        };
        progress.tell(&missing);
        if progress.elapsed() >= waiting.timeout {
            return Err(timed_out(waiting.timeout, &missing, reached));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
