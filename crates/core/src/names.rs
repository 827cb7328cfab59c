//! Names that have passed the border: once parsed, nobody checks them again.
//!
//! Never holds an unchecked string.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A name that was refused: what was given, why, and what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "cluster name {given:?} is not a DNS label: use at most {limit} lower-case letters, digits and '-', starting with a letter and not ending with '-'"
    )]
    Cluster { given: String, limit: usize },
    #[error("instance {given:?} is not an instance name: use the form CLUSTER-N, for example db-1")]
    Instance { given: String },
}

/// The longest cluster name: room is left for `-rw`, `-replication` and serials within the 63
/// bytes of a DNS label (RFC 1123).
pub const CLUSTER_NAME_LIMIT: usize = 50;

/// The name of a cluster: a DNS label that starts with a letter. Shared, because every name of an
/// instance holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    pub fn parse(given: &str) -> Result<Self, NameError> {
        let inside =
            given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let starts = given.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let ends = !given.ends_with('-');
        if inside && starts && ends && given.len() <= CLUSTER_NAME_LIMIT {
            Ok(Self(Arc::from(given)))
        } else {
            Err(NameError::Cluster { given: given.to_owned(), limit: CLUSTER_NAME_LIMIT })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ClusterName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClusterName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        Self::parse(&given).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stable name of an instance, `CLUSTER-N` with N from 1; it is also its `application_name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceName {
    cluster: ClusterName,
    serial: u32,
}

impl Ord for InstanceName {
    fn cmp(&self, other: &Self) -> Ordering {
        // Names that meet are nearly always of one cluster.
        self.serial.cmp(&other.serial).then_with(|| self.cluster.cmp(&other.cluster))
    }
}

impl PartialOrd for InstanceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl InstanceName {
    pub fn new(cluster: &ClusterName, serial: u32) -> Self {
        Self { cluster: cluster.clone(), serial }
    }

    pub fn parse(given: &str) -> Result<Self, NameError> {
        let refused = || NameError::Instance { given: given.to_owned() };
        let (cluster, serial) = given.rsplit_once('-').ok_or_else(refused)?;
        let cluster = ClusterName::parse(cluster).map_err(|_| refused())?;
        let plain = serial.bytes().all(|b| b.is_ascii_digit()) && !serial.starts_with('0');
        let serial = serial.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        Ok(Self { cluster, serial })
    }

    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    pub fn serial(&self) -> u32 {
        self.serial
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.cluster, self.serial)
    }
}

impl<'de> Deserialize<'de> for InstanceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        Self::parse(&given).map_err(serde::de::Error::custom)
    }
}

impl Serialize for InstanceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_are_dns_labels_that_start_with_a_letter() {
        for good in ["a", "app-db", "x9", &"a".repeat(50)] {
            assert_eq!(ClusterName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "9a", "A", "a_b", "a.b", "a/b", "ä", &"a".repeat(51)] {
            assert!(ClusterName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn instance_names_read_back_as_written() {
        let name = InstanceName::new(&ClusterName::parse("app-db").unwrap(), 12);
        assert_eq!(InstanceName::parse(&name.to_string()).unwrap(), name);
        for bad in ["db", "db-", "db-0", "db-01", "db-x", "-1", "db-+1", "db-99999999999"] {
            assert!(InstanceName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
