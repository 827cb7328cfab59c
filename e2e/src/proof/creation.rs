//! A manifest of CloudNativePG's users, as it is, gives three instances.
//!
//! Never changes the manifest: not even the Secret it names exists.

use super::cluster::{Cluster, Operator, UP_WITHIN};
use super::figures::Round;
use super::place::Place;
use anyhow::Result;
use std::time::Instant;

const MANIFEST: &str = include_str!("../../samples/app-db.yaml");
const NAME: &str = "app-db";
/// What users of CloudNativePG find by these names.
const KNOWN: &[(&str, &[&str])] = &[
    ("service", &["app-db-rw", "app-db-ro", "app-db-r"]),
    ("secret", &["app-db-app", "app-db-ca", "app-db-server", "app-db-replication"]),
    ("pvc", &["app-db-1", "app-db-2", "app-db-3"]),
    ("poddisruptionbudget", &["app-db", "app-db-primary"]),
    ("role", &["app-db"]),
    ("rolebinding", &["app-db"]),
    ("serviceaccount", &["app-db"]),
    ("lease", &["app-db"]),
];
const FIELDS_IGNORED: &str = "FieldsIgnored";

pub(super) fn create(place: &Place) -> Result<Round> {
    let cluster = Cluster { place, name: NAME };
    let began = Instant::now();
    place.apply_text(MANIFEST)?;
    cluster.wait_whole(Operator::Present, UP_WITHIN)?;
    let mut round = Round { seconds: Some(began.elapsed().as_secs_f64()), ..Round::default() };
    let streaming = cluster.streaming()?;
    if streaming != 2 {
        round.broken.push(format!("{streaming} standbys stream"));
    }
    let names = KNOWN.iter().flat_map(|(kind, names)| names.iter().map(move |name| (kind, name)));
    for (kind, name) in names {
        if place.get(kind, name).is_none() {
            round.broken.push(format!("there is no {kind} {name}"));
        }
    }
    let ignored = cluster.condition(FIELDS_IGNORED);
    let said = ignored.as_ref().and_then(|it| it.pointer("/message")?.as_str());
    round.notes.extend(said.map(|said| format!("{FIELDS_IGNORED}: {said}")));
    cluster.delete()?;
    Ok(round)
}
