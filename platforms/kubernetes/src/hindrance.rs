//! Finds what keeps an instance from running, or clients from reaching it, in what Kubernetes says
//! of its pod, its claims and the route.
//!
//! Never guesses a cause, and never says the same thing in other words a moment later: what is told
//! goes into a status that is written when it changes.

use crate::cluster::manifests::pod::BOOTSTRAP_CONTAINER;
use crate::cluster::manifests::{labels, services};
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use pgherd_agent::postgres::install::{NEWEST, OLDEST};
use pgherd_api::console::Fact;
use pgherd_core::names::ClusterName;
use pgherd_core::units::Epoch;

/// Why a container waits for its image.
const WITHOUT_IMAGE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];
const NOT_PULLED: &str = "cannot be pulled: ";
const NOT_STARTED: &str = "does not start: ";
const PULLED_WITH: &str = "spec.imagePullSecrets names Secret";
/// What takes longer than this is told, although it may only be slow.
const SLOW: SignedDuration = SignedDuration::from_secs(30);

/// What keeps the pod of an instance from running. `claims` are those of the instance.
pub(crate) fn of_instance<'a>(
    pod: Option<&Pod>,
    claims: impl Iterator<Item = &'a PersistentVolumeClaim>,
    now: Timestamp,
) -> Option<Fact> {
    let open: Vec<&PersistentVolumeClaim> = claims.filter(|claim| is_open(claim)).collect();
    let own = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let own = own.and_then(|pod| of_pod(pod, &open, now));
    own.or_else(|| open.into_iter().find_map(|claim| of_claim(claim, now)))
}

/// Whether an image of the pod cannot be pulled.
pub(crate) fn lacks_image(pod: &Pod) -> bool {
    let status = pod.status.iter();
    let all = status.flat_map(|it| it.init_container_statuses.iter().chain(&it.container_statuses));
    all.flatten().any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        reason.is_some_and(|reason| WITHOUT_IMAGE.contains(&reason))
    })
}

/// The same of an image that may only lack what it is pulled with: Kubernetes pulls without Secrets
/// that do not exist.
pub(crate) fn without_secrets(fact: Fact, secrets: &[String]) -> Fact {
    if secrets.is_empty() {
        return fact;
    }
    let names = secrets.join(" and ");
    let (there, pronoun) = if secrets.len() == 1 { ("does", "it") } else { ("do", "them") };
    Fact {
        what: format!("{}; {PULLED_WITH} {names}, which {there} not exist", fact.what),
        fix: Some(format!("create {pronoun} with type kubernetes.io/dockerconfigjson")),
        ..fact
    }
}

/// Whether this reason of a phase is about those.
pub(crate) fn is_about_secrets(reason: &str) -> bool {
    reason.contains(PULLED_WITH)
}

/// Whether this reason of a phase has what a kubelet says of a container that it cannot start. It goes on
/// until somebody does something about it.
pub(crate) fn is_by_kubelet(reason: &str) -> bool {
    [NOT_PULLED, NOT_STARTED].iter().any(|it| reason.contains(it))
}

/// A route to a primary that the record does not know: nobody dares to write over it.
pub(crate) fn of_route(
    (namespace, cluster): (&str, &ClusterName),
    led: Option<Epoch>,
    known: Epoch,
) -> Option<Fact> {
    let led = led.filter(|led| *led > known)?;
    let slice = services::of_primary(cluster);
    Some(Fact {
        about: format!("endpointslice/{slice}"),
        what: format!("it is marked for epoch {led}, and the Lease {cluster} knows {known}"),
        fix: Some(format!(
            "if somebody edited it, and not the Lease, kubectl delete endpointslice {slice} -n {namespace}; it is made anew"
        )),
    })
}

/// The same in one sentence.
pub(crate) fn sentence(fact: &Fact) -> String {
    let Fact { about, what, fix } = fact;
    match fix {
        Some(fix) => format!("{about}: {what} (fix: {fix})"),
        None => format!("{about}: {what}"),
    }
}

