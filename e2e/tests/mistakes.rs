//! What people get wrong: each mistake is named with its remedy, hurts nobody else, and is over once
//! it is put right.
//!
//! Never against a cluster that others use: it makes a namespace, and removes it at the end.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]
#![expect(clippy::print_stderr, reason = "what is measured and what is skipped must be seen")]

use anyhow::{Context, Result};
use pgherd_e2e::proof::cluster::{Cluster, HEALED_WITHIN, HEALTHY, Operator, UP_WITHIN};
use pgherd_e2e::proof::place::{Place, product};
use pgherd_e2e::testbed::images;
use pgherd_e2e::testbed::pack::{self, Weight};
use pgherd_e2e::wait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const TOLD_WITHIN: Duration = Duration::from_mins(2);
const SAID_WITHIN: Duration = Duration::from_secs(30);
/// An image that only the testbed has, and that holds no PostgreSQL.
const EMPTY: &str = "localhost/no-postgresql:15";
const WELL: &str = "well";
const EDITED: &str = "edited";

/// One mistake in the manifest of a cluster, or beside it.
struct Mistake {
    cluster: &'static str,
    /// What is wrong in its specification.
    spec: Value,
    /// What the status and `explain` have to say.
    words: &'static [&'static str],
    /// What is to be done then.
    remedy: Remedy,
}

enum Remedy {
    Make(Value),
    Remove(&'static str),
    Correct(Value),
    /// The specification cannot heal what was made from it: the claim and the pod go, too.
    CorrectAndRemove(Value, [&'static str; 2]),
}

fn mistakes(namespace: &str, image: Option<&str>) -> Vec<Mistake> {
    let storage = |class: &str| json!({"storage": {"size": "1Gi", "storageClass": class}});
    let initdb = |secret: &str| json!({"bootstrap": {"initdb": {"database": "app", "owner": "app", "secret": {"name": secret}}}});
    let secret = |name: &str, keys: Value| {
        Remedy::Make(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys,
        }))
    };
    let key = json!({"secretKeyRef": {"name": "keys", "key": "a"}});
    let files = json!({"sources": [{"secret": {"name": "files"}}]});
    let all = [
        own(
            "class",
            storage(&unknown_class(namespace)),
            &["pod/class-1", "persistentvolumeclaim/class-1", "see that StorageClass"],
            Remedy::CorrectAndRemove(
                json!({"storage": {"storageClass": null}}),
                ["pvc/class-1", "pod/class-1"],
            ),
        ),
        own(
            "secret",
            initdb("login"),
            &["Secret login", "does not exist", "create it"],
            secret("login", json!({"username": "app", "password": "x"})),
        ),
        own(
            "variable",
            json!({"env": [{"name": "A", "valueFrom": key}]}),
            &["pod/variable-1", "secret \"keys\" not found", "put that right"],
            secret("keys", json!({"a": "b"})),
        ),
        own(
            "files",
            json!({"projectedVolumeTemplate": files}),
            &["pod/files-1", "Secret or ConfigMap", "kubectl describe pod files-1"],
            secret("files", json!({"a": "b"})),
        ),
        own(
            "key",
            initdb("half"),
            &["Secret half", "has no password", "keys username and password"],
            secret("half", json!({"password": "x"})),
        ),
        own(
            "begins",
            json!({"bootstrap": {"initdb": {"postInitApplicationSQLRefs": {
                "configMapRefs": [{"name": "schema", "key": "tables"}],
            }}}}),
            &["begins-1", "key tables of ConfigMap schema", "does not exist", "create it"],
            Remedy::Make(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "schema"},
                "data": {"tables": "create table dishes (); create table guests ();"},
            })),
        ),
        own(
            "foreign",
            json!({}),
            &["foreign-rw", "does not belong to this cluster", "remove or rename"],
            Remedy::Remove("service/foreign-rw"),
        ),
    ];
    all.into_iter().chain(of_sources(namespace)).chain(of_images(image)).collect()
}

