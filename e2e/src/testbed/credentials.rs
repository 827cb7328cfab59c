//! Makes the testbed's authority, and a certificate and kubeconfig for each of its programs.
//!
//! Never valid anywhere else: the authority lives and dies with the testbed.

use super::layout::{API_PORT, API_SERVICE, Holder, Layout, Machine};
use anyhow::Result;
use pgherd_agent::durable::{self, Access};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

const VALIDITY: Duration = Duration::from_hours(365 * 24);
// A client whose clock is a little behind must not refuse what was made a moment ago.
const BACKDATED: Duration = Duration::from_hours(1);

/// Signs and checks the tokens of service accounts.
pub(super) const TOKEN_KEY: &str = "tokens.key";
pub(super) const TOKEN_PUBLIC_KEY: &str = "tokens.pub";
/// The authority's own key: the controller manager signs requests with it.
pub(super) const AUTHORITY_KEY: &str = "ca.key";

/// Writes all of it anew.
pub(super) fn write(layout: &Layout) -> Result<()> {
    let folder = layout.keys();
    fs::create_dir_all(&folder)?;
    let key = KeyPair::generate()?;
    let mut params = named("pgherd-testbed", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let certificate = params.self_signed(&key)?.pem();
    durable::write(&folder.join(AUTHORITY_KEY), key.serialize_pem().as_bytes(), Access::PRIVATE)?;
    durable::write(&layout.authority(), certificate.as_bytes(), Access::PUBLIC)?;
    let issuer = Issuer::new(params, key);
    for holder in Holder::all() {
        let key = KeyPair::generate()?;
        let leaf = leaf(holder)?.signed_by(&key, &issuer)?;
        durable::write(&layout.certificate(holder), leaf.pem().as_bytes(), Access::PUBLIC)?;
        durable::write(&layout.key(holder), key.serialize_pem().as_bytes(), Access::PRIVATE)?;
        let text = kubeconfig(layout, holder).to_string();
        durable::write(&layout.kubeconfig(holder), text.as_bytes(), Access::PRIVATE)?;
    }
    let tokens = KeyPair::generate()?;
    let public = tokens.public_key_pem();
    durable::write(&folder.join(TOKEN_KEY), tokens.serialize_pem().as_bytes(), Access::PRIVATE)?;
    durable::write(&folder.join(TOKEN_PUBLIC_KEY), public.as_bytes(), Access::PUBLIC)?;
    Ok(())
}

/// The common name and organisation are the user and the group in Kubernetes.
fn identity(holder: Holder) -> (String, Option<&'static str>) {
    match holder {
        Holder::ApiServer => ("kube-apiserver".to_owned(), None),
        Holder::Admin => ("admin".to_owned(), Some("system:masters")),
        Holder::ControllerManager => ("system:kube-controller-manager".to_owned(), None),
        Holder::Scheduler => ("system:kube-scheduler".to_owned(), None),
        Holder::Proxy => ("system:kube-proxy".to_owned(), None),
        Holder::FrontProxy => ("front-proxy".to_owned(), None),
        Holder::Node(node) => (format!("system:node:{node}"), Some("system:nodes")),
    }
}

fn leaf(holder: Holder) -> Result<CertificateParams> {
    let (user, group) = identity(holder);
    let mut params = named(&user, group);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let (names, addresses): (Vec<String>, Vec<String>) = match holder {
        Holder::ApiServer => {
            let service = "kubernetes.default.svc.cluster.local";
            let short = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", service];
            let addresses =
                [Machine::ControlPlane.address(), API_SERVICE.into(), "127.0.0.1".into()];
            (short.map(str::to_owned).into(), addresses.into())
        }
        Holder::Node(node) => (vec![node.to_string()], vec![Machine::Node(node).address()]),
        Holder::Admin
        | Holder::ControllerManager
        | Holder::Scheduler
        | Holder::Proxy
        | Holder::FrontProxy => (Vec::new(), Vec::new()),
    };
    for name in names {
        params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    for address in addresses {
        params.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>()?));
    }
    Ok(params)
}

fn named(common_name: &str, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + VALIDITY).into();
    params
}

/// YAML's readers take JSON.
fn kubeconfig(layout: &Layout, holder: Holder) -> serde_json::Value {
    let server = format!("https://{}:{API_PORT}", Machine::ControlPlane.address());
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {
            "server": server,
            "certificate-authority": layout.authority(),
        }}],
        "users": [{"name": holder.to_string(), "user": {
            "client-certificate": layout.certificate(holder),
            "client-key": layout.key(holder),
        }}],
        "contexts": [{"name": "testbed", "context": {
            "cluster": "testbed",
            "user": holder.to_string(),
        }}],
        "current-context": "testbed",
    })
}
