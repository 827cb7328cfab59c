//! Reads what the user wants from a manifest, or from the one that is built in.
//!
//! Never passes over what is not acted upon: it is told as a warning.

use crate::failure::{Failure, Kind};
use pgherd_api::cluster::{Checked, Cluster};
use pgherd_core::names::ClusterName;
use pgherd_core::wishes::MOST_INSTANCES;

/// What a manifest means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub checked: Checked,
    /// What its author should know.
    pub warnings: Vec<String>,
}

impl Manifest {
    /// A manifest says whose it is, and `own` is the cluster it was given for.
    pub fn refuse_other_name(&self, own: &ClusterName) -> Result<(), Failure> {
        let given = &self.checked.name;
        if given == own {
            return Ok(());
        }
        let what = format!("the manifest is of cluster {given}, and this is {own}");
        Err(Failure::new(Kind::Usage, what).fix(format!("--name {given}")))
    }
}

/// How many instances the built-in manifest has.
pub const USUAL_INSTANCES: u32 = 3;
const BUILT_IN: &str = "# pgherd's own manifest, used when none is given\n";

/// Understands a manifest, or tells every reason why it is refused. `count` stands in for the
/// number of instances it asks for.
pub fn understand(text: &str, count: Option<u32>) -> Result<Manifest, Failure> {
    if let Some(count) = count {
        refuse_count(count)?;
    }
    let refused =
        |cause: String| Failure::new(Kind::Usage, "the manifest is refused").because(cause);
    let (mut cluster, read) =
        Cluster::from_yaml(text).map_err(|error| refused(error.to_string()))?;
    if let Some(count) = count {
        cluster.spec.instances = count.into();
    }
    let (checked, found) = cluster.checked().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        refused(problems.join("; "))
    })?;
    let mut warnings: Vec<String> = read.iter().chain(&found).map(ToString::to_string).collect();
    let ignored: Vec<String> = checked.ignored.iter().map(ToString::to_string).collect();
    if !ignored.is_empty() {
        warnings.push(format!("not acted upon yet: {}", ignored.join(", ")));
    }
    Ok(Manifest { checked, warnings })
}

/// It stands in no manifest: whoever gave it is told of the option.
fn refuse_count(count: u32) -> Result<(), Failure> {
    let why = match count {
        0 => "a cluster has at least one instance".to_owned(),
        1..=MOST_INSTANCES => return Ok(()),
        _ => format!("at most {MOST_INSTANCES} instances can agree in time"),
    };
    let failure = Failure::new(Kind::Usage, format!("--instances {count} is refused")).because(why);
    Err(failure
        .fix(format!("write a number from 1 to {MOST_INSTANCES}, for example --instances 3")))
}

/// The manifest for those who give none: a commit is on two machines when it is acknowledged, as
/// long as there are two.
pub fn built_in(name: &ClusterName, instances: u32) -> String {
    let synchronous = if instances > 1 {
        "  postgresql:
    synchronous:
      method: any
      number: 1
      dataDurability: preferred
"
    } else {
        ""
    };
    format!(
        "{BUILT_IN}apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata:
  name: {name}
spec:
  instances: {instances}
{synchronous}"
    )
}

pub fn is_built_in(text: &str) -> bool {
    text.starts_with(BUILT_IN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::intent::Durability;
    use pgherd_core::units::Bytes;

    fn db() -> ClusterName {
        ClusterName::parse("db").unwrap()
    }

    #[test]
    fn the_built_in_manifest_is_understood_for_any_size() {
        for instances in 1..=9 {
            let text = built_in(&db(), instances);
            assert!(is_built_in(&text));
            let manifest = understand(&text, None).unwrap();
            assert_eq!(manifest.checked.instances, instances);
            let alone = Durability::Asynchronous { max_lag: Bytes(16 << 20) };
            let expected = if instances == 1 { alone } else { Durability::Preferred { acks: 1 } };
            assert_eq!(manifest.checked.durability, expected);
            let quiet = manifest.warnings.iter().all(|warning| warning.contains("instances"));
            assert!(quiet, "{:?}", manifest.warnings);
        }
    }

    #[test]
    fn what_is_not_acted_upon_is_told() {
        let text = built_in(&db(), 3);
        let text = text.replace("spec:", "spec:\n  logLevel: debug\n  storage: {size: 1Gi}");
        let warnings = understand(&text, None).unwrap().warnings;
        expect_test::expect!["not acted upon yet: spec.logLevel, spec.storage"]
            .assert_eq(&warnings.join("\n"));
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        let cause = |text: &str, count| understand(text, count).unwrap_err().cause.unwrap();
        let text = built_in(&db(), 3);
        expect_test::expect![[r#"
            a cluster has at least one instance
            at most 9 instances can agree in time
            spec.instances is 0, but a cluster has at least one instance: write a number from 1 to 9, for example 3
            line 7: spec.instances is "three" (text), but a whole number is needed: write one, for example 3
            line 7: spec.instance is not a field: did you mean instances?
            metadata.name is refused: cluster name "Db_" is not a DNS label: use at most 50 lower-case letters, digits and '-', starting with a letter and not ending with '-'
            line 7: spec.nodes is not a field: correct or remove it"#]].assert_eq(
            &[
                cause(&text, Some(0)),
                cause(&text, Some(10)),
                cause(&text.replace("instances: 3", "instances: 0"), None),
                cause(&text.replace("instances: 3", "instances: three"), None),
                cause(&text.replace("instances:", "instance:"), None),
                cause(&text.replace("name: db", "name: Db_"), None),
                cause(&text.replace("  instances", "  nodes: 3\n  instances"), None),
            ]
            .join("\n"),
        );
    }
}
