//! Sets Backup objects beside what the repository holds.
//!
//! Never takes an object for a backup: one whose backup is not there is told as such.

use super::super::super::repository::list::{Listed, Listing};
use super::super::errand::objects::Objects;
use pgherd_api::backup::{Backup, BackupStatus};

/// Which object each backup came of; and the objects that no backup is there of.
pub(super) fn add_to(listing: &mut Listing, objects: &Objects<Backup>) {
    for listed in &mut listing.all {
        listed.object = objects.name(listed.id.as_deref());
    }
    let ids: Vec<_> = listing.all.iter().map(|listed| listed.id.clone()).collect();
    listing.all.extend(objects.without(&ids).map(alone));
}

fn alone(backup: &Backup) -> Listed {
    let nothing = BackupStatus::default();
    let status = backup.status.as_ref().unwrap_or(&nothing);
    let is_gone = status.phase.as_deref() == Some("completed");
    let gone = || is_gone.then(|| "it is not in the repository any more".to_owned());
    Listed {
        object: backup.metadata.name.clone(),
        name: status.backup_name.clone(),
        status: status.phase.clone().unwrap_or_else(|| "new".to_owned()),
        problem: status.error.clone().or_else(gone),
        began_at: status.started_at.as_ref().map(|at| at.0),
        taken_by: "pgherd".to_owned(),
        ..Listed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn backup(name: &str, status: &serde_json::Value) -> Backup {
        serde_json::from_value(json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": {"name": name},
            "spec": {"cluster": {"name": "db"}}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn objects_are_beside_their_backups_and_others_are_told_after_them() {
        let (there, gone) = ("20261122T112233", "20251122T112233");
        let objects = Objects(vec![
            backup("old", &json!({"phase": "completed", "backupId": gone})),
            backup("nightly", &json!({"phase": "completed", "backupId": there})),
            backup("next", &json!({"phase": "pending", "error": "the log is not archived"})),
        ]);
        let listed = |id: &str| Listed { id: Some(id.to_owned()), ..Listed::default() };
        let all = vec![listed("20261121T000000"), listed(there)];
        let mut listing = Listing { place: "/b/db".to_owned(), all };
        add_to(&mut listing, &objects);
        let line =
            |it: &Listed| format!("{:?} {:?} {} {:?}\n", it.id, it.object, it.status, it.problem);
        expect_test::expect![[r#"
            Some("20261121T000000") None  None
            Some("20261122T112233") Some("nightly")  None
            None Some("old") completed Some("it is not in the repository any more")
            None Some("next") pending Some("the log is not archived")
        "#]]
        .assert_eq(&listing.all.iter().map(line).collect::<String>());
        let mut given = "nightly".to_owned();
        objects.resolve(&mut given);
        assert_eq!(given, there);
    }
}
