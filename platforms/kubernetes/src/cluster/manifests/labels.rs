//! Says by which labels, annotations and owner the objects of a cluster are known.
//!
//! Never lets a user's label or annotation replace one that something is found by.

use super::{Blueprint, inherited};
use crate::settings::KeyPattern;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pgherd_api::kind::{GROUP, VERSION};
use std::collections::BTreeMap;

/// The cluster an object belongs to.
pub const CLUSTER: &str = "cnpg.io/cluster";
/// The instance an object belongs to.
pub const INSTANCE: &str = "cnpg.io/instanceName";
/// What a pod does, written once it is known: [`PRIMARY`] or [`REPLICA`].
pub const INSTANCE_ROLE: &str = "cnpg.io/instanceRole";
/// What kind of pod it is.
pub const POD_ROLE: &str = "cnpg.io/podRole";
/// What a volume is for.
pub const CLAIM_ROLE: &str = "cnpg.io/pvcRole";
/// Whose password a Secret has.
pub const USER_TYPE: &str = "cnpg.io/userType";
/// Whether a change of the object is acted upon at once.
pub const RELOAD: &str = "cnpg.io/reload";
/// Whether a service was asked for in the manifest.
pub const MANAGED: &str = "cnpg.io/isManaged";

/// The annotation with an instance's serial.
pub const SERIAL: &str = "cnpg.io/nodeSerial";
/// The annotation that says what a volume holds.
pub const CLAIM_STATUS: &str = "cnpg.io/pvcStatus";
/// The annotation that says how a service is changed.
pub const UPDATE_STRATEGY: &str = "cnpg.io/updateStrategy";
/// The annotation with the fingerprint of what a pod was made as.
pub const POD_SPEC: &str = "pgherd.dev/pod-spec";

/// The value of [`INSTANCE_ROLE`] of the primary.
pub const PRIMARY: &str = "primary";
/// The value of [`INSTANCE_ROLE`] of a standby.
pub const REPLICA: &str = "replica";
/// The value of [`POD_ROLE`] of an instance.
pub const INSTANCE_POD: &str = "instance";

/// Where the keys are that we act upon.
const OUR_DOMAINS: [&str; 2] = ["cnpg.io", "pgherd.dev"];

/// Labels or annotations.
pub(in crate::cluster) type Texts = BTreeMap<String, String>;

