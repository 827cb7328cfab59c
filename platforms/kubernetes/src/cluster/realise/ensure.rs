//! Brings single objects to what they shall be, with as few requests as possible.
//!
//! Never overwrites what belongs to somebody else, and never asks when nothing has changed.

use super::super::certificates::password;
use super::super::manifests::{self, Blueprint, labels};
use super::ownership;
use crate::run::Context;
use crate::stores::{Part, Stores};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Who owns the fields that are written here.
pub(super) const FIELD_MANAGER: &str = "pgherd";
/// What an object was made as: when that changes, it is applied again.
const MADE_AS: &str = "pgherd.dev/made-as";
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    #[error("{attempt} {object}")]
    Ask { attempt: &'static str, object: String, source: kube::Error },
    #[error("{attempt} {object}: {said}")]
    Refused { attempt: &'static str, object: String, said: String, code: u16 },
    #[error(
        "{attempt} {object}: {said}: raise the quota, or remove what it is used for, and the cluster goes on by itself"
    )]
    Quota { attempt: &'static str, object: String, said: String },
    #[error("{attempt} {object}: its namespace is being deleted")]
    Ending { attempt: &'static str, object: String },
    #[error("{attempt} {object}: the API server did not answer within {DEADLINE:?}")]
    Late { attempt: &'static str, object: String },
    #[error(
        "{object} is there already and does not belong to this cluster: remove or rename it, and the cluster goes on by itself"
    )]
    Foreign { kind: Cow<'static, str>, object: String },
    #[error("{object} belongs to an earlier cluster of the same name and is being removed")]
    Outlived { object: String },
    #[error("drawing a password for {object}")]
    DrawPassword { object: String },
}

/// The objects of one cluster.
pub(super) struct Objects<'a> {
    client: &'a Client,
    stores: &'a Stores,
    namespace: &'a str,
    cluster: &'a str,
    uid: &'a str,
}

impl<'a> Objects<'a> {
    pub(super) fn new(context: &'a Context, blueprint: &Blueprint<'a>) -> Self {
        Self {
            client: &context.client,
            stores: &context.stores,
            namespace: blueprint.namespace,
            cluster: blueprint.name(),
            uid: blueprint.cluster.metadata.uid.as_deref().unwrap_or_default(),
        }
    }

    pub(super) fn api<K: Part>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Makes it, or changes it if it would be made otherwise now.
    pub(super) async fn ensure<K: Part + Serialize>(&self, wanted: K) -> Result<(), EnsureError> {
        let mut wanted = wanted;
        let made_as = manifests::digest(&wanted);
        let annotations = wanted.meta_mut().annotations.get_or_insert_default();
        annotations.insert(MADE_AS.to_owned(), made_as.clone());
        let name = name(wanted.meta());
        match self.stores.get::<K>(self.namespace, &name) {
            None => match self.try_create(&wanted).await? {
                Created::Now { .. } => Ok(()),
                Created::Before => self.apply(&wanted).await,
            },
            Some(found) => {
                self.refuse_foreign::<K>(found.meta())?;
                let known = found.meta().annotations.as_ref().and_then(|all| all.get(MADE_AS));
                if known == Some(&made_as) {
                    return Ok(());
                }
                if let Some(patch) = ownership::handed_over(found.meta(), &wanted) {
                    self.merge::<K>(&name, &patch).await?;
                }
                self.apply(&wanted).await
            }
        }
    }

    /// Makes and changes all of these, and removes those of the same kind that are not among them.
    pub(super) async fn ensure_all<K: Part + Serialize>(
        &self,
        wanted: Vec<K>,
    ) -> Result<(), EnsureError> {
        let names: BTreeSet<String> = wanted.iter().map(|one| name(one.meta())).collect();
        for one in wanted {
            self.ensure(one).await?;
        }
        for surplus in self.stores.of_cluster::<K>(self.namespace, self.cluster) {
            let is_ours = self.owns(surplus.meta());
            if is_ours && !names.contains(&name(surplus.meta())) {
                self.delete::<K>(surplus.meta()).await?;
            }
        }
        Ok(())
    }

