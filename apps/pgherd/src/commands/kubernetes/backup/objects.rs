//! Sets Backup objects beside what the repository holds.
//!
//! Never takes an object for a backup: one whose backup is not there is told as such.

use super::super::super::output::remark;
use super::super::super::repository::list::{Listed, Listing};
use super::super::place::{Reached, unread};
use kube::Api;
use kube::api::ListParams;
use pgherd_api::backup::{Backup, BackupStatus};
use pgherd_kubernetes::console::read::{ReadError, answer};
use pgherd_local::failure::Failure;

/// Backup objects of a cluster, the oldest first.
pub(in super::super) struct Objects(pub(super) Vec<Backup>);

/// As far as they may be read.
pub(in super::super) async fn of(reached: &Reached) -> Result<Objects, Failure> {
    let all: Api<Backup> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let found = match answer(all.list(&ListParams::default())).await {
        Ok(found) => found.items,
        Err(ReadError::Permit { .. }) => {
            let namespace = &reached.namespace;
            remark(&format!(
                "note: Backup objects are not shown (it takes the right to list \
                 backups.postgresql.cnpg.io in {namespace})"
            ));
            Vec::new()
        }
        Err(error) => return Err(unread(&error)),
    };
    let is_own = |backup: &Backup| backup.spec.cluster.name == reached.cluster.as_str();
    let mut own: Vec<Backup> = found.into_iter().filter(is_own).collect();
    own.sort_by_key(|backup| backup.metadata.creation_timestamp.as_ref().map(|made| made.0));
    Ok(Objects(own))
}

impl Objects {
    /// An object's name, as the id of its backup.
    pub(in super::super) fn resolve(&self, given: &mut String) {
        let named = self.0.iter().find(|backup| backup.metadata.name.as_ref() == Some(given));
        if let Some(id) = named.and_then(id) {
            id.clone_into(given);
        }
    }

    /// Which object a backup came of.
    pub(super) fn name(&self, listed: &mut Listed) {
        let of = |backup: &&Backup| id(backup).is_some() && id(backup) == listed.id.as_deref();
        let object = self.0.iter().find(of);
        listed.object = object.and_then(|backup| backup.metadata.name.clone());
    }

    /// The same of all; and the objects that no backup is there of.
    pub(super) fn add_to(&self, listing: &mut Listing) {
        listing.all.iter_mut().for_each(|listed| self.name(listed));
        let is_there = |backup: &&Backup| {
            let id = id(backup);
            id.is_some() && listing.all.iter().any(|listed| listed.id.as_deref() == id)
        };
        let others = self.0.iter().filter(|backup| !is_there(backup)).map(alone);
        let others: Vec<Listed> = others.collect();
        listing.all.extend(others);
    }
}

fn id(backup: &Backup) -> Option<&str> {
    backup.status.as_ref()?.backup_id.as_deref()
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
        objects.add_to(&mut listing);
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
