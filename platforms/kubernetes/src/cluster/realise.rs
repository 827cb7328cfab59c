//! Makes, changes and removes objects until they are what is wanted.
//!
//! Never touches an object that is not this cluster's, and never writes what agents write.

mod certified;
mod ensure;
mod external;
mod first;
mod instances;
mod looked;
mod ownership;

use super::catalog::{CatalogError, INVALID_CATALOG};
use super::certificates::CertificateError;
use super::events::{self, Done};
use super::manifests::budgets::Succession;
use super::manifests::specification::SpecificationError;
use super::manifests::{
    Blueprint, access, budgets, identity, route, secrets, services, specification,
};
use super::observe::Seen;
use super::wanted::{Freshness, Wanted};
use super::{INVALID, ReconcileError, UNABLE};
use crate::hindrance;
use crate::pull::Original;
use crate::run::Context;
pub(super) use certified::{operator_identity, status as certificates};
pub(super) use ensure::EnsureError;
use ensure::Objects;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
pub use looked::Looked;
use pgherd_agent::chain::chain;
use pgherd_api::agent::{Specification, Superuser};
use pgherd_core::fleet::settings::Next;
use pgherd_core::fleet::{Plan, Verdict};
use pgherd_core::names::InstanceName;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tracing::{debug, info};

