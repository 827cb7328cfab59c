//! Makes every object of a cluster from plain values: one file a kind of object.
//!
//! Never fails, and never looks at what exists: whoever calls compares and writes.

pub mod access;
pub mod budgets;
pub mod claims;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod identity;
pub mod inherited;
pub mod labels;
pub mod pod;
pub mod route;
pub mod secrets;
pub mod services;
pub mod specification;
pub mod volumes;

use super::catalog;
use crate::settings::Settings;
use aws_lc_rs::digest::SHA256;
use pgherd_api::cluster::spec::ClusterSpec;
use pgherd_api::cluster::{Checked, Cluster};
use serde::Serialize;
use std::fmt::Write as _;

/// Everything that the objects of a cluster are made from.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint<'a> {
    /// The cluster as it is written.
    pub cluster: &'a Cluster,
    /// What it means.
    pub checked: &'a Checked,
    /// Where it lives.
    pub namespace: &'a str,
    /// What the operator was configured with.
    pub settings: &'a Settings,
    /// What the catalog has that the manifest names.
    pub catalog_image: Option<&'a str>,
    /// What the instances run whatever is written: no other image can read their data.
    pub held_image: Option<&'a str>,
}

impl<'a> Blueprint<'a> {
    /// The cluster's name, which is that of its Lease and of its account, too.
    pub fn name(&self) -> &'a str {
        self.checked.name.as_str()
    }

    /// The name of an object of the cluster.
    pub fn named(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name())
    }

    /// The image that the instances run.
    ///
    /// Without a name in the specification it is what the catalog has, and without that the one in
    /// the status: there the operator notes what it found in a catalog, and what was the default when
    /// the cluster was made. A new default must not bring another major version to data that exists.
    pub fn image(&self) -> &'a str {
        if let Some(held) = self.held_image {
            return held;
        }
        let written = self.spec().image_name.as_deref().or(self.catalog_image);
        written.or_else(|| catalog::noted(self.cluster)).unwrap_or(&self.settings.postgres_image)
    }

    fn spec(&self) -> &'a ClusterSpec {
        &self.cluster.spec
    }
}

/// A list as a field that is absent when it is empty.
fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A short text that is the same for the same content.
pub(crate) fn digest(content: &impl Serialize) -> String {
    // Such types always become JSON; if one does not, the text changes, and nothing is hidden.
    let json = serde_json::to_vec(content).unwrap_or_else(|error| error.to_string().into_bytes());
    // Half of the digest is more than enough to tell versions of one object apart.
    let digest = aws_lc_rs::digest::digest(&SHA256, &json);
    digest.as_ref().iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::fixtures::Sample;
    use super::*;
    use k8s_openapi::api::core::v1::Secret;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
    use pgherd_api::agent::Specification;
    use pgherd_core::wishes::{Shall, Wishes};

    /// All that is made of a cluster with all that can be asked for.
    fn everything(it: &Blueprint<'_>, sample: &Sample) -> Vec<ObjectMeta> {
        let first = sample.instance(1);
        let wishes = Wishes::default();
        let told = Specification::numbered(1, it.checked, &wishes, Shall::Run);
        let map = specification::config_map(it, &told, &wishes).unwrap();
        let budgets = budgets::budgets(it, budgets::Succession::Certain).into_iter();
        let services = services::services(it).into_iter();
        let claims = claims::claims(it, &first, claims::ClaimStatus::Ready).into_iter();
        let account = access::service_account(it).into_iter();
        let alone = [
            access::role(it).metadata,
            access::role_binding(it).metadata,
            route::lease(it).metadata,
            route::slice(it, route::AddressFamily::V4).metadata,
            map.metadata,
            pod::pod(it, &first).metadata,
            secrets::app(it, "app", "app", "x").metadata,
            secrets::superuser(it, "x").metadata,
            secrets::pull(it, &Secret::default()).metadata,
        ];
        alone
            .into_iter()
            .chain(budgets.map(|it| it.metadata))
            .chain(services.map(|it| it.metadata))
            .chain(claims.map(|it| it.metadata))
            .chain(account.map(|it| it.metadata))
            .collect()
    }

    #[test]
    fn a_cluster_that_is_deleted_in_the_foreground_waits_for_all_it_owns() {
        let sample = Sample::spec(
            "instances: 3\nstorage: {size: 1Gi}\nwalStorage: {size: 1Gi}\nenableSuperuserAccess: true",
        );
        let all = sample.made(|it| everything(it, &sample));
        assert!(all.len() > 15, "{}", all.len());
        for metadata in all {
            let name = metadata.name.unwrap_or_default();
            let owners = metadata.owner_references.unwrap_or_default();
            let [OwnerReference { kind, uid, controller, block_owner_deletion, .. }] =
                owners.as_slice()
            else {
                panic!("{name}: {owners:?}");
            };
            assert_eq!((kind.as_str(), uid.as_str()), ("Cluster", "5f2c"), "{name}");
            assert_eq!((*controller, *block_owner_deletion), (Some(true), Some(true)), "{name}");
        }
    }
}
