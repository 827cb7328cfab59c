//! A cluster whose image stands in a catalog: missing there, added, and replaced by another one.
//!
//! Never names an image in the cluster itself.

use super::cluster::{self, Cluster, Commits, Operator, UP_WITHIN};
use super::figures::Round;
use super::place::Place;
use super::stage::Stage;
use crate::testbed::images::POSTGRESQL;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

const NAME: &str = "listed";
const CATALOG: &str = "images";
/// The same image by another name.
const AGAIN: &str = "localhost/postgresql:15-again";
const INCOMPLETE: &str = "Cluster has incomplete or invalid image catalog";
const TOLD_WITHIN: Duration = Duration::from_mins(1);

pub(super) fn follow(place: &Place) -> Result<Round> {
    place.testbed()?.call_image(POSTGRESQL, AGAIN)?;
    place.apply(&catalog(14, POSTGRESQL))?;
    place.apply(&manifest())?;
    let cluster = Cluster { place, name: NAME };
    let told = cluster.wait_phase(INCOMPLETE, TOLD_WITHIN)?;
    let mut broken = Vec::new();
    if !cluster.objects("pods")?.is_empty() {
        broken.push("there are pods without an image for them".to_owned());
    }
    place.apply(&catalog(15, POSTGRESQL))?;
    cluster.wait_whole(Operator::Present, UP_WITHIN)?;
    broken.extend(others(&cluster, POSTGRESQL)?);
    let stage = Stage { cluster, commits: Commits::Required, away: Duration::ZERO };
    let mut round = stage.roll(|| place.apply(&catalog(15, AGAIN)))?;
    broken.extend(others(&cluster, AGAIN)?);
    round.notes.push(format!("without an image: {told}"));
    round.broken.extend(broken);
    cluster.delete()?;
    place.kubectl(&["delete", "imagecatalog", CATALOG])?;
    Ok(round)
}

fn catalog(major: u32, image: &str) -> Value {
    json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "ImageCatalog",
        "metadata": {"name": CATALOG}, "spec": {"images": [{"major": major, "image": image}]},
    })
}

fn manifest() -> Value {
    let mut manifest = cluster::manifest(NAME, 3, Commits::Required);
    let named = json!({
        "apiGroup": "postgresql.cnpg.io", "kind": "ImageCatalog", "name": CATALOG, "major": 15,
    });
    if let Some(spec) = manifest.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("imageCatalogRef".to_owned(), named);
    }
    manifest
}

/// Pods that run another image.
fn others(cluster: &Cluster<'_>, image: &str) -> Result<Vec<String>> {
    let pods = cluster.objects("pods")?;
    let other = pods.iter().filter_map(|(name, pod)| {
        let runs = pod.pointer("/spec/containers/0/image").and_then(Value::as_str);
        (runs != Some(image)).then(|| format!("{name} runs {runs:?} instead of {image}"))
    });
    Ok(other.collect())
}
