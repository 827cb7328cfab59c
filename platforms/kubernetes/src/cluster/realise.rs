//! Makes, changes and removes objects until they are what is wanted.
//!
//! Never touches an object that is not this cluster's, and never writes what agents write.

mod certified;
mod ensure;
mod instances;

use super::manifests::route::{self, AddressFamily};
use super::manifests::specification::SpecificationError;
use super::manifests::{Blueprint, access, budgets, secrets, services, specification};
use super::observe::Seen;
use super::wanted::{Freshness, Wanted};
use super::{ReconcileError, certificates};
use crate::run::Context;
pub(super) use ensure::EnsureError;
use ensure::Objects;
use k8s_openapi::api::core::v1::Secret;
use pgherd_api::agent::Superuser;
use pgherd_core::fleet::Plan;
use std::time::SystemTime;

#[derive(Debug, thiserror::Error)]
pub enum RealiseError {
    #[error("writing what agents are told")]
    Tell(#[source] SpecificationError),
    #[error("making its objects")]
    Ensure(#[source] EnsureError),
    #[error("making its certificates")]
    Certify(#[source] certificates::CertificateError),
    #[error("{0}")]
    Supplied(String),
}

impl From<RealiseError> for ReconcileError {
    fn from(error: RealiseError) -> Self {
        Self::Realise(error)
    }
}

/// Everything but the status.
pub(super) async fn realise(
    context: &Context,
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    now: SystemTime,
) -> Result<(), RealiseError> {
    let objects = Objects::new(context, blueprint);
    certified::realise(&objects, blueprint, (seen, wanted), now).await?;
    let ensured = |done: Result<(), EnsureError>| done.map_err(RealiseError::Ensure);
    ensured(passwords(&objects, blueprint).await)?;
    ensured(access_and_ways(&objects, blueprint).await)?;
    // What was decided is kept before it is acted upon.
    tell(&objects, blueprint, wanted).await?;
    ensured(instances::realise(&objects, blueprint, (seen, plan)).await)?;
    let forgotten = instances::forget(plan, &wanted.wishes);
    if let Some(wishes) = forgotten {
        let map = specification::config_map(blueprint, &wanted.specification, &wishes);
        ensured(objects.ensure(map.map_err(RealiseError::Tell)?).await)?;
    }
    Ok(())
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

/// Passwords that nobody has given are made up, once.
async fn passwords(objects: &Objects<'_>, blueprint: &Blueprint<'_>) -> Result<(), EnsureError> {
    let initdb = &blueprint.checked.postgres.initdb;
    if blueprint.checked.owner_secret.is_none() {
        objects
            .ensure_once::<Secret>(&blueprint.app_secret(), |password| {
                secrets::app(blueprint, &initdb.owner, &initdb.database, password)
            })
            .await?;
    }
    match blueprint.checked.postgres.superuser {
        Superuser::Allowed if blueprint.cluster.spec.superuser_secret.is_none() => {
            objects
                .ensure_once::<Secret>(&blueprint.superuser_secret(), |password| {
                    secrets::superuser(blueprint, password)
                })
                .await
        }
        Superuser::Allowed | Superuser::Refused => Ok(()),
    }
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
    objects.ensure_all(budgets::budgets(blueprint)).await?;
    objects.create(route::lease(blueprint)).await?;
    objects.create(route::slice(blueprint, AddressFamily::V4)).await
}
