//! Says of a cluster how its backups went, from its Backup objects.
//!
//! Never forgets what was told when an object is deleted: the backup may be there all the same.

use super::conditions::{Told, dated, told};
use crate::errand::status::{FINALIZING, RUNNING, STARTED};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use pgherd_api::backup::{Backup, BackupStatus};
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_api::errand::{COMPLETED, FAILED};
use pgherd_core::backup::retention::{Policy, first_kept};
use pgherd_core::units::Moment;
use std::collections::BTreeMap;

const KIND: &str = "LastBackupSucceeded";
const METHOD: &str = "barmanObjectStore";

/// What is known of the backups of a cluster.
pub(super) struct Known<'a> {
    pub(super) backups: &'a [&'a Backup],
    pub(super) policy: Option<&'a str>,
    /// From when on it can be recovered, as the repository was at the end of the last one.
    pub(super) since: Option<Timestamp>,
}

/// The status with all that is known of backups, given what was told before.
pub(super) fn with_backups(
    mut status: ClusterStatus,
    before: &ClusterStatus,
    &Known { backups, policy, since }: &Known<'_>,
    about: (Option<i64>, Timestamp),
) -> ClusterStatus {
    let ends = |phase, end: fn(&BackupStatus) -> Option<&Time>| {
        let such = backups.iter().filter_map(|backup| backup.status.as_ref());
        let such = such.filter(move |status| status.phase.as_deref() == Some(phase));
        such.filter_map(end).map(|end| end.0).collect::<Vec<_>>()
    };
    let completed = ends(COMPLETED, |status| status.stopped_at.as_ref());
    let failed = ends(FAILED, |status| status.reconciliation_terminated_at.as_ref());
    let last = completed.iter().max().copied();
    let is_news = last.is_some_and(|last| before.last_successful_backup != Some(last.to_string()));
    let kept = before.first_recoverability_point.as_ref().filter(|_| !is_news);
    let kept = kept.and_then(|kept| kept.parse().ok());
    // The repository knows better than the objects, of which some may be gone.
    let first = last.and_then(|last| since.or(kept).or_else(|| first(&completed, policy, last)));
    let text = |at: Option<Timestamp>, known: &Option<String>| {
        at.map(|at| at.to_string()).or_else(|| known.clone())
    };
    let by_method = |at: Option<Timestamp>, known: &BTreeMap<String, Time>| match at {
        Some(at) => BTreeMap::from([(METHOD.to_owned(), Time(at))]),
        None => known.clone(),
    };
    status.last_successful_backup = text(last, &before.last_successful_backup);
    status.last_successful_backup_by_method =
        by_method(last, &before.last_successful_backup_by_method);
    status.last_failed_backup = text(failed.into_iter().max(), &before.last_failed_backup);
    status.first_recoverability_point = text(first, &before.first_recoverability_point);
    status.first_recoverability_point_by_method =
        by_method(first, &before.first_recoverability_point_by_method);
    let condition = match newest(backups).and_then(said) {
        Some(told) => Some(dated(&told, &before.conditions, about)),
        None => before.conditions.iter().find(|it| it.type_ == KIND).cloned(),
    };
    status.conditions.extend(condition);
    status
}

/// When the first one ended that is kept: the policy was applied after the last one.
fn first(completed: &[Timestamp], policy: Option<&str>, last: Timestamp) -> Option<Timestamp> {
    let moment = |at: &Timestamp| Moment(at.as_microsecond());
    let ended: Vec<Moment> = completed.iter().map(moment).collect();
    let policy = policy.and_then(|policy| Policy::parse(policy).ok());
    let first = first_kept(&ended, policy, moment(&last))?;
    Timestamp::from_microsecond(first.0).ok()
}

/// The one that was begun last.
fn newest<'a>(backups: &[&'a Backup]) -> Option<&'a BackupStatus> {
    let begun = backups.iter().filter_map(|backup| {
        let status = backup.status.as_ref()?;
        let since = status.reconciliation_started_at.as_ref();
        let since = since.or(status.reconciliation_terminated_at.as_ref())?;
        Some((since.0, status))
    });
    begun.max_by_key(|(since, _)| *since).map(|(_, status)| status)
}

