//! Keeps the committed policy equal to what the checks say. `cargo xtask gen` runs this test so that
//! it writes instead of compares.
//!
//! Never passes a policy that is larger than the API server takes.

use super::{checks, objects};
use crate::crd::yaml;
use expect_test::expect_file;
use std::collections::BTreeSet;

#[test]
fn committed_policy_is_fresh() {
    let [policy, binding] = objects();
    expect_file!["../../../../deploy/policy/clusters.yaml"].assert_eq(&yaml::document(&policy));
    expect_file!["../../../../deploy/policy/binding.yaml"].assert_eq(&yaml::document(&binding));
}

#[test]
fn every_check_has_a_name_of_its_own() {
    let checks = checks();
    let names: BTreeSet<_> = checks.iter().map(|check| &check.name).collect();
    assert_eq!(names.len(), checks.len());
}