fn of_pod(pod: &Pod, open: &[&PersistentVolumeClaim], now: Timestamp) -> Option<Fact> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let is = |kind: &str, value: &str| {
        let mut all = status.conditions.iter().flatten();
        all.any(|it| it.type_ == kind && it.status == value)
    };
    if is("Ready", "True") {
        return None;
    }
    if let Some(refused) = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False")
    {
        let why = refused.message.as_deref().unwrap_or("no node takes it");
        return Some(unscheduled(pod, why, open));
    }
    let first = status.init_container_statuses.iter().flatten();
    let mut all = first.chain(status.container_statuses.iter().flatten());
    all.find_map(|container| stuck(pod, container)).or_else(|| not_begun(pod, now))
}

fn unscheduled(pod: &Pod, why: &str, open: &[&PersistentVolumeClaim]) -> Fact {
    let why = essence(why);
    let lowered = why.to_ascii_lowercase();
    let about_volumes = ["volume", "storageclass", "claim"].iter().any(|it| lowered.contains(it));
    if let Some(claim) = open.first().filter(|_| about_volumes) {
        let what = format!("no node takes it: {why}; {} is not bound", claimed(claim));
        fact(pod, what, for_volume(claim))
    } else {
        let fix = "give the nodes room, or change resources or affinity of the Cluster";
        fact(pod, format!("no node takes it: {why}"), fix.to_owned())
    }
}

/// What the scheduler says of nodes, without what it says of pods that it would end for this one.
fn essence(said: &str) -> &str {
    let own = said.split(" preemption:").next().unwrap_or(said);
    let own = own.trim_end_matches([',', ' ']).trim_end_matches("no new claims to deallocate");
    own.trim_end_matches(['.', ' '])
}

/// A container that does not start, or does not stay.
fn stuck(pod: &Pod, container: &ContainerStatus) -> Option<Fact> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|it| it.reason.as_deref()).unwrap_or_default();
    let said = waiting.and_then(|it| it.message.as_deref()).unwrap_or_default();
    match reason {
        reason if WITHOUT_IMAGE.contains(&reason) => {
            // What a repeated attempt says ends with what the first one said.
            let said = said.rsplit("ErrImagePull: ").next().unwrap_or(said);
            let said = if said.is_empty() { reason } else { said };
            let what = format!("image {} {NOT_PULLED}{said}", image(pod, container));
            Some(fact(pod, what, for_image(name)))
        }
        "" | "PodInitializing" | "ContainerCreating" | "CrashLoopBackOff" => {
            let ended = ended(state).or_else(|| ended(container.last_state.as_ref()?));
            let (code, why) = ended?;
            let what = format!("container {name} ended with {code}: {why}");
            Some(fact(pod, what, for_end(pod, container, &why)))
        }
        _ => {
            let image = image(pod, container);
            let said = if said.is_empty() { String::new() } else { format!(": {said}") };
            let what = format!("container {name} (image {image}) {NOT_STARTED}{reason}{said}");
            Some(fact(pod, what, format!("put that right, and it goes on: {}", described(pod))))
        }
    }
}

fn ended(state: &ContainerState) -> Option<(i32, String)> {
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    // Of a log that is kept, what was said last is the reason.
    let said = ended.message.as_deref().and_then(|said| said.trim().lines().next_back());
    let why = said.or(ended.reason.as_deref()).unwrap_or("it did not say why");
    Some((ended.exit_code, why.trim_start_matches("error: ").to_owned()))
}