    /// Whether there is one of this cluster, as far as is known.
    pub(super) fn has<K: Part>(&self, name: &str) -> Result<bool, EnsureError> {
        match self.stores.get::<K>(self.namespace, name) {
            Some(found) => self.refuse_foreign::<K>(found.meta()).map(|()| true),
            None => Ok(false),
        }
    }

    /// The one of that name that the watches have seen.
    pub(super) fn known<K: Part>(&self, name: &str) -> Option<Arc<K>> {
        self.stores.get::<K>(self.namespace, name)
    }

    /// Makes it unless it is there. What is in it then is for others to say.
    pub(super) async fn create<K: Part + Serialize>(
        &self,
        wanted: K,
    ) -> Result<Created, EnsureError> {
        match self.stores.get::<K>(self.namespace, &name(wanted.meta())) {
            Some(found) => self.refuse_foreign::<K>(found.meta()).map(|()| Created::Before),
            None => self.try_create(&wanted).await,
        }
    }

    /// The same for what is made with a password that is drawn only when it is needed. What was made
    /// comes back.
    pub(super) async fn ensure_once<K: Part + Serialize>(
        &self,
        name: &str,
        make: impl FnOnce(&str) -> K,
    ) -> Result<Option<K>, EnsureError> {
        if self.has::<K>(name)? {
            return Ok(None);
        }
        let drawn = password();
        let drawn =
            drawn.map_err(|_| EnsureError::DrawPassword { object: self.called::<K>(name) })?;
        let made = make(&drawn);
        Ok(match self.create(made.clone()).await? {
            Created::Now { .. } => Some(made),
            Created::Before => None,
        })
    }

    /// Writes these fields whatever they were.
    async fn apply<K: Part + Serialize>(&self, wanted: &K) -> Result<(), EnsureError> {
        let name = name(wanted.meta());
        let by = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.api::<K>();
        let patch = Patch::Apply(wanted);
        let applied = api.patch(&name, &by, &patch);
        self.within("applying", self.called::<K>(&name), applied).await.map(drop)
    }

