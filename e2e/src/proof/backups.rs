//! A cluster is archived, backed up by hand and by schedule, dumped, and comes back as it was before
//! a mistake.
//!
//! Never touches the cluster that the copies are made of, once the mistake is made.

use super::cluster::{self, Cluster, Commits, Operator, UP_WITHIN};
use super::depot::Depot;
use super::dumps;
use super::figures::Round;
use super::place::Place;
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAME: &str = "kept";
const BY_HAND: &str = "by-hand";
const SCHEDULE: &str = "at-once";
const ARCHIVING: &str = "ContinuousArchiving";
const TOLD_WITHIN: Duration = Duration::from_mins(3);
pub(super) const BACKED_UP_WITHIN: Duration = Duration::from_mins(4);
pub(super) const ASKED_WITHIN: Duration = Duration::from_mins(2);
const ROWS: u32 = 1000;

pub(super) fn back_up(place: &Place) -> Result<Round> {
    let depot = Depot::open(place)?;
    let mut round = Round::default();
    let kept = Cluster { place, name: NAME };
    begin(&kept, &depot, &mut round)?;
    sql(
        &kept,
        "create table ledger (id int primary key); insert into ledger select generate_series(1, 1000)",
    )?;
    let began = Instant::now();
    let said = place.pgherd(&["backup", NAME, "--name", BY_HAND], BACKED_UP_WITHIN)?;
    round.notes.push(said.trim().to_owned());
    let by_hand = completed(place, ("backup", BY_HAND))?;
    round.notes.push(format!("a backup by hand: {:.1} s", began.elapsed().as_secs_f64()));
    round.broken.extend(missing(&by_hand));
    place.apply(&schedule())?;
    scheduled(place, &mut round)?;
    by_command(place, &by_hand, &mut round)?;
    dumps::dump(&kept, &mut round)?;
    let at = mistake(&kept)?;
    let began = Instant::now();
    let earlier = Cluster { place, name: "earlier" };
    let words = ["restore", NAME, "--as", earlier.name, "--to-time", &at];
    let plan = place.pgherd(&[&words[..], &["--plan"]].concat(), ASKED_WITHIN)?;
    if !plan.contains("stops at") || place.get("cluster", earlier.name).is_some() {
        round.broken.push(format!("a plan is not one, or made something: {plan}"));
    }
    let said = place.pgherd(&words, UP_WITHIN)?;
    round.notes.push(said.trim().to_owned());
    round.seconds = Some(began.elapsed().as_secs_f64());
    let rows = sql(&earlier, "select count(*) from ledger")?;
    if rows != (ROWS + 1).to_string() {
        round.broken.push(format!("{rows} rows came back instead of {}", ROWS + 1));
    }
    let taken = scheduled_as(place, ("backup", "cnpg.io/cluster=earlier"))?;
    if !taken.starts_with("earlier-first-") {
        round.broken.push(format!("the first backup of what was restored is {taken}"));
    }
    round.notes.push(format!("its first backup: {:.0} s", began.elapsed().as_secs_f64()));
    let first = Cluster { place, name: "first" };
    place.apply(&restored(
        first.name,
        &depot,
        &json!({"backup": {"name": BY_HAND}, "recoveryTarget": {"targetTime": at}}),
    ))?;
    first.wait_whole(Operator::Present, UP_WITHIN)?;
    let rows = sql(&first, "select count(*) from ledger")?;
    round.notes.push(format!("from a Backup object: {rows} rows"));
    for cluster in [first, earlier, kept] {
        cluster.delete()?;
    }
    place.kubectl(&["delete", "scheduledbackups,backups", "--all"])?;
    place.kubectl(&["delete", "secret", super::depot::SECRET])?;
    Ok(round)
}

/// What the commands tell of the repository, which no object says.
fn by_command(place: &Place, by_hand: &Value, round: &mut Round) -> Result<()> {
    let ask = |words: &[&str]| place.pgherd(words, ASKED_WITHIN);
    let id = by_hand.pointer("/status/backupId").and_then(Value::as_str).unwrap_or_default();
    let listed: Value = serde_json::from_str(&ask(&["backup", "list", NAME, "-o", "json"])?)?;
    let mut listed = listed.as_array().into_iter().flatten();
    let is_listed =
        |one: &Value| one["id"] == id && one["object"] == BY_HAND && one["usable"] == true;
    if !listed.any(is_listed) {
        round.broken.push(format!("backup {id} is not listed"));
    }
    let verified = ask(&["backup", "verify", NAME, BY_HAND])?;
    round.notes.push(verified.trim().to_owned());
    let window: Value = serde_json::from_str(&ask(&["window", NAME, "-o", "json"])?)?;
    if window.pointer("/intervals/0/until").is_none() {
        round.broken.push(format!("there is no window: {window}"));
    }
    let point = ask(&["restore-point", NAME, "before-the-mistake"])?;
    round.notes.push(point.trim().to_owned());
    Ok(())
}

/// It runs before what opens its archive is there, and says so.
fn begin(kept: &Cluster<'_>, depot: &Depot, round: &mut Round) -> Result<()> {
    let mut manifest = cluster::manifest(NAME, 3, Commits::Required);
    let backup = json!({"retentionPolicy": "7d", "barmanObjectStore": depot.archive(NAME)});
    set(&mut manifest, "backup", backup);
    kept.place.apply(&manifest)?;
    kept.wait_whole(Operator::Present, UP_WITHIN)?;
    sql(kept, "select pg_switch_wal()")?;
    let told = condition(kept, "False")?;
    round.notes.push(format!("without the Secret: {told}"));
    kept.place.apply(&Depot::secret())?;
    let began = Instant::now();
    condition(kept, "True")?;
    let seconds = began.elapsed().as_secs_f64();
    round.notes.push(format!("it archives {seconds:.0} s after the Secret was there"));
    Ok(())
}