/// Servers that cannot be reached, to copy them or to import from.
fn of_sources(namespace: &str) -> [Mistake; 2] {
    [
        own(
            "remote",
            copy(),
            &["remote-1", "origin", "correct the entry"],
            Remedy::Make(leads("origin", namespace)),
        ),
        own(
            "import",
            import(),
            &["import-1", "asking the server for its databases", "correct its entry"],
            Remedy::Make(leads("elsewhere", namespace)),
        ),
    ]
}

fn own(
    cluster: &'static str,
    spec: Value,
    words: &'static [&'static str],
    remedy: Remedy,
) -> Mistake {
    Mistake { cluster, spec, words, remedy }
}

/// Images that do not exist, cannot be pulled, or hold nothing.
fn of_images(empty: Option<&str>) -> Vec<Mistake> {
    let empty = empty.map(|image| {
        own(
            "empty",
            json!({"imageName": image}),
            &["pod/empty-1", EMPTY, "has to hold", "correct imageName"],
            Remedy::Correct(json!({"imageName": images::POSTGRESQL})),
        )
    });
    let all = [
        own(
            "image",
            json!({"imageName": "localhost/nothing:15"}),
            &["pod/image-1", "localhost/nothing:15 cannot be pulled", "correct imageName"],
            Remedy::Correct(json!({"imageName": images::POSTGRESQL})),
        ),
        own(
            "pull",
            json!({"imageName": "localhost/private:15", "imagePullSecrets": [{"name": "door"}]}),
            &["pod/pull-1", "localhost/private:15", "names Secret door", "create it with type"],
            Remedy::Correct(json!({"imageName": images::POSTGRESQL})),
        ),
    ];
    all.into_iter().chain(empty).collect()
}

/// A copy of a server whose name leads nowhere yet.
fn copy() -> Value {
    json!({
        "bootstrap": {"pg_basebackup": {"source": "origin", "database": "app", "owner": "app"}},
        "externalClusters": [source("origin")],
    })
}

/// An import from one.
fn import() -> Value {
    let import = json!({
        "type": "microservice", "databases": ["app"], "source": {"externalCluster": "elsewhere"},
    });
    json!({
        "bootstrap": {"initdb": {"database": "app", "owner": "app", "import": import}},
        "externalClusters": [source("elsewhere")],
    })
}

fn source(host: &str) -> Value {
    json!({
        "name": host,
        "connectionParameters":
            {"host": host, "user": "postgres", "dbname": "postgres", "sslmode": "require"},
        "password": {"name": format!("{WELL}-superuser"), "key": "password"},
    })
}

/// Where such a name is to lead to.
fn leads(host: &str, namespace: &str) -> Value {
    let leads_to = format!("{WELL}-rw.{namespace}.svc.cluster.local");
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": host},
        "spec": {"type": "ExternalName", "externalName": leads_to},
    })
}

/// What lets others copy it.
fn open() -> Value {
    let line = "hostssl replication postgres all scram-sha-256";
    json!({"enableSuperuserAccess": true, "postgresql": {"pg_hba": [line]}})
}

fn unknown_class(namespace: &str) -> String {
    format!("{namespace}-unknown")
}

fn manifest(name: &str, instances: u32, more: &Value) -> Value {
    let mut spec = json!({"instances": instances, "storage": {"size": "1Gi"}});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// What a cluster says of itself.
struct Said {
    phase: String,
    reason: String,
    ready: String,
    message: String,
}

fn said(place: &Place, name: &str) -> Option<Said> {
    let status = place.get("cluster", name)?;
    let text =
        |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let conditions = status.pointer("/status/conditions")?.as_array()?;
    let is_ready = |it: &&Value| it.pointer("/type").and_then(Value::as_str) == Some("Ready");
    let ready = conditions.iter().find(is_ready)?;
    let of = |path| ready.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Said {
        phase: text("/status/phase"),
        reason: text("/status/phaseReason"),
        ready: of("/status"),
        message: of("/message"),
    })
}

