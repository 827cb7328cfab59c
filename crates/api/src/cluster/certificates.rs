//! Which certificates the cluster uses. Never holds a key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificates from Secrets instead of generated ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Certificates {
    /// The Secret with the authority that signed the server's certificate (`ca.crt`; with `ca.key`
    /// it signs new ones, too). Generated when absent.
    #[serde(rename = "serverCASecret", skip_serializing_if = "Option::is_none")]
    pub server_ca_secret: Option<String>,
    /// The Secret with the server's certificate and key. Generated when absent.
    #[serde(rename = "serverTLSSecret", skip_serializing_if = "Option::is_none")]
    pub server_tls_secret: Option<String>,
    /// The Secret with the authority that clients' certificates are checked with. Generated when
    /// absent.
    #[serde(rename = "clientCASecret", skip_serializing_if = "Option::is_none")]
    pub client_ca_secret: Option<String>,
    /// The Secret with the certificate and key of user `streaming_replica`. Generated when absent.
    #[serde(rename = "replicationTLSSecret", skip_serializing_if = "Option::is_none")]
    pub replication_tls_secret: Option<String>,
    /// Further names for the generated server certificate.
    #[serde(rename = "serverAltDNSNames", skip_serializing_if = "Vec::is_empty")]
    pub server_alt_dns_names: Vec<String>,
}