#[derive(Debug, thiserror::Error)]
pub enum RealiseError {
    #[error("writing what agents are told")]
    Tell(#[source] SpecificationError),
    #[error("making its objects")]
    Ensure(#[source] EnsureError),
    #[error("making its certificates")]
    Certify(#[source] CertificateError),
    /// Secrets that the user gives are not there.
    #[error("{0}")]
    Lack(String),
    /// Certificates that the user gives cannot be used.
    #[error("{0}")]
    Supplied(String),
    #[error("{instance} cannot make the cluster yet: {why}")]
    First { instance: InstanceName, why: String },
    #[error(transparent)]
    Catalog(CatalogError),
    /// What runs goes on as it is.
    #[error("{0}")]
    Major(String),
}

impl RealiseError {
    /// Whether the namespace goes, and all that is in it.
    pub(super) fn is_the_end(&self) -> bool {
        match self {
            Self::Ensure(error) => matches!(error, EnsureError::Ending { .. }),
            Self::Tell(_)
            | Self::Certify(_)
            | Self::Lack(_)
            | Self::Supplied(_)
            | Self::First { .. }
            | Self::Catalog(_)
            | Self::Major(_) => false,
        }
    }

    /// Whether what is wanted cannot go on. What is refused is left alone, and what runs does.
    pub(super) fn stands_in_the_way(&self) -> bool {
        match self {
            Self::Major(_) => false,
            Self::Tell(_)
            | Self::Ensure(_)
            | Self::Certify(_)
            | Self::Lack(_)
            | Self::Supplied(_)
            | Self::First { .. }
            | Self::Catalog(_) => true,
        }
    }

    /// What people's scripts know it as.
    pub(super) fn phase(&self) -> &'static str {
        match self {
            Self::Tell(_)
            | Self::Ensure(_)
            | Self::Certify(_)
            | Self::Lack(_)
            | Self::Supplied(_) => UNABLE,
            Self::First { .. } => "Setting up primary",
            Self::Catalog(_) => INVALID_CATALOG,
            Self::Major(_) => INVALID,
        }
    }
}

impl From<RealiseError> for ReconcileError {
    fn from(error: RealiseError) -> Self {
        Self::Realise(error)
    }
}

/// Everything but the status. What was done is told also if then something fails.
pub(super) async fn realise(
    context: &Context,
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    now: SystemTime,
    done: &mut Vec<Done>,
) -> Result<(), RealiseError> {
    let objects = Objects::new(context, blueprint);
    let uid = blueprint.cluster.metadata.uid.as_deref().unwrap_or_default();
    let ensured = |done: Result<(), EnsureError>| done.map_err(RealiseError::Ensure);
    let state = looked::state(blueprint, (seen, wanted, plan));
    let is_good = |state: &String| context.looked.is_recent(uid, state, Instant::now());
    let mut made = Vec::new();
    if !state.as_ref().is_some_and(is_good) {
        let certified = certified::realise(&objects, blueprint, (seen, wanted), now).await?;
        made = certified.made;
        done.extend(context.warned.news(uid, certified.ending).into_iter().map(Done::FoundEnding));
        external::keys(&objects, blueprint, wanted).await?;
        if let Some(state) = state {
            context.looked.note(uid, state, Instant::now());
        }
    }
    made.extend(given_passwords(&objects, blueprint).await?);
    made.extend(passwords(&objects, blueprint).await.map_err(RealiseError::Ensure)?);
    ensured(pulled_with(&objects, blueprint, context.pull.as_ref()).await)?;
    ensured(access_and_ways(&objects, blueprint).await)?;
    ensured(objects.ensure_all(budgets::budgets(blueprint, succession(seen, plan))).await)?;
    // What was decided is kept before it is acted upon.
    tell(&objects, blueprint, wanted).await?;
    done.extend(events::asked(wanted.before.as_ref(), &wanted.specification));
    if !identities(&objects, blueprint, (seen, wanted), made).await? {
        debug!(cluster = blueprint.name(), "what pods are shown is not all known yet");
        return Ok(());
    }
    ensured(instances::realise(&objects, blueprint, (seen, plan), done).await)?;
    let forgotten = instances::forget(plan, &wanted.wishes);
    if let Some(wishes) = forgotten {
        let map = specification::config_map(blueprint, &wanted.specification, &wishes);
        ensured(objects.ensure(map.map_err(RealiseError::Tell)?).await)?;
    }
    first::look(blueprint, (seen, wanted, plan), now).await
}

/// What each instance is shown. Whether there is all of it: what was made just now, or is `seen`.
async fn identities(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    made: Vec<Secret>,
) -> Result<bool, RealiseError> {
    let mut known = seen.secrets.clone();
    let named = made.into_iter().filter_map(|made| Some((made.metadata.name.clone()?, made)));
    known.extend(named.map(|(name, made)| (name, Arc::new(made))));
    for instance in wanted.wishes.instances.keys() {
        let Some(identity) = identity::secret(blueprint, instance, &known) else {
            return Ok(false);
        };
        objects.ensure(identity).await.map_err(RealiseError::Ensure)?;
    }
    Ok(true)
}

async fn tell(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    wanted: &Wanted,
) -> Result<(), RealiseError> {
    match wanted.freshness {
        Freshness::Kept => return Ok(()),
        Freshness::Changed => {}
    }
    let map = specification::config_map(blueprint, &wanted.specification, &wanted.wishes);
    let map = map.map_err(RealiseError::Tell)?;
    objects.ensure(map).await.map_err(RealiseError::Ensure)
}

/// Asks the agents for what lets the primary take up settings that wait for a restart.
pub(super) async fn take_up(
    context: &Context,
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    next: Next,
    done: &mut Vec<Done>,
) -> Result<(), RealiseError> {
    let mut wishes = wanted.wishes.clone();
    match (next, &seen.record) {
        (Next::SwitchOver, record) => {
            _ = wishes.switch_over(None, record.as_ref().map(|record| record.epoch));
        }
        (Next::Restart, Some(record)) => {
            _ = wishes.restart([record.holder.instance.clone()].into());
        }
        (Next::Restart, None) | (Next::Nothing | Next::ForTheUser, _) => return Ok(()),
    }
    info!(cluster = blueprint.name(), ?next, "the primary takes up settings that need a restart");
    let (known, checked) = (&wanted.specification, blueprint.checked);
    let specification = Specification::next(Some(known), checked, &wishes, wanted.shall);
    let specification = specification.as_ref().unwrap_or(known);
    let map = specification::config_map(blueprint, specification, &wishes);
    let map = map.map_err(RealiseError::Tell)?;
    Objects::new(context, blueprint).ensure(map).await.map_err(RealiseError::Ensure)?;
    done.extend(events::asked(Some(known), specification));
    Ok(())
}

/// Passwords that the user gives have to be there before a pod waits for them. They come back: pods see copies. Their
/// Secrets are not watched, so that each round asks for them: a password that changes is to count soon.
async fn given_passwords(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
) -> Result<Vec<Secret>, RealiseError> {
    let superuser = blueprint.cluster.spec.superuser_secret.as_ref().map(|secret| &secret.name);
    let superuser = match blueprint.checked.postgres.superuser {
        Superuser::Allowed => superuser,
        Superuser::Refused => None,
    };
    let owner = if blueprint.checked.postgres.copy_of.is_some() {
        "spec.bootstrap.pg_basebackup.secret"
    } else if blueprint.cluster.recovered().is_some() {
        "spec.bootstrap.recovery.secret"
    } else {
        "spec.bootstrap.initdb.secret"
    };
    let given =
        [(owner, blueprint.checked.owner_secret.as_ref()), ("spec.superuserSecret", superuser)];
    let mut all = Vec::new();
    for (field, name) in given.into_iter().filter_map(|(field, name)| Some((field, name?))) {
        let found = objects.find::<Secret>(name).await.map_err(RealiseError::Ensure)?;
        if let Some(complaint) = complaint(found.as_ref()) {
            let fix =
                "create it with type kubernetes.io/basic-auth and the keys username and password";
            return Err(RealiseError::Lack(format!(
                "Secret {name}, which {field} names, {complaint}: {fix}, and the cluster goes on by itself"
            )));
        }
        all.extend(found);
    }
    Ok(all)
}

fn complaint(secret: Option<&Secret>) -> Option<&'static str> {
    let Some(secret) = secret else { return Some("does not exist") };
    let password = secret.data.as_ref().and_then(|data| data.get("password"));
    password.is_none_or(|password| password.0.is_empty()).then_some("has no password")
}

/// Passwords that nobody has given are made up, once. What was made comes back.
async fn passwords(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
) -> Result<Vec<Secret>, EnsureError> {
    let initdb = &blueprint.checked.postgres.initdb;
    let mut made = Vec::new();
    if blueprint.checked.owner_secret.is_none() {
        let name = blueprint.app_secret();
        let app = objects.ensure_once::<Secret>(&name, |password| {
            secrets::app(blueprint, &initdb.owner, &initdb.database, password)
        });
        made.extend(app.await?);
    }
    match blueprint.checked.postgres.superuser {
        Superuser::Allowed if blueprint.cluster.spec.superuser_secret.is_none() => {
            let name = blueprint.superuser_secret();
            let superuser = objects
                .ensure_once::<Secret>(&name, |password| secrets::superuser(blueprint, password));
            made.extend(superuser.await?);
        }
        Superuser::Allowed => {}
        // What was made up for it is of no use any more; one that the user gave is the user's.
        Superuser::Refused => objects.delete_own::<Secret>(&blueprint.named("superuser")).await?,
    }
    Ok(made)
}

async fn access_and_ways(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
) -> Result<(), EnsureError> {
    if let Some(account) = access::service_account(blueprint) {
        objects.ensure(account).await?;
    }
    objects.ensure(access::role(blueprint)).await?;
    objects.ensure(access::role_binding(blueprint)).await?;
    objects.ensure_all(services::services(blueprint)).await?;
    objects.create(route::lease(blueprint)).await?;
    lead(objects, blueprint).await
}

fn succession(seen: &Seen, plan: &Plan) -> Succession {
    let node = |name| seen.pods.get(name)?.spec.as_ref()?.node_name.as_deref();
    let holder = seen.record.as_ref().map(|record| &record.holder.instance);
    let others = seen.pods.keys().filter(|name| Some(*name) != holder);
    // While somebody waits to be replaced all are well, too.
    let is_well = matches!(plan.verdict, Verdict::Healthy | Verdict::Delayed { .. });
    if is_well && is_apart(holder.and_then(node), others.map(node)) {
        Succession::Certain
    } else {
        Succession::Doubtful
    }
}

/// Whether no other instance is evicted together with the primary.
fn is_apart<'a>(home: Option<&str>, mut others: impl Iterator<Item = Option<&'a str>>) -> bool {
    home.is_some() && others.all(|other| other != home)
}