/// Waits until archiving is said to work, or not to; what is said of it.
fn condition(kept: &Cluster<'_>, status: &str) -> Result<String> {
    let found = wait::find_seldom(&format!("{ARCHIVING}={status}"), TOLD_WITHIN, || {
        let condition = kept.condition(ARCHIVING).unwrap_or_default();
        let is_so = condition.pointer("/status").and_then(Value::as_str) == Some(status);
        let said = condition.pointer("/message").and_then(Value::as_str).map(str::to_owned);
        Ok(said.filter(|_| is_so))
    });
    found.map_err(|error| error.context(kept.told()))
}

fn schedule() -> Value {
    json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "ScheduledBackup",
        "metadata": {"name": SCHEDULE},
        "spec": {
            "schedule": "0 0 0 1 1 *", "immediate": true, "backupOwnerReference": "self",
            "target": "primary", "cluster": {"name": NAME},
        },
    })
}

/// Waits until it is completed; the object.
pub(super) fn completed(place: &Place, (kind, name): (&str, &str)) -> Result<Value> {
    wait::find_seldom(&format!("{kind} {name}"), BACKED_UP_WITHIN, || {
        let backup = place.get(kind, name).unwrap_or_default();
        match backup.pointer("/status/phase").and_then(Value::as_str) {
            Some("completed") => Ok(Some(backup)),
            Some("failed") => bail!("{:?}", backup.pointer("/status/error")),
            Some(_) | None => Ok(None),
        }
    })
}

/// What people look for in a completed backup, and do not find.
fn missing(backup: &Value) -> Vec<String> {
    let fields = [
        "backupId",
        "backupName",
        "beginLSN",
        "beginWal",
        "destinationPath",
        "endLSN",
        "endWal",
        "endpointURL",
        "instanceID",
        "majorVersion",
        "method",
        "s3Credentials",
        "serverName",
        "startedAt",
        "stoppedAt",
    ];
    let is_missing = |field: &&str| backup.pointer(&format!("/status/{field}")).is_none();
    let missing = fields.into_iter().filter(is_missing);
    missing.map(|field| format!("a completed backup has no status.{field}")).collect()
}

/// Waits until one with this label is completed; its name.
pub(super) fn scheduled_as(place: &Place, (kind, label): (&str, &str)) -> Result<String> {
    let list = ["get", kind, "--selector", label, "--output", "name"];
    let name = wait::find_seldom(&format!("a scheduled {kind}"), BACKED_UP_WITHIN, || {
        let said = place.kubectl(&list)?;
        let name = said.lines().next().and_then(|line| line.split_once('/'));
        Ok(name.map(|(_, name)| name.to_owned()))
    })?;
    completed(place, (kind, &name)).map(|_| name)
}

fn scheduled(place: &Place, round: &mut Round) -> Result<()> {
    let label = format!("cnpg.io/scheduled-backup={SCHEDULE}");
    let name = scheduled_as(place, ("backup", &label))?;
    let backup = place.get("backup", &name).unwrap_or_default();
    let taker = backup.pointer("/status/instanceID/podName").and_then(Value::as_str);
    round.notes.push(format!("a scheduled backup {name} of {taker:?}"));
    let status = place.get("cluster", NAME).unwrap_or_default();
    if status.pointer("/status/lastSuccessfulBackup").is_none() {
        round.broken.push("the cluster does not tell of its last backup".to_owned());
    }
    Ok(())
}

/// One more row, and then all are gone; the moment between the two.
fn mistake(kept: &Cluster<'_>) -> Result<String> {
    sql(kept, "insert into ledger values (0)")?;
    let at = sql(kept, "select now()")?;
    sql(kept, "truncate ledger")?;
    let segment = sql(kept, "select pg_walfile_name(pg_switch_wal())")?;
    let last = "select coalesce(last_archived_wal, '') from pg_stat_archiver";
    wait::find_seldom("the mistake to be archived", TOLD_WITHIN, || {
        Ok((sql(kept, last)? >= segment).then_some(()))
    })?;
    Ok(at)
}

fn restored(name: &str, depot: &Depot, recovery: &Value) -> Value {
    let mut manifest = cluster::manifest(name, 1, Commits::Asynchronous);
    set(&mut manifest, "bootstrap", json!({ "recovery": recovery }));
    let origin = json!({"name": "origin", "barmanObjectStore": depot.archive(NAME)});
    set(&mut manifest, "externalClusters", json!([origin]));
    manifest
}

pub(super) fn set(manifest: &mut Value, field: &str, value: Value) {
    if let Some(spec) = manifest.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert(field.to_owned(), value);
    }
}

pub(super) fn sql(cluster: &Cluster<'_>, query: &str) -> Result<String> {
    sql_in(cluster, "app", query)
}

pub(super) fn sql_in(cluster: &Cluster<'_>, database: &str, query: &str) -> Result<String> {
    let primary = cluster.primary()?;
    let line = format!("psql -U postgres -d {database} -v ON_ERROR_STOP=1 -Atqc \"{query}\"");
    let said = cluster.shell(&primary, &line).with_context(|| format!("asking {primary}"))?;
    Ok(said.trim().to_owned())
}
