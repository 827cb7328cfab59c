//! Decides which backup of whom a new cluster begins with, from `spec.bootstrap.recovery`.
//!
//! Never looks into an archive: whether the backup and the target are there is found out when they
//! are asked for.

use super::Cluster;
use super::annotations::SOURCE_REPOSITORY_KEY;
use super::archive;
use super::bootstrap::{Recovery, RecoveryTarget as Written};
use super::external::ExternalCluster;
use super::object_store::BarmanObjectStore;
use super::problem::{Findings, Refusal};
use crate::agent::{RecoverySpec, RecoveryTarget};
use crate::field::FieldPath;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Lsn, Timeline};

/// Why a cluster cannot begin with a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum RecoveryRefusal {
    #[error(
        "says nothing of what is restored: add source, the name of an entry in externalClusters"
    )]
    NoSource,
    #[error(
        "is {given:?}, but there is no such entry in externalClusters: add it or correct the name"
    )]
    Unlisted { given: String },
    #[error("has no archive to recover from: add barmanObjectStore to it")]
    NoArchive,
    #[error("and {other} are both set, but a recovery ends at one place: remove one")]
    TwoTargets { other: &'static str },
    #[error(
        "is {given:?}, which is no moment: write it like 2026-11-22T14:31:00Z, or without a zone \
         for UTC"
    )]
    Time { given: String },
    #[error("is {given:?}, which is no position in the log: write it like 16/B374D848")]
    Lsn { given: String },
    #[error("is {given:?}, which is no transaction: write its number, from 3 to 4294967295")]
    Transaction { given: String },
    #[error("is no name of a restore point: write 1 to 63 characters")]
    Name,
    #[error("is {given:?}, which is no timeline: write a number, or latest")]
    Timeline { given: String },
    #[error("is {given:?}, which is not the id of a backup: write it like 20261122T112233")]
    Backup { given: String },
    #[error(
        "does not tell which backup to begin with, because only the log knows where it is: add \
         backupID"
    )]
    NeedsBackup,
    #[error(
        "is where the log lies that is recovered from, and a new cluster must not write there: \
         choose another serverName"
    )]
    OwnIsTheSource,
}

impl Cluster {
    /// The entry of `spec.externalClusters` whose archive the cluster begins with, and its place.
    pub fn recovered(&self) -> Option<(FieldPath, &ExternalCluster)> {
        let recovery = self.spec.bootstrap.as_ref()?.recovery.as_ref()?;
        let source = recovery.source.as_deref()?;
        let mut entries = self.spec.external_clusters.iter().enumerate();
        let (index, entry) = entries.find(|(_, entry)| entry.name == source)?;
        Some((FieldPath::of("spec.externalClusters").item(index), entry))
    }

    /// The archive that the cluster begins with, and its place.
    pub fn recovered_archive(&self) -> Option<(FieldPath, &BarmanObjectStore)> {
        let (place, entry) = self.recovered()?;
        Some((place.name("barmanObjectStore"), entry.barman_object_store.as_ref()?))
    }
}

/// What the first instance is told to restore.
pub(super) fn checked(
    cluster: &Cluster,
    recovery: &Recovery,
    findings: &mut Findings,
) -> Option<RecoverySpec> {
    let place = FieldPath::of("spec.bootstrap.recovery");
    let found = source(cluster, recovery, &place);
    let target = target(recovery, &place.name("recoveryTarget"));
    let refused = |(path, refusal): (FieldPath, Refusal)| findings.refuse(&path, refusal);
    let (found, target) = match (found, target) {
        (Ok(found), Ok(target)) => (found, target),
        (found, target) => {
            found.err().into_iter().chain(target.err()).for_each(refused);
            return None;
        }
    };
    let (at, name, store) = found;
    let key = cluster.repository_key(SOURCE_REPOSITORY_KEY);
    let source = archive::with_key(archive::told(store, name, &at, findings)?, key.as_ref());
    let own = cluster.archive().and_then(|(own_place, own)| {
        let server = own.server_name.as_deref().or(cluster.metadata.name.as_deref());
        let is_same = own.destination_path.trim_end_matches('/')
            == store.destination_path.trim_end_matches('/')
            && own.endpoint_url == store.endpoint_url
            && server == Some(source.server.as_str());
        is_same.then_some(own_place)
    });
    if let Some(own) = own {
        findings.refuse(&own, Refusal::Recovery(RecoveryRefusal::OwnIsTheSource));
    }
    let Aim { target, exclusive, timeline, backup } = target;
    Some(RecoverySpec { name: name.to_owned(), source, target, exclusive, timeline, backup })
}

type Refused = (FieldPath, Refusal);