/// The addresses that lead to the primary, in the family that their service has.
async fn lead(objects: &Objects<'_>, blueprint: &Blueprint<'_>) -> Result<(), EnsureError> {
    let name = services::of_primary(&blueprint.checked.name);
    if objects.has::<EndpointSlice>(&name)? {
        return Ok(());
    }
    // Which family the service has is known once it has been seen.
    let Some(service) = objects.known::<Service>(&name) else { return Ok(()) };
    let family = route::family(&service);
    objects.create(route::slice(blueprint, family)).await.map(drop)
}

/// The Secrets that images are to be pulled with and that do not exist. Nobody asks before an image
/// cannot be pulled: nodes may have it.
pub(super) async fn lacking(
    context: &Context,
    blueprint: &Blueprint<'_>,
    seen: &Seen,
) -> Vec<String> {
    if !seen.pods.values().any(|pod| hindrance::lacks_image(pod)) {
        return Vec::new();
    }
    let objects = Objects::new(context, blueprint);
    let mut lacking = Vec::new();
    for secret in &blueprint.cluster.spec.image_pull_secrets {
        match objects.find::<Secret>(&secret.name).await {
            Ok(Some(_)) => {}
            Ok(None) => lacking.push(secret.name.clone()),
            Err(error) => debug!(secret = secret.name, error = %chain(&error), "not looked at"),
        }
    }
    lacking
}

/// The copy of what images are pulled with. Without the original pods may be able to do without:
/// what they lack, Kubernetes tells.
async fn pulled_with(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    original: Option<&Original>,
) -> Result<(), EnsureError> {
    match original.and_then(Original::get) {
        Some(original) => objects.ensure(secrets::pull(blueprint, &original)).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn a_primary_is_apart_when_nobody_shares_its_node() {
        let apart = |home, others: [Option<&str>; 2]| is_apart(home, others.into_iter());
        assert!(apart(Some("n1"), [Some("n2"), Some("n3")]));
        assert!(!apart(Some("n1"), [Some("n2"), Some("n1")]));
        assert!(!apart(None, [Some("n2"), None]));
    }

    #[test]
    fn a_secret_without_a_password_is_told_from_one_that_is_missing() {
        let with = |key: &str, value: &[u8]| Secret {
            data: Some([(key.to_owned(), ByteString(value.to_vec()))].into()),
            ..Secret::default()
        };
        assert_eq!(complaint(None), Some("does not exist"));
        assert_eq!(complaint(Some(&Secret::default())), Some("has no password"));
        assert_eq!(complaint(Some(&with("password", b""))), Some("has no password"));
        assert_eq!(complaint(Some(&with("password", b"x"))), None);
    }
}
