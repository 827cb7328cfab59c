//! Tells users which certificates are in use and until when.
//!
//! Never shows more of a Secret than its name and its end.

use super::super::manifests::secrets;
use super::{AUTHORITY_CERTIFICATE, CERTIFICATE, Content, Present, Wanted};
use jiff::Timestamp;
use pgherd_agent::tls::inspect;
use pgherd_api::cluster::status::CertificatesStatus;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What `status.certificates` says.
pub fn status(present: &Present, wanted: &Wanted) -> CertificatesStatus {
    let [server_ca, server_tls, client_ca, replication_tls] = secrets(wanted);
    CertificatesStatus {
        server_ca_secret: Some(server_ca),
        server_tls_secret: Some(server_tls),
        client_ca_secret: Some(client_ca),
        replication_tls_secret: Some(replication_tls),
        server_alt_dns_names: wanted.server_names().into_iter().collect(),
        expirations: expirations(present, wanted),
    }
}

/// A moment as CNPG writes it into a status, which scripts parse.
pub fn moment(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => "beyond the calendar".to_owned(),
    }
}

/// Until when the certificate in each Secret in use is good, as far as it can be read.
fn expirations(present: &Present, wanted: &Wanted) -> BTreeMap<String, String> {
    let agents = wanted.instances.iter().map(secrets::agent_name);
    let all = secrets(wanted).into_iter().chain([wanted.agents_secret()]).chain(agents);
    let ends = all.filter_map(|secret| {
        let end = moment(end(present.secrets.get(&secret)?)?);
        Some((secret, end))
    });
    ends.collect()
}

/// The Secrets in use between servers and clients, in the order of the status.
fn secrets(wanted: &Wanted) -> [String; 4] {
    let supplied = &wanted.supplied;
    [
        (&supplied.server_ca_secret, wanted.authority_secret()),
        (&supplied.server_tls_secret, wanted.server_secret()),
        (&supplied.client_ca_secret, wanted.authority_secret()),
        (&supplied.replication_tls_secret, wanted.replication_secret()),
    ]
    .map(|(given, own)| given.clone().unwrap_or(own))
}

fn end(content: &Content) -> Option<SystemTime> {
    let pem = content.get(CERTIFICATE).or_else(|| content.get(AUTHORITY_CERTIFICATE))?;
    let certificates = inspect::certificates(pem).ok()?;
    inspect::facts(certificates.first()?).ok().map(|facts| facts.not_after)
}