    /// Changes some fields of what is there.
    pub(super) async fn merge<K: Part>(
        &self,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<(), EnsureError> {
        let api = self.api::<K>();
        let by =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let patched = api.patch(name, &by, &patch);
        self.within("changing", self.called::<K>(name), patched).await.map(drop)
    }

    /// Removes exactly this one, not a later one of its name. What is gone already is fine.
    pub(super) async fn delete<K: Part>(&self, meta: &ObjectMeta) -> Result<(), EnsureError> {
        let only = Preconditions { uid: meta.uid.clone(), resource_version: None };
        let how = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        let (api, name) = (self.api::<K>(), name(meta));
        let deleted = self.within("deleting", self.called::<K>(&name), api.delete(&name, &how));
        match deleted.await {
            Err(error) if code(&error) == Some(404) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Removes the one of that name, if there is one and it is this cluster's.
    pub(super) async fn delete_own<K: Part>(&self, name: &str) -> Result<(), EnsureError> {
        match self.stores.get::<K>(self.namespace, name) {
            Some(found) if self.owns(found.meta()) => self.delete::<K>(found.meta()).await,
            Some(_) | None => Ok(()),
        }
    }

    /// What is there now, whoever made it.
    pub(super) async fn find<K: Part>(&self, name: &str) -> Result<Option<K>, EnsureError> {
        let api = self.api::<K>();
        self.within("reading", self.called::<K>(name), api.get_opt(name)).await
    }

    async fn try_create<K: Part + Serialize>(&self, wanted: &K) -> Result<Created, EnsureError> {
        let (api, name) = (self.api::<K>(), name(wanted.meta()));
        let how =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let called = || self.called::<K>(&name);
        match self.within("creating", called(), api.create(&how, wanted)).await {
            Ok(made) => {
                return Ok(Created::Now { uid: made.meta().uid.clone().unwrap_or_default() });
            }
            Err(error) if code(&error) == Some(409) => {}
            Err(error) => return Err(error),
        }
        // Either the watch is behind, or it is somebody else's.
        let found = self.within("reading", called(), api.get(&name)).await?;
        self.refuse_foreign::<K>(found.meta()).map(|()| Created::Before)
    }

    fn refuse_foreign<K: Part>(&self, found: &ObjectMeta) -> Result<(), EnsureError> {
        if self.owns(found) {
            return Ok(());
        }
        let object = self.called::<K>(&name(found));
        let is_labelled = found.labels.as_ref().and_then(|all| all.get(labels::CLUSTER));
        if is_labelled.is_some_and(|cluster| cluster == self.cluster) {
            return Err(EnsureError::Outlived { object });
        }
        Err(EnsureError::Foreign { kind: K::kind(&()), object })
    }

    fn owns(&self, meta: &ObjectMeta) -> bool {
        meta.owner_references.iter().flatten().any(|owner| owner.uid == self.uid)
    }

    fn called<K: Part>(&self, name: &str) -> String {
        format!("{} {}/{name}", K::kind(&()), self.namespace)
    }

    async fn within<T>(
        &self,
        attempt: &'static str,
        object: String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, EnsureError> {
        match tokio::time::timeout(DEADLINE, request).await {
            Ok(done) => done.map_err(|source| failure(attempt, object, source)),
            Err(_late) => Err(EnsureError::Late { attempt, object }),
        }
    }
}

/// When an object was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Created {
    Now { uid: String },
    Before,
}

/// A quota is the user's to change, and in a namespace that goes there is nothing left to make.
fn failure(attempt: &'static str, object: String, source: kube::Error) -> EnsureError {
    match source {
        kube::Error::Api(status) if status.code == 403 && is_ending(&status) => {
            EnsureError::Ending { attempt, object }
        }
        kube::Error::Api(status)
            if status.code == 403 && status.message.contains("exceeded quota") =>
        {
            EnsureError::Quota { attempt, object, said: status.message.clone() }
        }
        // What else is in the answer is not for people.
        kube::Error::Api(status) => {
            let Status { message: said, code, .. } = *status;
            EnsureError::Refused { attempt, object, said, code }
        }
        source => EnsureError::Ask { attempt, object, source },
    }
}

fn is_ending(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn code(error: &EnsureError) -> Option<u16> {
    match error {
        EnsureError::Refused { code, .. } => Some(*code),
        EnsureError::Ask { .. }
        | EnsureError::Late { .. }
        | EnsureError::Quota { .. }
        | EnsureError::Ending { .. }
        | EnsureError::Foreign { .. }
        | EnsureError::Outlived { .. }
        | EnsureError::DrawPassword { .. } => None,
    }
}

fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn a_refusal_is_told_by_what_it_is_for() {
        let refused = |message: &str, causes: &serde_json::Value| {
            let status = json!({
                "status": "Failure", "reason": "Forbidden", "code": 403, "message": message,
                "details": {"name": "db-1", "kind": "pods", "causes": causes},
            });
            let source = kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()));
            failure("creating", "Pod shop/db-1".to_owned(), source).to_string() + "\n"
        };
        let ending = json!([{
            "reason": "NamespaceTerminating", "message": "namespace shop is being terminated",
            "field": "metadata.namespace",
        }]);
        let told = [
            refused("unable to create new content in namespace shop", &ending),
            refused("exceeded quota: full, requested: pods=1", &json!([])),
            refused("no right to do so", &json!([])),
        ];
        expect![[r"
            creating Pod shop/db-1: its namespace is being deleted
            creating Pod shop/db-1: exceeded quota: full, requested: pods=1: raise the quota, or remove what it is used for, and the cluster goes on by itself
            creating Pod shop/db-1: no right to do so
        "]]
        .assert_eq(&told.concat());
    }
}
