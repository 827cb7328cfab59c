//! Asks for long work by means of an object, be it a Backup or a Dump, and looks after such objects.
//!
//! Never does the work, and never ends it because nobody follows it any more.

pub(super) mod cancel;
mod follow;
pub(super) mod objects;

use super::super::form::{Form, write};
use super::place::{Reached, unread};
use super::wait::Waiting;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use pgherd_api::agent::Status;
use pgherd_api::errand::Errand;
use pgherd_kubernetes::console::read::{ReadError, answer};
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A kind of object that asks for long work, and what an agent tells of that.
pub(super) trait Followed:
    Errand
    + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
    type Report;

    /// Its id in the repository.
    fn id(&self) -> Option<&str>;
    /// What an agent does of this kind, or did last.
    fn heard(status: Status) -> Option<Self::Report>;
    /// Under which name it does it.
    fn session(report: &Self::Report) -> &str;
    fn is_over(report: &Self::Report) -> bool;
    /// Whether it was completed.
    fn is_stored(report: &Self::Report) -> bool;
    /// What it does, and how far that is.
    fn words(report: &Self::Report) -> (String, String);
    /// What grows while it gets on.
    fn done(report: &Self::Report) -> u64;
}

/// What has come of an object that was followed, and what its agent said last.
pub(super) type Followup<E> = (E, Option<<E as Followed>::Report>);

/// How such an object is called for other programs.
pub(super) fn object<E: Followed>(name: &str) -> String {
    format!("{}.{}/{name}", E::SINGULAR, E::GROUP)
}

/// Makes the object, and follows it to a good end; nothing if it is not waited for.
pub(super) async fn ask_for<E: Followed>(
    reached: &Reached,
    wanted: &E,
    (form, waiting): (Form, &Waiting),
) -> Result<Option<Followup<E>>, Failure> {
    let all: Api<E> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let made = match answer(all.create(&PostParams::default(), wanted)).await {
        Ok(made) => made,
        Err(ReadError::Outrun) => return Err(taken(reached, &all, &wanted.name_any()).await),
        Err(error) => return Err(unread(&error)),
    };
    if waiting.no_wait {
        return told_created(form, &made).map(|()| None);
    }
    follow::follow(reached, (all, made.name_any()), waiting).await.map(Some)
}

fn told_created<E: Followed>(form: Form, made: &E) -> Result<(), Failure> {
    let name = made.name_any();
    let document = serde_json::json!({
        "name": name, "namespace": made.namespace(), "cluster": made.cluster(),
    });
    let line = format!("{}/{name} created", E::SINGULAR);
    write(form, (&[object::<E>(&name)], &[line]), &document)
}

/// Another object has the name: what it tells is told, since it would be of no other one.
async fn taken<E: Followed>(reached: &Reached, all: &Api<E>, name: &str) -> Failure {
    let namespace = &reached.namespace;
    let what = format!("there is a {} {name} in {namespace} already", E::KIND);
    let failure = Failure::new(Kind::Refused, what).fix(format!(
        "choose another --name, or remove it first: kubectl delete {}.{} {name} -n {namespace}",
        E::URL_PATH_SEGMENT,
        E::GROUP,
    ));
    let Ok(Some(found)) = answer(all.get_opt(name)).await else { return failure };
    let going = found.going();
    let phase = going.phase.unwrap_or_else(|| "new".to_owned());
    failure.because(match going.error {
        Some(why) => format!("it is {phase}: {why}"),
        None => format!("it is {phase}"),
    })
}