/// The kubelet's reasons for this are in events only.
fn not_begun(pod: &Pod, now: Timestamp) -> Option<Fact> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses);
    let has_begun = all.flatten().any(|container| {
        let state = container.state.as_ref();
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    let since = status.start_time.as_ref().filter(|_| !has_begun)?;
    is_slow(since, now).then(|| {
        let what = "its node has not begun with it: an image or a volume takes long, or a Secret or ConfigMap that it mounts is missing";
        fact(pod, what.to_owned(), described(pod))
    })
}

fn is_open(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    claim.metadata.deletion_timestamp.is_none() && phase != Some("Bound")
}

fn of_claim(claim: &PersistentVolumeClaim, now: Timestamp) -> Option<Fact> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_late = claim.metadata.creation_timestamp.as_ref().is_some_and(|it| is_slow(it, now));
    let (what, fix) = match phase {
        Some("Lost") => ("the volume that it was bound to is lost", for_lost(claim)),
        Some(_) | None if is_late => ("no volume is bound to it", for_volume(claim)),
        Some(_) | None => return None,
    };
    let name = claim.metadata.name.clone().unwrap_or_default();
    let about = format!("persistentvolumeclaim/{name}");
    Some(Fact { about, what: format!("{what} ({})", class(claim)), fix: Some(fix) })
}

pub(crate) fn is_slow(since: &Time, now: Timestamp) -> bool {
    now.duration_since(since.0) > SLOW
}

fn class(claim: &PersistentVolumeClaim) -> String {
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    class.map_or_else(|| "no StorageClass".to_owned(), |class| format!("StorageClass {class}"))
}

fn claimed(claim: &PersistentVolumeClaim) -> String {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    format!("persistentvolumeclaim/{name} ({})", class(claim))
}

/// A claim that never had a volume can be made anew without a loss, but not changed.
fn for_volume(claim: &PersistentVolumeClaim) -> String {
    let there = match claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()) {
        Some(class) => format!("see that StorageClass {class} exists and can make such a volume"),
        None => "make a StorageClass the default one, or name one under storage".to_owned(),
    };
    format!("{there}; or correct storage of the Cluster and {}", deletion(claim))
}

fn for_lost(claim: &PersistentVolumeClaim) -> String {
    format!(
        "bring back the PersistentVolume that it names; or, if another instance has the data, {}",
        deletion(claim)
    )
}

fn deletion(claim: &PersistentVolumeClaim) -> String {
    let metadata = &claim.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let instance = metadata.labels.as_ref().and_then(|all| all.get(labels::INSTANCE));
    let instance = instance.map_or(name, String::as_str);
    format!("kubectl delete pvc/{name} pod/{instance} -n {namespace}")
}

fn for_image(container: &str) -> String {
    if container == BOOTSTRAP_CONTAINER {
        return "make the operator's image available to all nodes, or correct OPERATOR_IMAGE_NAME of the operator".to_owned();
    }
    "correct imageName or imagePullSecrets of the Cluster, or make the image available".to_owned()
}

fn for_end(pod: &Pod, container: &ContainerStatus, why: &str) -> String {
    // As the agent says it when it looks for its PostgreSQL.
    if why.starts_with("finding PostgreSQL in the image") {
        return format!(
            "correct imageName of the Cluster: image {} has to hold the whole server of PostgreSQL {OLDEST} to {NEWEST}",
            image(pod, container)
        );
    }
    let (name, metadata) = (&container.name, &pod.metadata);
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let pod = metadata.name.as_deref().unwrap_or_default();
    format!("kubectl logs {pod} -c {name} --previous -n {namespace}")
}

/// As the pod names it; what its status names may be a digest.
fn image<'a>(pod: &'a Pod, container: &'a ContainerStatus) -> &'a str {
    let spec = pod.spec.as_ref();
    let first = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let all = spec.map_or(&[][..], |spec| &spec.containers);
    let mut all = first.iter().chain(all);
    let named = all.find(|it: &&Container| it.name == container.name);
    named.and_then(|it| it.image.as_deref()).unwrap_or(&container.image)
}

fn described(pod: &Pod) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    format!("kubectl describe pod {name} -n {namespace}")
}

