//! Finds out which pod this is, from what its manifest puts into the environment.
//!
//! Never guesses: what is missing is named.

use super::{AGENT_PORT, METRICS_PORT, POSTGRES_PORT};
use pgherd_agent::config::{AgentConfig, PostgresAddress};
use pgherd_core::names::{ClusterName, InstanceName, NameError};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where sockets are, as users of `kubectl exec` expect them.
const RUN: &str = "/controller/run";
/// Where certificates and passwords are mounted.
const IDENTITY: &str = "/controller/identity";
/// Where the first container of a pod, and the operator later, put the agent's program.
const PROGRAM: &str = "/controller/pgherd";

#[derive(Debug, thiserror::Error)]
pub enum SurroundingsError {
    #[error("{name} is not set: pods of instances are made by the operator, which sets it")]
    Find { name: &'static str },
    #[error("{name} is refused")]
    ParseName { name: &'static str, source: NameError },
    #[error("{name} is {given:?}, which is not an address")]
    ParseAddress { name: &'static str, given: String },
    #[error("PGDATA is {given:?}: it has to end in /pgdata, in the folder of the volume")]
    PlaceData { given: String },
}

/// Which pod this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub namespace: String,
    pub cluster: ClusterName,
    pub instance: InstanceName,
    /// This pod's address.
    pub address: IpAddr,
    /// The folder that the volume is mounted at.
    volume: PathBuf,
}

impl Surroundings {
    pub(super) fn find() -> Result<Self, SurroundingsError> {
        Self::parse(&std::env::vars().collect())
    }

    fn parse(environment: &BTreeMap<String, String>) -> Result<Self, SurroundingsError> {
        let find = |name: &'static str| {
            let value = environment.get(name).filter(|value| !value.is_empty());
            value.ok_or(SurroundingsError::Find { name })
        };
        let cluster = ClusterName::parse(find("CLUSTER_NAME")?)
            .map_err(|source| SurroundingsError::ParseName { name: "CLUSTER_NAME", source })?;
        let instance = InstanceName::parse(find("POD_NAME")?)
            .map_err(|source| SurroundingsError::ParseName { name: "POD_NAME", source })?;
        let address = find("POD_IP")?;
        let address = address.parse().map_err(|_| SurroundingsError::ParseAddress {
            name: "POD_IP",
            given: address.clone(),
        })?;
        let data = find("PGDATA")?;
        let volume = Path::new(data).parent().filter(|_| data.ends_with("/pgdata"));
        let volume = volume.ok_or(SurroundingsError::PlaceData { given: data.clone() })?.to_owned();
        Ok(Self { namespace: find("NAMESPACE")?.clone(), cluster, instance, address, volume })
    }

    /// Every address of this pod.
    pub(super) fn listen(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// What the agent is told of itself; where its peers are, it learns later.
    pub(super) fn agent_config(&self, bindir: PathBuf) -> AgentConfig {
        AgentConfig {
            written_by: None,
            cluster: self.cluster.clone(),
            instance: self.instance.clone(),
            folder: self.volume.clone(),
            bindir,
            postgres: PostgresAddress { listen: self.listen(), port: POSTGRES_PORT },
            listen: SocketAddr::new(self.listen(), AGENT_PORT),
            peers: BTreeMap::new(),
            record: None,
            run: Some(RUN.into()),
            identity: Some(IDENTITY.into()),
            program: Some(PROGRAM.into()),
            metrics: Some(SocketAddr::new(self.listen(), METRICS_PORT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn environment(changed: &[(&str, &str)]) -> BTreeMap<String, String> {
        let usual = [
            ("CLUSTER_NAME", "db"),
            ("POD_NAME", "db-2"),
            ("NAMESPACE", "shop"),
            ("POD_IP", "198.18.1.7"),
            ("PGDATA", "/var/lib/postgresql/data/pgdata"),
        ];
        let all = usual.iter().chain(changed);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_says_which_pod_it_is() {
        let found = Surroundings::parse(&environment(&[])).unwrap();
        let config = found.agent_config("/usr/lib/postgresql/15/bin".into());
        expect![[r#"
            {
              "cluster": "db",
              "instance": "db-2",
              "folder": "/var/lib/postgresql/data",
              "bindir": "/usr/lib/postgresql/15/bin",
              "postgres": {
                "listen": "0.0.0.0",
                "port": 5432
              },
              "listen": "0.0.0.0:8001",
              "peers": {},
              "run": "/controller/run",
              "identity": "/controller/identity",
              "program": "/controller/pgherd",
              "metrics": "0.0.0.0:9187"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&config).unwrap());
        let sixth = Surroundings::parse(&environment(&[("POD_IP", "2001:db8::7")])).unwrap();
        assert_eq!(sixth.listen(), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let told = [("POD_NAME", ""), ("CLUSTER_NAME", "My_DB"), ("POD_IP", "n"), ("PGDATA", "/")]
            .map(|changed| Surroundings::parse(&environment(&[changed])).unwrap_err().to_string());
        expect![[r#"
            POD_NAME is not set: pods of instances are made by the operator, which sets it
            CLUSTER_NAME is refused
            POD_IP is "n", which is not an address
            PGDATA is "/": it has to end in /pgdata, in the folder of the volume"#]]
        .assert_eq(&told.join("\n"));
    }
}
