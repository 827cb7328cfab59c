//! Writes the Secrets with certificates that are missing, run out, or are not what they shall be.
//!
//! Never writes a Secret that the user has given.

use super::super::certificates::{
    self, CertificateError, Complaint, Content, Issued, Kind, Life, Present,
};
use super::super::manifests::{Blueprint, secrets};
use super::super::observe::Seen;
use super::super::wanted::Wanted;
use super::RealiseError;
use super::ensure::Objects;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use pgherd_agent::tls::files::Parts;
use pgherd_api::cluster::status::CertificatesStatus;
use std::collections::BTreeSet;
use std::time::SystemTime;
use tracing::info;

/// What was issued, and what the user is to be warned of.
pub(super) struct Certified {
    pub(super) made: Vec<Secret>,
    pub(super) ending: Vec<Complaint>,
}

/// Writes all but what agents show to each other: that is a part of the Secret of an instance.
pub(super) async fn realise(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    now: SystemTime,
) -> Result<Certified, RealiseError> {
    let wanted = wanted_certificates(blueprint, wanted);
    let mut present = present(seen);
    for name in supplied(&wanted) {
        let found = objects.find::<Secret>(name).await.map_err(RealiseError::Ensure)?;
        present.secrets.extend(found.map(|secret| (name.clone(), content(&secret))));
    }
    let complaints = certificates::complaints(&present, &wanted, now);
    if !complaints.is_empty() {
        let told: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        return Err(RealiseError::Supplied(told.join("; ")));
    }
    let issued = certificates::next(&present, &wanted, now).map_err(RealiseError::Certify)?;
    let of_agents: BTreeSet<String> = wanted.instances.iter().map(secrets::agent_name).collect();
    let mut made = Vec::new();
    for one in issued {
        info!(secret = %one.secret, reason = ?one.reason, "certificate is issued");
        let is_of_agent = of_agents.contains(&one.secret);
        let secret = secret(blueprint, one);
        if !is_of_agent {
            objects.ensure(secret.clone()).await.map_err(RealiseError::Ensure)?;
        }
        made.push(secret);
    }
    Ok(Certified { made, ending: certificates::ending(&present, &wanted, now) })
}

/// What this operator calls the agents of the cluster as, once their authority is made.
pub(in crate::cluster) fn operator_identity(
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
    now: SystemTime,
) -> Result<Option<Parts>, CertificateError> {
    certificates::supervisor(&present(seen), &wanted_certificates(blueprint, wanted), now)
}

/// Which certificates are in use, and until when.
pub(in crate::cluster) fn status(
    blueprint: &Blueprint<'_>,
    (seen, wanted): (&Seen, &Wanted),
) -> CertificatesStatus {
    certificates::status(&present(seen), &wanted_certificates(blueprint, wanted))
}

/// The Secrets that the user has given. They have no label of ours, so they are asked for.
fn supplied(wanted: &certificates::Wanted) -> impl Iterator<Item = &String> {
    let given = &wanted.supplied;
    let all = [
        &given.server_ca_secret,
        &given.server_tls_secret,
        &given.client_ca_secret,
        &given.replication_tls_secret,
    ];
    all.into_iter().flatten()
}

fn content(secret: &Secret) -> Content {
    let entries = secret.data.iter().flatten();
    entries.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn present(seen: &Seen) -> Present {
    let secrets = seen.secrets.iter().map(|(name, secret)| (name.clone(), content(secret)));
    Present { secrets: secrets.collect() }
}

fn wanted_certificates(blueprint: &Blueprint<'_>, wanted: &Wanted) -> certificates::Wanted {
    let settings = blueprint.settings;
    certificates::Wanted {
        cluster: blueprint.checked.name.clone(),
        namespace: blueprint.namespace.to_owned(),
        domain: settings.cluster_domain.clone(),
        instances: wanted.wishes.instances.keys().cloned().collect(),
        supplied: blueprint.cluster.spec.certificates.clone().unwrap_or_default(),
        life: Life {
            length: settings.certificate_duration,
            renewal: settings.expiring_check_threshold,
        },
    }
}

fn secret(blueprint: &Blueprint<'_>, issued: Issued) -> Secret {
    let kind = match issued.kind {
        Kind::Tls => "kubernetes.io/tls",
        Kind::Opaque => "Opaque",
    };
    let entries = issued.content.into_iter().map(|(key, value)| (key, ByteString(value)));
    Secret {
        metadata: blueprint.metadata(issued.secret),
        type_: Some(kind.to_owned()),
        data: Some(entries.collect()),
        ..Secret::default()
    }
}
