//! Finds the image that a cluster runs in the catalog that it names.
//!
//! Never takes another one in its place.

use crate::stores::Stores;
use kube::runtime::reflector::store::WriterDropped;
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::images::ImageCatalogRef;
use pgherd_api::image_catalog::ImageCatalogSpec;

/// The phase of a cluster whose image cannot be found.
pub const INVALID_CATALOG: &str = "Cluster has incomplete or invalid image catalog";

/// Why a catalog has no image for a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error(
        "{catalog}, which spec.imageCatalogRef names, does not exist: create it, or correct the name, and the cluster goes on by itself"
    )]
    Find { catalog: String },
    #[error(
        "{catalog} has {present}, and none for major version {major}: add one, or correct spec.imageCatalogRef.major, and the cluster goes on by itself"
    )]
    Lack { catalog: String, major: i64, present: String },
    #[error("spec.imageCatalogRef.kind is {kind:?}: write ImageCatalog or ClusterImageCatalog")]
    Understand { kind: String },
}

/// What the named catalog has, if one is named.
pub(super) async fn image(
    stores: &Stores,
    cluster: &Cluster,
    namespace: &str,
) -> Result<Result<Option<String>, CatalogError>, WriterDropped> {
    let Some(named) = &cluster.spec.image_catalog_ref else { return Ok(Ok(None)) };
    let (catalog, found) = match named.kind.as_str() {
        "ImageCatalog" => {
            let found = stores.catalogs.of_namespace(namespace, &named.name).await?;
            (format!("ImageCatalog {namespace}/{}", named.name), found)
        }
        "ClusterImageCatalog" => {
            let found = stores.catalogs.of_all(&named.name).await?;
            (format!("ClusterImageCatalog {}", named.name), found)
        }
        other => return Ok(Err(CatalogError::Understand { kind: other.to_owned() })),
    };
    Ok(choose(catalog, found.as_ref(), named).map(Some))
}

/// The image that the cluster has: found before, or written. Before it has begun it has none.
pub(super) fn noted(cluster: &Cluster) -> Option<&str> {
    let status = cluster.status.as_ref().filter(|status| status.system_id.is_some())?;
    status.image.as_deref()
}

fn choose(
    catalog: String,
    found: Option<&ImageCatalogSpec>,
    named: &ImageCatalogRef,
) -> Result<String, CatalogError> {
    let Some(found) = found else { return Err(CatalogError::Find { catalog }) };
    let images = || found.images.iter().filter(|one| !one.image.is_empty());
    if let Some(one) = images().find(|one| one.major == named.major) {
        return Ok(one.image.clone());
    }
    let majors: Vec<String> = images().map(|one| one.major.to_string()).collect();
    let present = match majors.as_slice() {
        [] => "no image".to_owned(),
        majors => format!("images for {}", majors.join(", ")),
    };
    Err(CatalogError::Lack { catalog, major: named.major, present })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_api::image_catalog::CatalogImage;

    #[test]
    fn the_image_of_the_major_version_is_chosen() {
        let images = [(16, "pg:16.9"), (17, "pg:17.5"), (18, "")].map(|(major, image)| {
            CatalogImage { major, image: image.to_owned(), extensions: Vec::new() }
        });
        let spec = ImageCatalogSpec { images: images.into(), component_images: Vec::new() };
        let chosen = |major, found: Option<&ImageCatalogSpec>| {
            let (kind, name) = ("ImageCatalog".to_owned(), "c".to_owned());
            let named = ImageCatalogRef { api_group: None, kind, name, major };
            match choose("ImageCatalog shop/c".to_owned(), found, &named) {
                Ok(image) => image + "\n",
                Err(error) => format!("{error}\n"),
            }
        };
        let empty = ImageCatalogSpec { images: Vec::new(), component_images: Vec::new() };
        expect![[r#"
            pg:17.5
            ImageCatalog shop/c has images for 16, 17, and none for major version 15: add one, or correct spec.imageCatalogRef.major, and the cluster goes on by itself
            ImageCatalog shop/c has images for 16, 17, and none for major version 18: add one, or correct spec.imageCatalogRef.major, and the cluster goes on by itself
            ImageCatalog shop/c has no image, and none for major version 17: add one, or correct spec.imageCatalogRef.major, and the cluster goes on by itself
            ImageCatalog shop/c, which spec.imageCatalogRef names, does not exist: create it, or correct the name, and the cluster goes on by itself
        "#]].assert_eq(
            &[
                chosen(17, Some(&spec)),
                chosen(15, Some(&spec)),
                chosen(18, Some(&spec)),
                chosen(17, Some(&empty)),
                chosen(17, None),
            ]
            .concat(),
        );
    }
}
