//! Sets Dump objects beside what the repository holds.
//!
//! Never takes an object for a dump: one whose dump is not there is told as such.

use super::super::super::repository::dump::list::{Listed, Listing};
use super::super::errand::objects::Objects;
use pgherd_api::dump::Dump;
use pgherd_api::errand::{COMPLETED, Errand};
use pgherd_core::units::Bytes;

/// Which object each dump came of; and the objects that no dump is there of.
pub(super) fn add_to(listing: &mut Listing, objects: &Objects<Dump>) {
    for listed in &mut listing.all {
        listed.object = objects.name(listed.id.as_deref());
    }
    let ids: Vec<_> = listing.all.iter().map(|listed| listed.id.clone()).collect();
    listing.all.extend(objects.without(&ids).map(alone));
}

fn alone(dump: &Dump) -> Listed {
    let going = dump.going();
    let is_gone = going.phase.as_deref() == Some(COMPLETED);
    let gone = || is_gone.then(|| "it is not in the repository any more".to_owned());
    Listed {
        object: dump.metadata.name.clone(),
        status: Some(going.phase.unwrap_or_else(|| "new".to_owned())),
        problem: going.error.or_else(gone),
        ..Listed::default()
    }
}

/// What an object alone tells of a dump that is completed.
pub(super) fn told(dump: &Dump) -> Listed {
    let status = dump.status.clone().unwrap_or_default();
    let stored = status.stored_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    Listed {
        id: status.dump_id,
        object: dump.metadata.name.clone(),
        status: status.going.phase,
        stored_bytes: stored.map(Bytes),
        ..Listed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dump(name: &str, status: &serde_json::Value) -> Dump {
        serde_json::from_value(json!({
            "apiVersion": "pgherd.dev/v1alpha1", "kind": "Dump", "metadata": {"name": name},
            "spec": {"cluster": {"name": "db"}}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn objects_are_beside_their_dumps_and_others_are_told_after_them() {
        let (there, gone) = ("20261122T112233", "20251122T112233");
        let objects = Objects(vec![
            dump("old", &json!({"phase": "completed", "dumpId": gone})),
            dump("nightly", &json!({"phase": "completed", "dumpId": there})),
            dump("next", &json!({"phase": "failed", "error": "there is no database \"x\""})),
            dump("new", &json!({})),
        ]);
        let listed = |id: &str| Listed { id: Some(id.to_owned()), ..Listed::default() };
        let all = vec![listed("20261121T000000"), listed(there)];
        let mut listing = Listing { place: "/b/db".to_owned(), all };
        add_to(&mut listing, &objects);
        let text = serde_json::to_string(&listing.all).unwrap().replace("},", "},\n");
        expect_test::expect![[r#"
            [{"id":"20261121T000000"},
            {"id":"20261122T112233","object":"nightly"},
            {"object":"old","status":"completed","problem":"it is not in the repository any more"},
            {"object":"next","status":"failed","problem":"there is no database \"x\""},
            {"object":"new","status":"new"}]
        "#]]
        .assert_eq(&(text + "\n"));
    }
}
