//! Sorts the claims of a cluster by how they are.
//!
//! Never lists one twice but when it grows.

use super::super::manifests::labels;
use super::super::observe::Seen;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_core::fleet::{Place, Pod, Volumes};
use pgherd_core::names::InstanceName;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    /// Its instance has no pod.
    Dangling,
    /// Another one of its instance is missing.
    Unusable,
    /// It never had a volume.
    Initializing,
}

pub(super) fn told(seen: &Seen, before: ClusterStatus) -> ClusterStatus {
    let of = |wanted: State| -> Vec<String> {
        let such = seen.claims.iter().filter(|(_, claim)| state(claim, seen) == wanted);
        such.map(|(name, _)| name.clone()).collect()
    };
    let growing = seen.claims.iter().filter(|(_, claim)| grows(claim));
    ClusterStatus {
        pvc_count: i32::try_from(seen.claims.len()).ok(),
        healthy_pvc: of(State::Healthy),
        dangling_pvc: of(State::Dangling),
        unusable_pvc: of(State::Unusable),
        initializing_pvc: of(State::Initializing),
        resizing_pvc: growing.map(|(name, _)| name.clone()).collect(),
        ..before
    }
}

fn state(claim: &PersistentVolumeClaim, seen: &Seen) -> State {
    let label = claim.metadata.labels.as_ref().and_then(|all| all.get(labels::INSTANCE));
    let place = label.and_then(|name| seen.places.get(&InstanceName::parse(name).ok()?));
    let place = place.copied().unwrap_or(Place::NOWHERE);
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    match (place.volumes, place.pod) {
        (Volumes::Partial | Volumes::Going, _) => State::Unusable,
        _ if phase != Some("Bound") => State::Initializing,
        (Volumes::There | Volumes::Absent, Pod::Absent) => State::Dangling,
        (Volumes::There | Volumes::Absent, Pod::Unready | Pod::Ready | Pod::Ended | Pod::Going) => {
            State::Healthy
        }
    }
}

fn grows(claim: &PersistentVolumeClaim) -> bool {
    let conditions = claim.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut growing = conditions.filter(|condition| condition.status == "True");
    growing.any(|it| matches!(it.type_.as_str(), "Resizing" | "FileSystemResizePending"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::fleet::Form;
    use pgherd_core::names::ClusterName;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn each_claim_is_listed_by_how_it_is() {
        let mut seen = Seen::default();
        let all = [
            (1, "Bound", Volumes::There, Pod::Ready),
            (2, "Bound", Volumes::There, Pod::Absent),
            (3, "Pending", Volumes::There, Pod::Unready),
            (4, "Bound", Volumes::Partial, Pod::Unready),
        ];
        for (serial, phase, volumes, pod) in all {
            let name = InstanceName::new(&ClusterName::parse("db").unwrap(), serial);
            let growing = json!([{"type": "Resizing", "status": "True"}]);
            let claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "labels": {labels::INSTANCE: name}},
                "status": {"phase": phase, "conditions": if serial == 1 { growing } else { json!([]) }},
            });
            let claim = Arc::new(serde_json::from_value(claim).unwrap());
            seen.claims.insert(name.to_string(), claim);
            seen.places.insert(name, Place { volumes, pod, form: Form::Wanted });
        }
        let ClusterStatus {
            healthy_pvc,
            dangling_pvc,
            initializing_pvc,
            unusable_pvc,
            resizing_pvc,
            ..
        } = told(&seen, ClusterStatus::default());
        let told = [healthy_pvc, dangling_pvc, initializing_pvc, unusable_pvc, resizing_pvc];
        expect![[r#"[["db-1"], ["db-2"], ["db-3"], ["db-4"], ["db-1"]]"#]]
            .assert_eq(&format!("{told:?}"));
    }
}