/// Labels or annotations from pairs.
pub(in crate::cluster) fn texts<const N: usize>(pairs: [(&str, &str); N]) -> Texts {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Blueprint<'_> {
    /// The labels that all instances have, and nothing else has.
    pub fn instances(&self) -> BTreeMap<String, String> {
        texts([(CLUSTER, self.name()), (POD_ROLE, INSTANCE_POD)])
    }

    /// The labels of the instances with a role.
    pub fn instances_as(&self, role: &str) -> BTreeMap<String, String> {
        texts([(CLUSTER, self.name()), (INSTANCE_ROLE, role)])
    }

    /// What an object of the cluster says about itself.
    pub fn metadata(&self, name: String) -> ObjectMeta {
        let (mut labels, annotations) = self.inherited();
        labels.extend(self.own_labels());
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// The same for an object that is not applied again as a whole: it remembers what of that came
    /// with the cluster.
    pub(super) fn remembered_metadata(&self, name: String) -> ObjectMeta {
        let (labels, annotations) = self.inherited();
        let mut metadata = self.metadata(name);
        inherited::note(&mut metadata, (&labels, &annotations));
        metadata
    }

    /// The labels and annotations that come with the cluster.
    fn inherited(&self) -> (Texts, Texts) {
        let written = &self.cluster.metadata;
        let settings = self.settings;
        let mut labels = matching(written.labels.as_ref(), &settings.inherited_labels);
        let mut annotations =
            matching(written.annotations.as_ref(), &settings.inherited_annotations);
        if let Some(wanted) = &self.spec().inherited_metadata {
            labels.extend(of_users(&wanted.labels));
            annotations.extend(of_users(&wanted.annotations));
        }
        (labels, annotations)
    }

    fn own_labels(&self) -> Texts {
        let mut labels = texts([
            (CLUSTER, self.name()),
            // Users select by this name, which is that of the operator they know.
            ("app.kubernetes.io/managed-by", "cloudnative-pg"),
            ("app.kubernetes.io/name", "postgresql"),
            ("app.kubernetes.io/component", "database"),
            ("app.kubernetes.io/instance", self.name()),
        ]);
        if let Some(major) = self.major() {
            labels.insert("app.kubernetes.io/version".to_owned(), major);
        }
        labels
    }

    /// The major version of PostgreSQL, as far as catalog or image tell.
    pub(in crate::cluster) fn major(&self) -> Option<String> {
        match (&self.spec().image_catalog_ref, self.held_image) {
            (Some(catalog), None) => Some(catalog.major.to_string()),
            (Some(_), Some(_)) | (None, _) => major_of(self.image()),
        }
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "Cluster".to_owned(),
            name: self.name().to_owned(),
            uid: self.cluster.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// Adds labels that win over those that are there.
pub(in crate::cluster) fn add_labels(metadata: &mut ObjectMeta, labels: Texts) {
    metadata.labels.get_or_insert_default().extend(labels);
}

/// Adds annotations that win over those that are there.
pub(super) fn add_annotations(metadata: &mut ObjectMeta, annotations: Texts) {
    metadata.annotations.get_or_insert_default().extend(annotations);
}

/// Adds what a user wants of one object; what is there wins.
pub(super) fn add_wanted(metadata: &mut ObjectMeta, labels: &Texts, annotations: &Texts) {
    for (there, wanted) in
        [(&mut metadata.labels, labels), (&mut metadata.annotations, annotations)]
    {
        let mut all: Texts = of_users(wanted).collect();
        if !all.is_empty() {
            all.extend(there.take().unwrap_or_default());
            *there = Some(all);
        }
    }
}

fn matching(written: Option<&Texts>, patterns: &[KeyPattern]) -> Texts {
    let is_meant = |key: &str| patterns.iter().any(|pattern| pattern.matches(key));
    written.into_iter().flat_map(of_users).filter(|(key, _)| is_meant(key)).collect()
}

/// What is not ours to say: a role or a record that came from a manifest would be believed.
fn of_users(texts: &Texts) -> impl Iterator<Item = (String, String)> {
    let is_ours = |key: &str| {
        let (domain, _name) = key.split_once('/').unwrap_or(("", key));
        OUR_DOMAINS.iter().any(|ours| {
            domain.strip_suffix(ours).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    let of_users = texts.iter().filter(move |(key, _)| !is_ours(key));
    of_users.map(|(key, value)| (key.clone(), value.clone()))
}

/// The number that an image's tag begins with.
fn major_of(image: &str) -> Option<String> {
    let (image, _digest) = image.split_once('@').unwrap_or((image, ""));
    let (_registry, last) = image.rsplit_once('/').unwrap_or(("", image));
    let (_name, tag) = last.split_once(':')?;
    let digits: String = tag.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_major_version_is_read_from_the_tag() {
        let images = [
            "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie",
            "registry:5000/postgres:17@sha256:0a1b",
            "registry:5000/postgres",
            "postgres:16beta1",
            "postgres:latest",
            "postgres@sha256:15",
        ];
        let shown = images.map(|image| format!("{image} {:?}\n", major_of(image)));
        expect![[r#"
            ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie Some("18")
            registry:5000/postgres:17@sha256:0a1b Some("17")
            registry:5000/postgres None
            postgres:16beta1 Some("16")
            postgres:latest None
            postgres@sha256:15 None
        "#]]
        .assert_eq(&shown.concat());
    }

    #[test]
    fn labels_that_objects_are_found_by_win_over_inherited_ones() {
        let sample = Sample::written(
            "metadata:
  name: db
  uid: 5f2c
  labels: {team: green, private: \"1\", cnpg.io/cluster: other}
  annotations: {example.com/cost: \"7\", example.org/cost: \"8\"}
spec:
  instances: 3
  storage: {size: 1Gi}
  inheritedMetadata:
    labels: {team: blue, cnpg.io/cluster: wrong, cnpg.io/instanceRole: primary, notcnpg.io/a: b}
    annotations: {example.com/cost: \"9\", note: all, pgherd.dev/record: x, alpha.cnpg.io/a: b}
",
        )
        .with("INHERITED_LABELS", "team,cnpg.io/*")
        .with("INHERITED_ANNOTATIONS", "example.com/*");
        expect![[r#"
            annotations: {example.com/cost: "9", note: all}
            labels:
              app.kubernetes.io/component: database
              app.kubernetes.io/instance: db
              app.kubernetes.io/managed-by: cloudnative-pg
              app.kubernetes.io/name: postgresql
              app.kubernetes.io/version: "18"
              cnpg.io/cluster: db
              notcnpg.io/a: b
              team: blue
            name: db-x
            namespace: shop
            ownerReferences:
              - apiVersion: postgresql.cnpg.io/v1
                blockOwnerDeletion: true
                controller: true
                kind: Cluster
                name: db
                uid: "5f2c"
        "#]]
        .assert_eq(&sample.shown(|it| it.metadata("db-x".to_owned())));
    }

    #[test]
    fn the_image_is_the_written_one_then_the_noted_one_then_the_default() {
        let noted = |spec: &str, image| {
            let spec = format!("instances: 1\nstorage: {{size: 1Gi}}\n{spec}");
            Sample::spec(&spec).noted_image(image)
        };
        let catalog = "imageCatalogRef: {apiGroup: postgresql.cnpg.io, kind: ImageCatalog, name: c, major: 15}";
        let shown =
            |sample: &Sample| sample.made(|it| format!("{} {:?}\n", it.image(), it.major()));
        let shown = [
            shown(&noted("imageName: postgres:17", "postgres:16")),
            shown(&noted("", "postgres:16")),
            shown(&noted(catalog, "registry/pg:latest")),
            shown(&Sample::minimal()),
        ];
        expect![[r#"
            postgres:17 Some("17")
            postgres:16 Some("16")
            registry/pg:latest Some("15")
            ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie Some("18")
        "#]]
        .assert_eq(&shown.concat());
    }
}
