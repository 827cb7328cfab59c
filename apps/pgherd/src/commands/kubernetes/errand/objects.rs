//! Finds the objects of a cluster that ask for long work.
//!
//! Never takes an object for what came of it.

use super::super::super::output::remark;
use super::super::place::{Reached, unread};
use super::Followed;
use kube::Api;
use kube::api::ListParams;
use pgherd_kubernetes::console::read::{ReadError, answer};
use pgherd_local::failure::Failure;

/// Objects of a cluster, the oldest first.
pub(in super::super) struct Objects<E>(pub(in super::super) Vec<E>);

/// As far as they may be read.
pub(in super::super) async fn of<E: Followed>(reached: &Reached) -> Result<Objects<E>, Failure> {
    let all: Api<E> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let found = match answer(all.list(&ListParams::default())).await {
        Ok(found) => found.items,
        Err(ReadError::Permit { .. }) => {
            remark(&format!(
                "note: {} objects are not shown (it takes the right to list {}.{} in {})",
                E::KIND,
                E::URL_PATH_SEGMENT,
                E::GROUP,
                reached.namespace,
            ));
            Vec::new()
        }
        Err(error) => return Err(unread(&error)),
    };
    let is_own = |one: &E| one.cluster() == reached.cluster.as_str();
    let mut own: Vec<E> = found.into_iter().filter(is_own).collect();
    own.sort_by_key(|one| one.meta().creation_timestamp.as_ref().map(|made| made.0));
    Ok(Objects(own))
}

impl<E: Followed> Objects<E> {
    /// An object's name, as the id of what came of it.
    pub(in super::super) fn resolve(&self, given: &mut String) {
        let named = self.0.iter().find(|one| one.meta().name.as_ref() == Some(given));
        if let Some(id) = named.and_then(E::id) {
            id.clone_into(given);
        }
    }

    /// The name of the object that this came of.
    pub(in super::super) fn name(&self, id: Option<&str>) -> Option<String> {
        let of = |one: &&E| one.id().is_some() && one.id() == id;
        self.0.iter().find(of).and_then(|one| one.meta().name.clone())
    }

    /// Those that nothing of these ids came of.
    pub(in super::super) fn without<'a>(
        &'a self,
        ids: &'a [Option<String>],
    ) -> impl Iterator<Item = &'a E> {
        let is_there = |one: &&E| {
            let id = one.id();
            id.is_some() && ids.iter().any(|known| known.as_deref() == id)
        };
        self.0.iter().filter(move |one| !is_there(one))
    }
}