fn fact(pod: &Pod, what: String, fix: String) -> Fact {
    let about = format!("pod/{}", pod.metadata.name.as_deref().unwrap_or_default());
    Fact { about, what, fix: Some(fix) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::{Value, json};

    const NOW: &str = "2027-01-15T08:10:00Z";

    fn pod(status: &Value) -> Pod {
        let metadata = json!({"name": "db-1", "namespace": "shop"});
        let images = json!([{"name": "postgres", "image": "pg:15"}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": images}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    fn container(name: &str, state: &Value, last: &Value) -> Pod {
        let one = json!({
            "name": name, "image": "sha256:1", "imageID": "", "ready": false, "restartCount": 2,
            "state": state, "lastState": last,
        });
        pod(&json!({"containerStatuses": [one], "startTime": "2027-01-15T08:00:00Z"}))
    }

    fn waiting(reason: &str, message: &str) -> Pod {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        container("postgres", &state, &json!({}))
    }

    fn crashing(message: &str) -> Pod {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let last = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}});
        container("postgres", &state, &last)
    }

    fn claim(phase: &str, class: Option<&str>) -> PersistentVolumeClaim {
        let metadata = json!({"name": "db-1", "namespace": "shop", "creationTimestamp": "2027-01-15T08:00:00Z"});
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
            "spec": {"storageClassName": class}, "status": {"phase": phase}});
        serde_json::from_value(claim).unwrap()
    }

    fn told(pod: Option<&Pod>, claims: &[PersistentVolumeClaim]) -> String {
        let found = of_instance(pod, claims.iter(), NOW.parse().unwrap());
        found.map_or_else(|| "nothing\n".to_owned(), |fact| sentence(&fact) + "\n")
    }

    #[test]
    fn a_secret_that_an_image_is_pulled_with_and_is_missing_is_told_beside_the_image() {
        let refused = waiting("ImagePullBackOff", "Back-off: ErrImagePull: unauthorized");
        assert!(lacks_image(&refused));
        assert!(!lacks_image(&waiting("ContainerCreating", "")));
        let told = |secrets: &[&str]| {
            let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
            let fact = of_instance(Some(&refused), [].iter(), NOW.parse().unwrap()).unwrap();
            sentence(&without_secrets(fact, &secrets)) + "\n"
        };
        let all = [told(&[]), told(&["a"]), told(&["a", "b"])];
        assert_eq!(all.each_ref().map(|it| is_about_secrets(it)), [false, true, true]);
        expect![[r"
            pod/db-1: image pg:15 cannot be pulled: unauthorized (fix: correct imageName or imagePullSecrets of the Cluster, or make the image available)
            pod/db-1: image pg:15 cannot be pulled: unauthorized; spec.imagePullSecrets names Secret a, which does not exist (fix: create it with type kubernetes.io/dockerconfigjson)
            pod/db-1: image pg:15 cannot be pulled: unauthorized; spec.imagePullSecrets names Secret a and b, which do not exist (fix: create them with type kubernetes.io/dockerconfigjson)
        "]]
        .assert_eq(&all.concat());
    }

    #[test]
    fn a_pod_that_no_node_takes_names_its_volume() {
        let pending = |why: &str| {
            let condition = json!({"type": "PodScheduled", "status": "False", "message": why});
            pod(&json!({"phase": "Pending", "conditions": [condition]}))
        };
        let unbound = pending(
            "0/3 nodes are available: pod has unbound PersistentVolumeClaims. no new claims to \
             deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful.",
        );
        let full = pending("0/3 nodes are available: 3 Insufficient cpu.");
        let told = [
            told(Some(&unbound), &[claim("Pending", Some("gold"))]),
            told(Some(&full), &[claim("Pending", Some("gold"))]),
            told(None, &[claim("Pending", None)]),
            told(None, &[claim("Lost", Some("gold"))]),
            told(None, &[claim("Bound", Some("gold"))]),
        ];
        expect![[r#"
            pod/db-1: no node takes it: 0/3 nodes are available: pod has unbound PersistentVolumeClaims; persistentvolumeclaim/db-1 (StorageClass gold) is not bound (fix: see that StorageClass gold exists and can make such a volume; or correct storage of the Cluster and kubectl delete pvc/db-1 pod/db-1 -n shop)
            pod/db-1: no node takes it: 0/3 nodes are available: 3 Insufficient cpu (fix: give the nodes room, or change resources or affinity of the Cluster)
            persistentvolumeclaim/db-1: no volume is bound to it (no StorageClass) (fix: make a StorageClass the default one, or name one under storage; or correct storage of the Cluster and kubectl delete pvc/db-1 pod/db-1 -n shop)
            persistentvolumeclaim/db-1: the volume that it was bound to is lost (StorageClass gold) (fix: bring back the PersistentVolume that it names; or, if another instance has the data, kubectl delete pvc/db-1 pod/db-1 -n shop)
            nothing
        "#]].assert_eq(&told.concat());
    }

    #[test]
    fn a_container_that_does_not_start_says_why() {
        let again = "Back-off pulling image \"pg:15\": ErrImagePull: not found";
        let no_server = "{\"msg\":\"begins\"}\nerror: finding PostgreSQL in the image: no PostgreSQL 14 to 18 was found";
        let pods = vec![
            waiting("ImagePullBackOff", again),
            waiting("ErrImagePull", "not found"),
            waiting("InvalidImageName", "couldn't parse image name \"pg::15\""),
            waiting("ErrImageNeverPull", ""),
            waiting("CreateContainerConfigError", "secret \"keys\" not found"),
            waiting("ImageInspectError", ""),
            waiting("ContainerCreating", ""),
            crashing(no_server),
            crashing("error: running the agent: no"),
        ];
        let told: Vec<_> = pods.iter().map(|pod| told(Some(pod), &[])).collect();
        // It goes on by itself, or the agent has said why.
        let others = ["has not begun with it", "ended with"];
        for line in &told {
            let is_other = others.iter().any(|it| line.contains(it));
            assert_eq!(is_by_kubelet(line), !is_other, "{line}");
        }
        expect![[r#"
            pod/db-1: image pg:15 cannot be pulled: not found (fix: correct imageName or imagePullSecrets of the Cluster, or make the image available)
            pod/db-1: image pg:15 cannot be pulled: not found (fix: correct imageName or imagePullSecrets of the Cluster, or make the image available)
            pod/db-1: image pg:15 cannot be pulled: couldn't parse image name "pg::15" (fix: correct imageName or imagePullSecrets of the Cluster, or make the image available)
            pod/db-1: image pg:15 cannot be pulled: ErrImageNeverPull (fix: correct imageName or imagePullSecrets of the Cluster, or make the image available)
            pod/db-1: container postgres (image pg:15) does not start: CreateContainerConfigError: secret "keys" not found (fix: put that right, and it goes on: kubectl describe pod db-1 -n shop)
            pod/db-1: container postgres (image pg:15) does not start: ImageInspectError (fix: put that right, and it goes on: kubectl describe pod db-1 -n shop)
            pod/db-1: its node has not begun with it: an image or a volume takes long, or a Secret or ConfigMap that it mounts is missing (fix: kubectl describe pod db-1 -n shop)
            pod/db-1: container postgres ended with 1: finding PostgreSQL in the image: no PostgreSQL 14 to 18 was found (fix: correct imageName of the Cluster: image pg:15 has to hold the whole server of PostgreSQL 14 to 18)
            pod/db-1: container postgres ended with 1: running the agent: no (fix: kubectl logs db-1 -c postgres --previous -n shop)
        "#]].assert_eq(&told.concat());
    }

    #[test]
    fn what_runs_is_not_hindered() {
        let ready = pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        let begins = container("postgres", &json!({"running": {}}), &json!({}));
        assert_eq!([ready, begins].map(|pod| told(Some(&pod), &[])).concat(), "nothing\nnothing\n");
    }

    #[test]
    fn a_route_of_the_future_is_somebodys_edit() {
        let cluster = ClusterName::parse("db").unwrap();
        let told = |led: u64| {
            let found = of_route(("shop", &cluster), Some(Epoch(led)), Epoch(7));
            found.map(|fact| sentence(&fact))
        };
        assert_eq!(told(7), None);
        expect!["endpointslice/db-rw: it is marked for epoch 99, and the Lease db knows 7 (fix: if somebody edited it, and not the Lease, kubectl delete endpointslice db-rw -n shop; it is made anew)"].assert_eq(&told(99).unwrap());
    }
}