fn source<'a>(
    cluster: &'a Cluster,
    recovery: &'a Recovery,
    place: &FieldPath,
) -> Result<(FieldPath, &'a str, &'a BarmanObjectStore), Refused> {
    for (field, is_set) in [
        ("backup", recovery.backup.is_some()),
        ("volumeSnapshots", recovery.volume_snapshots.is_some()),
    ] {
        if is_set {
            return Err((place.name(field), Refusal::WithoutItsData));
        }
    }
    let refused = |at: &FieldPath, refusal| (at.clone(), Refusal::Recovery(refusal));
    let Some(given) = recovery.source.clone().filter(|given| !given.is_empty()) else {
        return Err(refused(place, RecoveryRefusal::NoSource));
    };
    let Some((at, entry)) = cluster.recovered() else {
        return Err(refused(&place.name("source"), RecoveryRefusal::Unlisted { given }));
    };
    match (&entry.barman_object_store, &entry.plugin) {
        (Some(store), _) => Ok((at.name("barmanObjectStore"), &entry.name, store)),
        (None, Some(_)) => Err((at.name("plugin"), Refusal::WithoutItsData)),
        (None, None) => Err(refused(&at, RecoveryRefusal::NoArchive)),
    }
}

/// Where a recovery stops, and how it gets there.
struct Aim {
    target: RecoveryTarget,
    exclusive: bool,
    timeline: Option<Timeline>,
    backup: Option<String>,
}

fn target(recovery: &Recovery, place: &FieldPath) -> Result<Aim, Refused> {
    let nothing = Written::default();
    let written = recovery.recovery_target.as_ref().unwrap_or(&nothing);
    let refused = |field: &str, refusal| (place.name(field), Refusal::Recovery(refusal));
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let given = [
        ("targetTime", said(&written.target_time)),
        ("targetLSN", said(&written.target_lsn)),
        ("targetXID", said(&written.target_xid)),
        ("targetName", said(&written.target_name)),
        ("targetImmediate", written.target_immediate.filter(|is| *is).map(|_| String::new())),
    ];
    let mut given = given.into_iter().filter_map(|(field, text)| Some((field, text?)));
    let first = given.next();
    if let (Some((other, _)), Some((field, _))) = (&first, given.next()) {
        return Err(refused(field, RecoveryRefusal::TwoTargets { other }));
    }
    let backup = said(&written.backup_id);
    if let Some(given) = backup.clone().filter(|given| BackupId::parse(given).is_err()) {
        return Err(refused("backupID", RecoveryRefusal::Backup { given }));
    }
    let target = match first {
        None => RecoveryTarget::Latest,
        Some((field, text)) => {
            let target = one(field, &text).map_err(|refusal| refused(field, refusal))?;
            let is_sought =
                matches!(target, RecoveryTarget::Transaction(_) | RecoveryTarget::Name(_));
            let begins = recovery.backup.is_some() || recovery.volume_snapshots.is_some();
            if is_sought && backup.is_none() && !begins {
                return Err(refused(field, RecoveryRefusal::NeedsBackup));
            }
            target
        }
    };
    let timeline = said(&written.target_tli).filter(|given| given != "latest");
    let timeline = timeline.map(|given| match parse_timeline(&given) {
        Some(timeline) => Ok(timeline),
        None => Err(refused("targetTLI", RecoveryRefusal::Timeline { given })),
    });
    let timeline = timeline.transpose()?;
    Ok(Aim { target, exclusive: written.exclusive.unwrap_or_default(), timeline, backup })
}

fn one(field: &str, text: &str) -> Result<RecoveryTarget, RecoveryRefusal> {
    let given = || text.to_owned();
    match field {
        "targetTime" => parse_time(text)
            .map(RecoveryTarget::Time)
            .ok_or_else(|| RecoveryRefusal::Time { given: given() }),
        "targetLSN" => Lsn::parse(text)
            .map(RecoveryTarget::Lsn)
            .map_err(|_| RecoveryRefusal::Lsn { given: given() }),
        "targetXID" => parse_transaction(text)
            .map(RecoveryTarget::Transaction)
            .ok_or_else(|| RecoveryRefusal::Transaction { given: given() }),
        "targetName" if text.len() > 63 || text.contains(char::is_control) => {
            Err(RecoveryRefusal::Name)
        }
        "targetName" => Ok(RecoveryTarget::Name(given())),
        _ => Ok(RecoveryTarget::Immediate),
    }
}

/// A moment, as RFC 3339 or as PostgreSQL writes it; UTC without a zone.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // PostgreSQL writes a zone as +00.
    let with_minutes = format!("{text}:00");
    let zoned = text.parse::<Timestamp>().or_else(|error| {
        let sign = text.len().checked_sub(3).and_then(|at| text.as_bytes().get(at));
        if matches!(sign, Some(b'+' | b'-')) && text.contains(':') {
            with_minutes.parse()
        } else {
            Err(error)
        }
    });
    let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    zoned.ok().or_else(|| local().map(|zoned| zoned.timestamp()))
}

/// The number of a transaction that can be a target: those below 3 are not of users.
pub fn parse_transaction(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|number| *number >= 3)
}

