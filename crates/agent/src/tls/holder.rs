//! Names whom a certificate speaks for, and how that is written into it.
//!
//! Never reads a name from anything but a certificate that was verified before.

use pgherd_core::names::InstanceName;
use rustls::pki_types::{DnsName, ServerName};
use std::fmt;

/// The PostgreSQL role that streams; its certificate is a client's and nothing else.
pub const REPLICATION_ROLE: &str = "streaming_replica";
/// Every instance's certificate is also good for this name, for clients on the same machine.
pub(super) const LOCALHOST: &str = "localhost";
const RECORD: &str = "record";
const SUPERVISOR: &str = "supervisor";

/// Whom a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An instance: its agent towards peers and its PostgreSQL towards clients.
    Instance(InstanceName),
    /// PostgreSQL's replication role. A login, not a peer: it may call nobody's agent.
    Replication,
    /// The service that keeps the cluster's record.
    Record,
    /// The platform that starts and stops instances.
    Supervisor,
}

impl Holder {
    /// What the certificate is made out to (its common name).
    pub fn common_name(&self) -> String {
        match self {
            Self::Instance(name) => name.to_string(),
            Self::Replication => REPLICATION_ROLE.to_owned(),
            Self::Record => RECORD.to_owned(),
            Self::Supervisor => SUPERVISOR.to_owned(),
        }
    }

    /// The name a caller checks and a callee is told. An instance's always ends in its serial, so
    /// the fixed names cannot be an instance's. The replication role has none.
    pub(super) fn dns_name(&self) -> Option<String> {
        match self {
            Self::Instance(_) | Self::Record | Self::Supervisor => Some(self.common_name()),
            Self::Replication => None,
        }
    }

    /// The name a TLS client insists on when it dials this holder.
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        let name = DnsName::try_from(self.dns_name()?).ok()?;
        Some(ServerName::DnsName(name))
    }

    pub(super) fn from_dns_name(name: &str) -> Option<Self> {
        match name {
            RECORD => Some(Self::Record),
            SUPERVISOR => Some(Self::Supervisor),
            other => InstanceName::parse(other).ok().map(Self::Instance),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.common_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_written() {
        let longest = format!("{}-{}", "a".repeat(50), u32::MAX);
        let instances = ["db-1", "record-1", "supervisor-9", &longest];
        let instances = instances.map(|name| Holder::Instance(InstanceName::parse(name).unwrap()));
        for holder in instances.into_iter().chain([Holder::Record, Holder::Supervisor]) {
            let name = holder.dns_name().unwrap();
            assert_eq!(Holder::from_dns_name(&name), Some(holder.clone()));
            assert_eq!(holder.server_name().unwrap().to_str(), name);
        }
        for other in ["localhost", "streaming_replica", "", "db", "*.db-1"] {
            assert_eq!(Holder::from_dns_name(other), None, "{other}");
        }
        assert_eq!(Holder::Replication.server_name(), None);
    }
}
