//! Which PostgreSQL image runs, and how it is pulled. Never resolves a catalog.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A catalog that says which image to run for a PostgreSQL major version. Excludes `imageName`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ImageCatalogRef {
    /// The catalog's API group; always `postgresql.cnpg.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// `ImageCatalog` (same namespace) or `ClusterImageCatalog`.
    pub kind: String,
    /// The catalog's name.
    pub name: String,
    /// The PostgreSQL major version to look up, for example 17.
    pub major: i64,
}