fn parse_timeline(text: &str) -> Option<Timeline> {
    text.parse().ok().filter(|number| *number > 0).map(Timeline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const SOURCE: &str = "externalClusters: [{name: a, barmanObjectStore: {destinationPath: /b}}]";

    fn outcome(spec: &str) -> String {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{{spec}}}}}"
        );
        match Cluster::from_yaml(&text).unwrap().0.checked() {
            Ok((checked, _)) => {
                let told = checked.postgres.recovery.unwrap();
                let RecoverySpec { source, target, exclusive, timeline, backup, .. } = told;
                let place = format!("{}/{}", source.destination, source.server);
                let timeline =
                    timeline.map_or("latest".to_owned(), |timeline| timeline.to_string());
                let edge = if exclusive { " exclusive" } else { "" };
                format!("{place} {target:?}{edge} on {timeline} from {backup:?}\n")
            }
            Err(problems) => {
                problems.iter().map(|it| format!("{it}\n")).collect::<Vec<_>>().concat()
            }
        }
    }

    fn aimed(target: &str) -> String {
        outcome(&format!(
            "bootstrap: {{recovery: {{source: a, recoveryTarget: {{{target}}}}}}}, {SOURCE}"
        ))
    }

    #[test]
    fn targets_are_told() {
        expect![[r#"
            /b/a Latest on latest from None
            /b/a Time(2026-11-22T14:31:00Z) on latest from None
            /b/a Time(2026-11-22T13:31:00.25Z) exclusive on latest from None
            /b/a Time(2026-11-22T14:31:00Z) on latest from None
            /b/a Time(2026-11-22T14:31:00Z) on latest from None
            /b/a Lsn(Lsn(97504394376)) on 3 from None
            /b/a Transaction(4711) on latest from Some("20261122T112233")
            /b/a Name("before it") on latest from Some("20261122T112233")
            /b/a Immediate on latest from None
        "#]]
        .assert_eq(
            &[
                "",
                "targetTime: '2026-11-22T14:31:00Z'",
                "targetTime: '2026-11-22 14:31:00.25+01', exclusive: true",
                "targetTime: '2026-11-22 14:31:00'",
                "targetTime: '2026-11-22T14:31:00+00:00'",
                "targetLSN: 16/B3B6FC88, targetTLI: '3'",
                "targetXID: '4711', backupID: 20261122T112233",
                "targetName: before it, backupID: 20261122T112233",
                "targetImmediate: true, targetTLI: latest",
            ]
            .map(aimed)
            .concat(),
        );
    }

    #[test]
    fn what_cannot_be_a_target_is_refused() {
        expect![[r#"
            spec.bootstrap.recovery.recoveryTarget.targetTime is "tomorrow", which is no moment: write it like 2026-11-22T14:31:00Z, or without a zone for UTC
            spec.bootstrap.recovery.recoveryTarget.targetLSN is "5", which is no position in the log: write it like 16/B374D848
            spec.bootstrap.recovery.recoveryTarget.targetXID is "2", which is no transaction: write its number, from 3 to 4294967295
            spec.bootstrap.recovery.recoveryTarget.targetXID does not tell which backup to begin with, because only the log knows where it is: add backupID
            spec.bootstrap.recovery.recoveryTarget.targetTLI is "0", which is no timeline: write a number, or latest
            spec.bootstrap.recovery.recoveryTarget.backupID is "nightly", which is not the id of a backup: write it like 20261122T112233
            spec.bootstrap.recovery.recoveryTarget.targetImmediate and targetLSN are both set, but a recovery ends at one place: remove one
        "#]]
        .assert_eq(
            &[
                "targetTime: tomorrow",
                "targetLSN: '5'",
                "targetXID: '2'",
                "targetXID: '4711'",
                "targetTLI: '0'",
                "backupID: nightly",
                "targetLSN: 0/5, targetImmediate: true",
            ]
            .map(aimed)
            .concat(),
        );
    }

    #[test]
    fn what_cannot_be_restored_is_refused() {
        expect![[r#"
            spec.bootstrap.recovery says nothing of what is restored: add source, the name of an entry in externalClusters
            spec.bootstrap.recovery.source is "x", but there is no such entry in externalClusters: add it or correct the name
            spec.externalClusters[0] has no archive to recover from: add barmanObjectStore to it
            spec.bootstrap.recovery.backup is not acted upon yet, and a cluster that starts without its data would look healthy: remove it to start with an empty database
            spec.externalClusters[0].barmanObjectStore says nothing of who writes there: add s3Credentials, azureCredentials or googleCredentials
            spec.backup.barmanObjectStore is where the log lies that is recovered from, and a new cluster must not write there: choose another serverName
        "#]]
        .assert_eq(
            &[
                &format!("bootstrap: {{recovery: {{}}}}, {SOURCE}"),
                &format!("bootstrap: {{recovery: {{source: x}}}}, {SOURCE}"),
                "bootstrap: {recovery: {source: a}}, externalClusters: [{name: a}]",
                &format!("bootstrap: {{recovery: {{backup: {{name: b}}}}}}, {SOURCE}"),
                "bootstrap: {recovery: {source: a}}, \
                 externalClusters: [{name: a, barmanObjectStore: {destinationPath: s3://b}}]",
                &format!(
                    "bootstrap: {{recovery: {{source: a}}}}, {SOURCE}, \
                     backup: {{barmanObjectStore: {{destinationPath: /b/, serverName: a}}}}"
                ),
            ]
            .map(outcome)
            .concat(),
        );
    }
}