/// Waits until status, condition and `explain` name what is wrong.
fn wait_told(place: &Place, cluster: &str, words: &[&str]) -> Result<()> {
    let has_all = |text: &str| words.iter().all(|word| text.contains(word));
    let since = Instant::now();
    let mut last = String::new();
    let told = wait::find_seldom(&format!("{cluster} to tell"), TOLD_WITHIN, || {
        let Some(said) = said(place, cluster) else { return Ok(None) };
        let is_told = has_all(&said.reason) && has_all(&said.message) && said.ready == "False";
        last = format!("{}: {} / {} {}", said.phase, said.reason, said.ready, said.message);
        Ok(is_told.then_some(()))
    });
    told.with_context(|| last.clone())?;
    let explained = wait::find_seldom(&format!("{cluster} to be explained"), SAID_WITHIN, || {
        last = place.pgherd(&["explain", cluster], SAID_WITHIN)?;
        Ok(has_all(&last).then_some(()))
    });
    explained.with_context(|| last.clone())?;
    eprintln!("{cluster} is told after {:.1} s more: {last}", since.elapsed().as_secs_f64());
    Ok(())
}

/// The state is what it shall be, and nothing is left to tell.
fn wait_well(place: &Place, cluster: &str) -> Result<()> {
    let what = format!("{cluster} to be well");
    let well = wait::find_seldom(&what, HEALED_WITHIN, || {
        let Some(said) = said(place, cluster) else { return Ok(None) };
        let is_well = said.phase == HEALTHY && said.reason.is_empty() && said.ready == "True";
        Ok(is_well.then_some(()))
    });
    well.with_context(|| Cluster { place, name: cluster }.told())
}

fn remedy(place: &Place, mistake: &Mistake) -> Result<()> {
    let correct = |spec: &Value| {
        let patch = json!({ "spec": spec }).to_string();
        place.kubectl(&["patch", "cluster", mistake.cluster, "--type=merge", "--patch", &patch])
    };
    match &mistake.remedy {
        Remedy::Make(object) => place.apply(object)?,
        Remedy::Remove(object) => drop(place.kubectl(&["delete", object])?),
        Remedy::Correct(spec) => drop(correct(spec)?),
        Remedy::CorrectAndRemove(spec, objects) => {
            correct(spec)?;
            place.kubectl(&[&["delete", "--wait=false"], &objects[..]].concat())?;
        }
    }
    Ok(())
}

/// When the condition `Ready` last changed.
fn ready_since(place: &Place, cluster: &str) -> String {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}";
    place.kubectl(&["get", "cluster", cluster, "--output", path]).unwrap()
}

fn refused(place: &Place, object: &Value, words: &str) {
    let error = place.apply(object).unwrap_err();
    assert!(format!("{error:#}").contains(words), "{error:#}");
}

/// Edits that only one who knows better would make, on a cluster that runs.
fn edits(place: &Place) -> Result<()> {
    let slice = format!("{EDITED}-rw");
    place.kubectl(&["annotate", "lease", EDITED, "--overwrite", "pgherd.dev/record={}"])?;
    wait_told(place, EDITED, &["of the Lease", "/edited is not a record", "put back"])?;
    place.kubectl(&["annotate", "lease", EDITED, "pgherd.dev/record-"])?;
    wait_well(place, EDITED)?;
    place.kubectl(&["annotate", "endpointslice", &slice, "--overwrite", "pgherd.dev/epoch=99"])?;
    wait_told(place, EDITED, &["endpointslice/edited-rw", "kubectl delete endpointslice"])?;
    place.kubectl(&["delete", "endpointslice", &slice])?;
    wait_well(place, EDITED)?;
    place.kubectl(&["delete", "secret", &format!("{EDITED}-ca")])?;
    let made = wait::find_seldom("another authority", HEALED_WITHIN, || {
        Ok(place.get("secret", &format!("{EDITED}-ca")).map(drop))
    });
    made?;
    Cluster { place, name: EDITED }.wait_whole(Operator::Present, HEALED_WITHIN)
}

/// Another Secret with the superuser's password reaches the pods, and none of them is replaced.
fn other_passwords(place: &Place) -> Result<()> {
    let cluster = Cluster { place, name: EDITED };
    let pods = cluster.identities("pods")?;
    for secret in ["boss", "other-boss"] {
        place.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret},
            "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "postgres", "password": format!("of {secret}")},
        }))?;
        cluster
            .change(&json!({"enableSuperuserAccess": true, "superuserSecret": {"name": secret}}))?;
        let line = "cat /controller/identity/secrets/superuser || true";
        wait::find_seldom(&format!("the password of {secret}"), HEALED_WITHIN, || {
            let seen = cluster.shell(&cluster.primary()?, line)?;
            Ok((seen.trim() == format!("of {secret}")).then_some(()))
        })?;
    }
    anyhow::ensure!(cluster.identities("pods")? == pods, "pods were replaced");
    cluster.wait_whole(Operator::Present, HEALED_WITHIN)
}