fn said(status: &BackupStatus) -> Option<Told> {
    let error = || status.error.as_deref().unwrap_or_default();
    Some(match status.phase.as_deref()? {
        COMPLETED => told(KIND, ["True", "LastBackupSucceeded"], "Backup was successful"),
        FAILED => told(KIND, ["False", "LastBackupFailed"], error()),
        STARTED | RUNNING | FINALIZING => {
            told(KIND, ["False", "BackupStarted"], "New Backup starting up")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::backup;
    use expect_test::expect;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    fn over(name: &str, phase: &str, hour: i64) -> Backup {
        let mut backup = backup(name, 1);
        backup.status = Some(BackupStatus {
            phase: Some(phase.to_owned()),
            error: (phase == FAILED).then(|| "no such bucket".to_owned()),
            stopped_at: (phase == COMPLETED).then(|| Time(at(hour))),
            reconciliation_started_at: Some(Time(at(hour))),
            reconciliation_terminated_at: Some(Time(at(hour))),
            ..BackupStatus::default()
        });
        backup
    }

    fn told(before: &ClusterStatus, backups: &[Backup]) -> (ClusterStatus, String) {
        let backups: Vec<&Backup> = backups.iter().collect();
        let known = Known { backups: &backups, policy: Some("1d"), since: None };
        let status = with_backups(ClusterStatus::default(), before, &known, (Some(1), at(0)));
        let (first, last) = (&status.first_recoverability_point, &status.last_successful_backup);
        let text = format!("{first:?} to {last:?}, {:?}", status.last_failed_backup);
        let conditions = status
            .conditions
            .iter()
            .map(|it| format!(" {} {} {}: {}", it.type_, it.status, it.reason, it.message));
        let text = text + &conditions.collect::<String>() + "\n";
        (status, text)
    }

    #[test]
    fn the_repository_knows_better_than_the_objects() {
        let all = [over("b", COMPLETED, 2), over("c", COMPLETED, 3)];
        let backups: Vec<&Backup> = all.iter().collect();
        let told = |before: &ClusterStatus, since| {
            let known = Known { backups: &backups, policy: None, since };
            with_backups(ClusterStatus::default(), before, &known, (Some(1), at(0)))
        };
        let first = |status: &ClusterStatus| status.first_recoverability_point.clone();
        let status = told(&ClusterStatus::default(), Some(at(1)));
        assert_eq!(first(&status), Some(at(1).to_string()));
        // An operator that leads since a moment ago has not heard of it.
        assert_eq!(first(&told(&status, None)), Some(at(1).to_string()));
        assert_eq!(first(&told(&ClusterStatus::default(), None)), Some(at(2).to_string()));
    }

    #[test]
    fn the_newest_backup_is_told_and_nothing_is_forgotten() {
        let mut all = Vec::new();
        let (mut before, mut lines) = (ClusterStatus::default(), String::new());
        for backup in [
            over("a", COMPLETED, 1),
            over("b", COMPLETED, 20),
            over("c", COMPLETED, 48),
            over("d", FAILED, 49),
            over("e", RUNNING, 50),
        ] {
            all.push(backup);
            let (status, text) = told(&before, &all);
            (before, lines) = (status, lines + &text);
        }
        let (_, text) = told(&before, &[]);
        expect![[r#"
            Some("2027-01-15T09:00:00Z") to Some("2027-01-15T09:00:00Z"), None LastBackupSucceeded True LastBackupSucceeded: Backup was successful
            Some("2027-01-15T09:00:00Z") to Some("2027-01-16T04:00:00Z"), None LastBackupSucceeded True LastBackupSucceeded: Backup was successful
            Some("2027-01-16T04:00:00Z") to Some("2027-01-17T08:00:00Z"), None LastBackupSucceeded True LastBackupSucceeded: Backup was successful
            Some("2027-01-16T04:00:00Z") to Some("2027-01-17T08:00:00Z"), Some("2027-01-17T09:00:00Z") LastBackupSucceeded False LastBackupFailed: no such bucket
            Some("2027-01-16T04:00:00Z") to Some("2027-01-17T08:00:00Z"), Some("2027-01-17T09:00:00Z") LastBackupSucceeded False BackupStarted: New Backup starting up
            Some("2027-01-16T04:00:00Z") to Some("2027-01-17T08:00:00Z"), Some("2027-01-17T09:00:00Z") LastBackupSucceeded False BackupStarted: New Backup starting up
        "#]]
        .assert_eq(&(lines + &text));
    }
}
