//! A cluster has a key for all that it stores, is backed up whole and by what has changed since, and
//! comes back.
//!
//! Never believes that it is encrypted: the store is looked into.

use super::backups::{ASKED_WITHIN, BACKED_UP_WITHIN, completed, set, sql};
use super::cluster::{self, Cluster, Commits, Operator, UP_WITHIN};
use super::depot::{self, Depot};
use super::figures::Round;
use super::place::Place;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

const NAME: &str = "sealed";
const KEY: &str = "repository";
const WHOLE: &str = "whole";
const CHANGES: &str = "changes";
/// Where all that is encrypted lies, below the server.
const ENCRYPTED: &str = "pgherd/encrypted";

pub(super) fn back_up(place: &Place) -> Result<Round> {
    let depot = Depot::open(place)?;
    let mut round = Round::default();
    place.apply(&Depot::secret())?;
    place.apply(&key(place)?)?;
    let sealed = Cluster { place, name: NAME };
    place.apply(&manifest(&depot))?;
    sealed.wait_whole(Operator::Present, UP_WITHIN)?;
    sql(
        &sealed,
        "create table ledger as select n, repeat(md5(n::text), 8) from generate_series(1, 50000) n",
    )?;
    let said = place.pgherd(&["backup", NAME, "--name", WHOLE], BACKED_UP_WITHIN)?;
    round.notes.push(said.trim().to_owned());
    sql(&sealed, "insert into ledger values (0, 'after the whole one')")?;
    place.apply(&changes())?;
    completed(place, ("backup", CHANGES))?;
    look(place, &mut round)?;
    let verified = place.pgherd(&["backup", "verify", NAME, CHANGES], ASKED_WITHIN)?;
    round.notes.push(verified.trim().to_owned());
    sql(&sealed, "insert into ledger values (-1, 'after both')")?;
    sql(&sealed, "select pg_switch_wal()")?;
    let began = Instant::now();
    let opened = Cluster { place, name: "opened" };
    let said = place.pgherd(&["restore", NAME, "--as", opened.name, "--latest"], UP_WITHIN)?;
    round.notes.push(said.trim().to_owned());
    round.seconds = Some(began.elapsed().as_secs_f64());
    let rows = sql(&opened, "select count(*), min(n) from ledger")?;
    if rows != "50002|-1" {
        round.broken.push(format!("{rows} came back instead of 50002|-1"));
    }
    for server in [NAME, opened.name] {
        sql(&Cluster { place, name: server }, "select pg_switch_wal()")?;
        let stored = depot.stored(server).with_context(|| format!("what {server} stores"))?;
        let clear = stored.iter().find(|file| !file.starts_with(Path::new(ENCRYPTED)));
        round
            .broken
            .extend(clear.map(|file| format!("{server} stores {} as it is", file.display())));
        round.notes.push(format!("{server} stores {} objects, all encrypted", stored.len()));
    }
    for cluster in [opened, sealed] {
        cluster.delete()?;
    }
    place.kubectl(&["delete", "backups", "--all"])?;
    place.kubectl(&["delete", "secret", depot::SECRET, KEY])?;
    Ok(round)
}

/// A new key, made as people make it.
fn key(place: &Place) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    let words = ["repository", "key", &file.display().to_string()];
    let said = place.said(&words, ASKED_WITHIN)?;
    let key = std::fs::read_to_string(&file).with_context(|| said.complaint.clone())?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEY}, "stringData": {"key": key},
    }))
}

fn manifest(depot: &Depot) -> Value {
    let mut manifest = cluster::manifest(NAME, 2, Commits::Required);
    if let Some(metadata) = manifest.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert(
            "annotations".to_owned(),
            json!({"pgherd.dev/repositoryKey": format!("{KEY}/key")}),
        );
    }
    set(&mut manifest, "backup", json!({"barmanObjectStore": depot.archive(NAME)}));
    manifest
}

fn changes() -> Value {
    json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup",
        "metadata": {
            "name": CHANGES, "annotations": {"pgherd.dev/backupMode": "incremental"},
        },
        "spec": {"cluster": {"name": NAME}},
    })
}

/// Whether it is what was asked for, by what the repository says.
fn look(place: &Place, round: &mut Round) -> Result<()> {
    let told = place.pgherd(&["backup", "info", NAME, CHANGES], ASKED_WITHIN)?;
    if !told.contains("incremental to") {
        round.broken.push(format!("{CHANGES} builds on nothing: {told}"));
    }
    round.notes.push(told.trim().to_owned());
    Ok(())
}
