//! Databases of a cluster are dumped by hand and by schedule, come back, and begin another cluster.
//!
//! Never believes that a dump is whole: its rows are counted where it was restored.

use super::backups::{self, sql_in};
use super::cluster::{self, Cluster, Commits, Operator, UP_WITHIN};
use super::figures::Round;
use super::place::Place;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BY_HAND: &str = "dumped-by-hand";
const SCHEDULE: &str = "dumps";
const TAKEN_WITHIN: Duration = Duration::from_mins(4);
const ASKED_WITHIN: Duration = Duration::from_mins(2);
const COUNT: &str = "select count(*) from ledger";

pub(super) fn dump(kept: &Cluster<'_>, round: &mut Round) -> Result<()> {
    let place = kept.place;
    // Who imports it may read it.
    sql_in(kept, "app", "alter table ledger owner to app")?;
    let rows = sql_in(kept, "app", COUNT)?;
    let began = Instant::now();
    let said = place.pgherd(&["dump", kept.name, "app", "--name", BY_HAND], TAKEN_WITHIN)?;
    let seconds = began.elapsed().as_secs_f64();
    round.notes.push(format!("{} (asked for and told in {seconds:.1} s)", said.trim()));
    let by_hand = backups::completed(place, ("dump", BY_HAND))?;
    round.broken.extend(missing(&by_hand));
    place.apply(&schedule(kept.name))?;
    let label = format!("pgherd.dev/scheduled-dump={SCHEDULE}");
    let name = backups::scheduled_as(place, ("dump", &label))?;
    round.notes.push(format!("a scheduled dump {name}"));
    by_command(kept, &by_hand, round)?;
    let words = ["dump", "restore", kept.name, BY_HAND, "--into", "copy", "--create"];
    let said = place.pgherd(&words, TAKEN_WITHIN)?;
    round.notes.push(said.trim().to_owned());
    expect(("restored from a dump", &rows), &sql_in(kept, "copy", COUNT)?, round);
    import(kept, &rows, round)?;
    place.kubectl(&["delete", "scheduleddumps,dumps", "--all"]).map(drop)
}

fn expect((what, wanted): (&str, &str), rows: &str, round: &mut Round) {
    round.notes.push(format!("{what}: {rows} rows"));
    if rows != wanted {
        round.broken.push(format!("{what}: {rows} rows instead of {wanted}"));
    }
}

/// What people look for in a completed dump, and do not find.
fn missing(dump: &Value) -> Vec<String> {
    let fields = [
        "databases",
        "destinationPath",
        "dumpId",
        "dumpName",
        "endpointURL",
        "instanceID",
        "serverName",
        "sizeBytes",
        "startedAt",
        "stoppedAt",
        "storedBytes",
    ];
    let is_missing = |field: &&str| dump.pointer(&format!("/status/{field}")).is_none();
    let missing = fields.into_iter().filter(is_missing);
    missing.map(|field| format!("a completed dump has no status.{field}")).collect()
}

fn schedule(cluster: &str) -> Value {
    json!({
        "apiVersion": "pgherd.dev/v1alpha1", "kind": "ScheduledDump",
        "metadata": {"name": SCHEDULE},
        "spec": {
            "schedule": "0 0 0 1 1 *", "immediate": true, "dumpOwnerReference": "self",
            "cluster": {"name": cluster}, "databases": ["app"],
            "format": "custom", "retentionPolicy": "7",
        },
    })
}

/// What the commands tell of the repository, which no object says.
fn by_command(kept: &Cluster<'_>, by_hand: &Value, round: &mut Round) -> Result<()> {
    let ask = |words: &[&str]| kept.place.pgherd(words, ASKED_WITHIN);
    let id = by_hand.pointer("/status/dumpId").and_then(Value::as_str).unwrap_or_default();
    let listed: Value = serde_json::from_str(&ask(&["dump", "list", kept.name, "-o", "json"])?)?;
    let listed: Vec<&Value> = listed.as_array().into_iter().flatten().collect();
    let is_meant = |one: &&&Value| one["id"] == id && one["object"] == BY_HAND;
    if listed.len() != 2 || !listed.iter().any(|one| is_meant(&one)) {
        round.broken.push(format!("dump {id} is not listed beside another one: {listed:?}"));
    }
    let plan = ask(&["dump", "expire", kept.name, "--policy", "1", "--dry-run"])?;
    if !plan.contains("1 dump would be removed") {
        round.broken.push(format!("of two dumps of one database one would go, and not: {plan}"));
    }
    Ok(())
}

/// A new cluster begins with what this one has.
fn import(kept: &Cluster<'_>, rows: &str, round: &mut Round) -> Result<()> {
    let (place, name): (&Place, &str) = (kept.place, "imported");
    let mut manifest = cluster::manifest(name, 1, Commits::Asynchronous);
    let import = json!({
        "type": "microservice", "databases": ["app"], "source": {"externalCluster": "origin"},
        "postImportApplicationSQL": ["create index on ledger ((id % 10))"],
    });
    let initdb = json!({"database": "app", "owner": "app", "import": import});
    backups::set(&mut manifest, "bootstrap", json!({ "initdb": initdb }));
    let origin = json!({
        "name": "origin",
        "connectionParameters": {
            "host": format!("{}-rw", kept.name), "user": "app", "dbname": "app",
            "sslmode": "verify-full",
        },
        "password": {"name": format!("{}-app", kept.name), "key": "password"},
        "sslRootCert": {"name": format!("{}-ca", kept.name), "key": "ca.crt"},
    });
    backups::set(&mut manifest, "externalClusters", json!([origin]));
    let began = Instant::now();
    place.apply(&manifest)?;
    let imported = Cluster { place, name };
    imported.wait_whole(Operator::Present, UP_WITHIN)?;
    round.notes.push(format!("an import: {:.1} s", began.elapsed().as_secs_f64()));
    expect(("imported", rows), &sql_in(&imported, "app", COUNT)?, round);
    let indexes = "select count(*) from pg_indexes where tablename = 'ledger'";
    expect(("indexes after the import", "2"), &sql_in(&imported, "app", indexes)?, round);
    imported.delete()
}