/// Whoever waits for a deletion in the foreground finds nothing left.
fn deleted_at_once(place: &Place) -> Result<()> {
    let words = ["delete", "cluster", EDITED, "--cascade=foreground", "--wait"];
    place.kubectl_within(&words, HEALED_WITHIN)?;
    let label = format!("cnpg.io/cluster={EDITED}");
    let kinds = "pods,pvc,secrets,services,configmaps,leases";
    let left = place.kubectl(&["get", kinds, "--selector", &label, "--output", "name"])?;
    anyhow::ensure!(left.trim().is_empty(), "left: {left}");
    Ok(())
}

/// An image without PostgreSQL, where images can be brought to nodes.
fn bring_empty_image(place: &Place, program: &Path) -> Result<Option<&'static str>> {
    if !place.has_testbed() {
        eprintln!("SKIPPED: an image without PostgreSQL can be brought to a testbed only");
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar");
    pack::program(program, &archive, EMPTY, BTreeMap::new(), Weight::Plain)?;
    place.testbed()?.load(&archive)?;
    Ok(Some(EMPTY))
}

#[test]
fn each_mistake_is_named_with_its_remedy_and_is_over_once_it_is_put_right() {
    if std::env::var_os("KUBECONFIG").is_none() {
        eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach a Kubernetes");
        return;
    }
    let own = env!("CARGO_BIN_EXE_pgherd-e2e").into();
    let program = product().unwrap();
    let place = Place::find(own, Some(program.clone())).unwrap();
    let image = bring_empty_image(&place, &program).unwrap();
    for (name, instances, spec) in [(WELL, 1, open()), (EDITED, 2, json!({}))] {
        place.apply(&manifest(name, instances, &spec)).unwrap();
    }
    let well = Cluster { place: &place, name: WELL };
    well.wait_whole(Operator::Present, UP_WITHIN).unwrap();
    let since = ready_since(&place, WELL);

    let old = json!({"imageName": "localhost/postgresql:13"});
    refused(&place, &manifest("old", 1, &old), "write PostgreSQL 14 or newer");
    refused(&place, &manifest(&"a".repeat(51), 1, &json!({})), "shorten it");
    let stranger = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "foreign-rw"},
        "spec": {"ports": [{"port": 5432}]},
    });
    place.apply(&stranger).unwrap();
    let half = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "half"},
        "stringData": {"username": "app"},
    });
    place.apply(&half).unwrap();
    let mistakes = mistakes(&place.namespace, image);
    for mistake in &mistakes {
        place.apply(&manifest(mistake.cluster, 1, &mistake.spec)).unwrap();
    }
    for mistake in &mistakes {
        wait_told(&place, mistake.cluster, mistake.words).unwrap();
    }
    for mistake in &mistakes {
        remedy(&place, mistake).unwrap();
    }
    for mistake in &mistakes {
        wait_well(&place, mistake.cluster).unwrap();
    }
    over_quota(&place).unwrap();
    Cluster { place: &place, name: EDITED }.wait_whole(Operator::Present, UP_WITHIN).unwrap();
    edits(&place).unwrap();
    other_passwords(&place).unwrap();
    deleted_at_once(&place).unwrap();
    assert_eq!(ready_since(&place, WELL), since, "one that does nothing wrong was disturbed");
}

fn over_quota(place: &Place) -> Result<()> {
    place.kubectl(&["create", "quota", "full", "--hard=pods=0"])?;
    place.apply(&manifest("quota", 1, &json!({})))?;
    wait_told(place, "quota", &["quota-1", "exceeded quota: full", "raise the quota"])?;
    place.kubectl(&["delete", "quota", "full"])?;
    wait_well(place, "quota")
}
