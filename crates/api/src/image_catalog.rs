//! The `ImageCatalog` and `ClusterImageCatalog` manifests: which image to run for what.
//!
//! Never pulls an image.

use crate::cluster::postgresql::Extension;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A list of images for the clusters of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageCatalog {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `ImageCatalog`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// The images.
    pub spec: ImageCatalogSpec,
}

kind!(ImageCatalog, "imagecatalogs", NamespaceResourceScope);

impl Kind for ImageCatalog {
    const SINGULAR: &'static str = "imagecatalog";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::None;
    const COLUMNS: &'static [Column] = &[AGE];
    const RULES: &'static [Rule] = RULES;
}

/// A list of images for the clusters of all namespaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterImageCatalog {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `ClusterImageCatalog`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// The images.
    pub spec: ImageCatalogSpec,
}

kind!(ClusterImageCatalog, "clusterimagecatalogs", ClusterResourceScope);

impl Kind for ClusterImageCatalog {
    const SINGULAR: &'static str = "clusterimagecatalog";
    const SCOPE: Scope = Scope::Cluster;
    const SUBRESOURCES: Subresources = Subresources::None;
    const COLUMNS: &'static [Column] = &[AGE];
    const RULES: &'static [Rule] = RULES;
}

/// Which image to run for what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageCatalogSpec {
    /// PostgreSQL images, one a major version; 1 to 8.
    #[schemars(length(min = 1, max = 8))]
    pub images: Vec<CatalogImage>,
    /// Images of other programs such as PgBouncer; up to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub component_images: Vec<ComponentImage>,
}

/// The image of a PostgreSQL major version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogImage {
    /// The major version; 10 or higher.
    #[schemars(range(min = 10))]
    pub major: i64,
    /// The image.
    pub image: String,
    /// Extensions that belong to the image (PostgreSQL 18 and newer).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub extensions: Vec<Extension>,
}

/// The image of another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentImage {
    /// The name to look it up by: lower-case letters, digits and `-`, up to 63.
    #[schemars(length(max = 63))]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub key: String,
    /// The image.
    pub image: String,
}

const RULES: &[Rule] = &[
    Rule {
        name: "catalog-major-versions-differ",
        at: "spec.images",
        rule: "self.all(e, self.filter(f, f.major==e.major).size() == 1)",
        message: "a major version has one image: remove the second entry of the same major",
        source: Source::Published,
    },
    Rule {
        name: "catalog-keys-differ",
        at: "spec.componentImages",
        rule: "self.all(e, self.filter(f, f.key==e.key).size() == 1)",
        message: "a key has one image: remove the second entry of the same key",
        source: Source::Published,
    },
];
