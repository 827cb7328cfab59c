//! Makes the ConfigMap that tells agents what is wanted, and reads it.
//!
//! Never takes what it cannot read for absent.

use super::Blueprint;
use crate::cluster::origin;
use k8s_openapi::api::core::v1::ConfigMap;
use pgherd_api::agent::Specification;
use pgherd_core::names::ClusterName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The key of what agents are told.
pub const SPECIFICATION_KEY: &str = "specification.json";
/// The key of what the operator has to remember.
pub const WISHES_KEY: &str = "wishes.json";

/// The key of the archive of the Backup that the cluster began with.
pub const ORIGIN_KEY: &str = "origin.json";

/// Why a ConfigMap was not made or read.
#[derive(Debug, thiserror::Error)]
pub enum SpecificationError {
    #[error("turning {key} into JSON")]
    Encode { key: &'static str, source: serde_json::Error },
    #[error("reading {key}, which is not what this version writes: use the version that wrote it")]
    Decode { key: &'static str, source: serde_json::Error },
    #[error(
        "looking for {key}, which the ConfigMap lacks: somebody else changed it, so restore it"
    )]
    Find { key: &'static str },
}

/// The ConfigMap's name.
pub fn name(cluster: &ClusterName) -> String {
    format!("{cluster}-specification")
}

/// The ConfigMap.
pub fn config_map(
    blueprint: &Blueprint<'_>,
    specification: &Specification,
    wishes: &impl Serialize,
) -> Result<ConfigMap, SpecificationError> {
    let mut entries = vec![
        (SPECIFICATION_KEY.to_owned(), encode(SPECIFICATION_KEY, specification)?),
        (WISHES_KEY.to_owned(), encode(WISHES_KEY, wishes)?),
    ];
    if let Some(origin) = origin::to_keep(blueprint.cluster) {
        entries.push((ORIGIN_KEY.to_owned(), encode(ORIGIN_KEY, &origin)?));
    }
    Ok(ConfigMap {
        metadata: blueprint.metadata(name(&blueprint.checked.name)),
        data: Some(BTreeMap::from_iter(entries)),
        ..ConfigMap::default()
    })
}

/// What agents are told.
pub fn specification(config_map: &ConfigMap) -> Result<Specification, SpecificationError> {
    decode(SPECIFICATION_KEY, config_map)
}

/// What the operator has to remember.
pub fn wishes<T: DeserializeOwned>(config_map: &ConfigMap) -> Result<T, SpecificationError> {
    decode(WISHES_KEY, config_map)
}

/// The archive that the cluster began with, if it was a Backup's.
pub(in crate::cluster) fn origin(config_map: &ConfigMap) -> Option<origin::Origin> {
    decode(ORIGIN_KEY, config_map).ok()
}

fn encode(key: &'static str, document: &impl Serialize) -> Result<String, SpecificationError> {
    serde_json::to_string(document).map_err(|source| SpecificationError::Encode { key, source })
}

fn decode<T: DeserializeOwned>(
    key: &'static str,
    config_map: &ConfigMap,
) -> Result<T, SpecificationError> {
    let text = config_map.data.as_ref().and_then(|data| data.get(key));
    let text = text.ok_or(SpecificationError::Find { key })?;
    serde_json::from_str(text).map_err(|source| SpecificationError::Decode { key, source })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;
    use pgherd_core::intent::Intent;
    use pgherd_core::timers::Timers;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn sample_specification(sample: &Sample) -> Specification {
        sample.made(|it| Specification {
            number: 7,
            intent: Intent {
                cluster: it.checked.name.clone(),
                instances: BTreeSet::from([sample.instance(1)]),
                first: Some(sample.instance(1)),
                durability: it.checked.durability,
                timers: Timers::STANDARD,
                failover_delay: Duration::ZERO,
                stop_delay: Duration::from_mins(30),
                paused: false,
                fenced: BTreeSet::new(),
                leaving: BTreeSet::new(),
                stopped: false,
                switchover: None,
                restart: None,
                configuration: 1,
            },
            postgres: it.checked.postgres.clone(),
            metrics: it.checked.metrics,
        })
    }

    #[test]
    fn what_is_written_is_read() {
        let sample = Sample::minimal();
        let written = sample_specification(&sample);
        let config_map = sample.made(|it| config_map(it, &written, &["wish"]).unwrap());
        assert_eq!(specification(&config_map).unwrap(), written);
        assert_eq!(wishes::<Vec<String>>(&config_map).unwrap(), ["wish"]);
        let keys: Vec<_> = config_map.data.iter().flatten().map(|(key, _)| key).collect();
        expect![[r#"Some("db-specification") ["specification.json", "wishes.json"]"#]]
            .assert_eq(&format!("{:?} {keys:?}", config_map.metadata.name));
    }

    #[test]
    fn damage_and_absence_are_told_apart() {
        let damaged = ConfigMap {
            data: Some([(SPECIFICATION_KEY.to_owned(), "{".to_owned())].into()),
            ..ConfigMap::default()
        };
        let errors = [
            specification(&damaged).unwrap_err(),
            wishes::<String>(&damaged).unwrap_err(),
            specification(&ConfigMap::default()).unwrap_err(),
        ];
        expect![[r#"
            reading specification.json, which is not what this version writes: use the version that wrote it
            looking for wishes.json, which the ConfigMap lacks: somebody else changed it, so restore it
            looking for specification.json, which the ConfigMap lacks: somebody else changed it, so restore it
        "#]].assert_eq(&errors.map(|error| format!("{error}\n")).concat());
    }
}
