//! Keeps the committed policies equal to what the checks say. `cargo xtask gen` runs this test so that
//! it writes instead of compares.
//!
//! Never passes a policy that is larger than the API server takes.

use super::policies;
use crate::crd::yaml;
use expect_test::expect_file;
use std::collections::BTreeSet;
use std::path::PathBuf;

#[test]
fn committed_policies_are_fresh() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/policy");
    for policy in policies() {
        let file = folder.join(policy.file()).with_extension("yaml");
        expect_file![file].assert_eq(&yaml::documents(&policy.objects()));
    }
}

#[test]
fn every_check_has_a_name_of_its_own() {
    let policies = policies();
    let checks: Vec<_> = policies.iter().flat_map(|policy| &policy.checks).collect();
    let names: BTreeSet<_> = checks.iter().map(|check| &check.name).collect();
    assert_eq!(names.len(), checks.len());
}
