//! What the API server refuses of our objects, against a real one: every rule of a definition and
//! every check of the policies, each with an example that is accepted and one that is refused.
//!
//! Never leaves an object behind but the definitions and the policy themselves.
#![expect(clippy::print_stderr, reason = "a proof that was not made must be seen")]
#![expect(clippy::unwrap_used, reason = "what fails ends the test")]

use expect_test::expect;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, TypeMeta,
};
use kube::config::KubeConfigOptions;
use kube::core::{Request, Status};
use kube::{Api, Client, Config, ResourceExt};
use pgherd_api::kind::{GROUP, VERSION};
use pgherd_api::{crd, policy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const IN_EFFECT_WITHIN: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(200);
/// A cluster that was made before a policy refused its name.
const CANARY: &str = "canary";

/// A namespace of its own on an API server that has our definitions and our policy.
struct Server {
    client: Client,
    namespace: String,
    kinds: BTreeMap<String, Kind>,
}

/// Where objects of a kind are.
struct Kind {
    plural: String,
    scope: String,
    group: String,
    version: String,
}

impl Server {
    /// The server, if there is one.
    async fn reach(test: &str) -> Option<Self> {
        if std::env::var_os("KUBECONFIG").is_none() {
            eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach an API server");
            return None;
        }
        let config = Config::from_kubeconfig(&KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("pgherd-api-{test}-{}", std::process::id());
        let kinds = crd::definitions().iter().map(kind).collect();
        let server = Self { client, namespace, kinds };
        server.install().await;
        Some(server)
    }

    async fn install(&self) {
        for object in crd::definitions().into_iter().chain(policy::objects()) {
            self.apply(&object).await;
        }
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace},
        }))
        .await;
        let api = self.api(&bird(1));
        let until = Instant::now() + IN_EFFECT_WITHIN;
        // A kind that was just defined may not be served yet.
        while api.create(&PostParams::default(), &bird(1)).await.is_err() {
            assert!(Instant::now() < until, "the definitions: not within {IN_EFFECT_WITHIN:?}");
            tokio::time::sleep(LOOK).await;
        }
        for object in self.canary() {
            self.apply(&object).await;
        }
        let until = Instant::now() + IN_EFFECT_WITHIN;
        while self.dry_change(&bird(2)).await.is_ok() {
            assert!(Instant::now() < until, "the policy: not within {IN_EFFECT_WITHIN:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A policy that was made last is in effect last: then ours is, too, in its newest form. It is
    /// asked at the same times as ours.
    fn canary(&self) -> [Value; 2] {
        let name = &self.namespace;
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
        let rule = json!({
            "apiGroups": [GROUP],
            "apiVersions": [VERSION],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["clusters"],
        });
        let ours = policy::objects().swap_remove(0);
        let policy = json!({
            "matchConditions": ours.pointer("/spec/matchConditions"),
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
            "validations": [{"expression": format!("object.metadata.name != '{CANARY}'")}],
        });
        let binding = json!({"policyName": name, "validationActions": ["Deny"]});
        [("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)].map(
            |(kind, spec)| {
                json!({
                    "apiVersion": "admissionregistration.k8s.io/v1",
                    "kind": kind,
                    "metadata": {"name": name},
                    "spec": spec,
                })
            },
        )
    }

    /// Where objects of this kind are that is not one of ours.
    fn other(&self, types: &TypeMeta) -> Api<DynamicObject> {
        let plural = match types.kind.as_str() {
            "ValidatingAdmissionPolicy" => "validatingadmissionpolicies".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", "v1"));
        Api::all_with(self.client.clone(), &resource(group, version, &types.kind, &plural))
    }

    async fn apply(&self, object: &Value) {
        let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let api = self.other(object.types.as_ref().unwrap());
        let how = PatchParams::apply("pgherd-e2e").force();
        api.patch(&object.name_any(), &how, &Patch::Apply(&object)).await.unwrap();
    }

    fn api(&self, object: &DynamicObject) -> Api<DynamicObject> {
        let kind = &object.types.as_ref().unwrap().kind;
        let known = self.kinds.get(kind).unwrap();
        let resource = resource(&known.group, &known.version, kind, &known.plural);
        match known.scope.as_str() {
            "Cluster" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        }
    }

    /// Whether the object could be made. A kind that was just defined may not be served yet.
    async fn dry_run(&self, object: &DynamicObject) -> Result<(), Box<Status>> {
        let how = PostParams { dry_run: true, ..PostParams::default() };
        let until = Instant::now() + IN_EFFECT_WITHIN;
        loop {
            let made = self.api(object).create(&how, object).await;
            match made.map(drop).map_err(said) {
                Err(status) if status.code == 404 && Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                answer => return answer,
            }
        }
    }

    /// Whether what is there could become so.
    async fn dry_change(&self, object: &DynamicObject) -> Result<(), Box<Status>> {
        let api = self.api(object);
        let there = api.get(&object.name_any()).await.unwrap();
        let mut changed = object.clone();
        changed.metadata.resource_version = there.metadata.resource_version;
        let how = PostParams { dry_run: true, ..PostParams::default() };
        api.replace(&object.name_any(), &how, &changed).await.map(drop).map_err(said)
    }

    /// Everything that is not as the examples in this folder say.
    async fn judge(&self, folder: &Path) -> Vec<String> {
        let rule = folder.file_name().unwrap().to_string_lossy().into_owned();
        if folder.join("warned.yaml").exists() {
            return self.judge_warning(&rule, folder).await;
        }
        let refused = fs::read_to_string(folder.join("refused.yaml")).unwrap();
        let message = refused.lines().next().unwrap().trim_start_matches("# ").to_owned();
        let before = folder.join("before.yaml");
        let mut wrong = Vec::new();
        for kind in kinds(&read(&folder.join("accepted.yaml"))) {
            let of_kind = |file: &str| with_kind(read(&folder.join(file)), &kind);
            let (accepted, refused) = (of_kind("accepted.yaml"), of_kind("refused.yaml"));
            let answers = if before.exists() {
                let before = of_kind("before.yaml");
                let api = self.api(&before);
                api.create(&PostParams::default(), &before).await.unwrap();
                let answers = (self.dry_change(&accepted).await, self.dry_change(&refused).await);
                api.delete(&before.name_any(), &DeleteParams::default()).await.unwrap();
                answers
            } else {
                (self.dry_run(&accepted).await, self.dry_run(&refused).await)
            };
            if let Err(status) = answers.0 {
                wrong.push(format!("{rule} ({kind}), accepted: {}", status.message));
            }
            match answers.1 {
                Ok(()) => wrong.push(format!("{rule} ({kind}): not refused")),
                Err(status) if is_said(&message, &status) => {}
                Err(status) => wrong.push(format!("{rule} ({kind}), refused: {}", status.message)),
            }
        }
        wrong
    }

    /// Everything that is not as the examples of a warning say.
    async fn judge_warning(&self, rule: &str, folder: &Path) -> Vec<String> {
        let text = fs::read_to_string(folder.join("warned.yaml")).unwrap();
        let message = text.lines().next().unwrap().trim_start_matches("# ").to_owned();
        let mut wrong = Vec::new();
        for (file, is_warned) in [("accepted.yaml", false), ("warned.yaml", true)] {
            let warnings = self.warnings(&read(&folder.join(file))).await;
            if warnings.iter().any(|it| it.contains(&message)) != is_warned {
                wrong.push(format!("{rule}, {file}: {warnings:?}"));
            }
        }
        wrong
    }

    /// What is said of an object that could be made.
    async fn warnings(&self, object: &DynamicObject) -> Vec<String> {
        let kind = &object.types.as_ref().unwrap().kind;
        let Kind { plural, group, version, .. } = self.kinds.get(kind).unwrap();
        let path = format!("/apis/{group}/{version}/namespaces/{}/{plural}", self.namespace);
        let how = PostParams { dry_run: true, ..PostParams::default() };
        let request = Request::new(path).create(&how, serde_json::to_vec(object).unwrap()).unwrap();
        let answer = self.client.send(request.map(Into::into)).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let warnings = answer.headers().get_all("warning").iter();
        // A header quotes its text.
        warnings.map(|it| it.to_str().unwrap().replace('\\', "")).collect()
    }

    async fn leave(self) {
        // A test may have done so itself.
        let _gone = self.api(&bird(1)).delete(CANARY, &DeleteParams::default()).await;
        let canary = self.canary().map(|it| serde_json::from_value::<TypeMeta>(it).unwrap());
        let namespace = TypeMeta { api_version: "v1".into(), kind: "Namespace".into() };
        for types in canary.into_iter().chain([namespace]) {
            let api = self.other(&types);
            api.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
        }
    }
}

fn kind(definition: &Value) -> (String, Kind) {
    let text = |at: &str| definition.pointer(at).unwrap().as_str().unwrap().to_owned();
    let kind = Kind {
        plural: text("/spec/names/plural"),
        scope: text("/spec/scope"),
        group: text("/spec/group"),
        version: text("/spec/versions/0/name"),
    };
    (text("/spec/names/kind"), kind)
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let mut resource = ApiResource::from_gvk_with_plural(
        &kube::core::GroupVersionKind::gvk(group, version, kind),
        plural,
    );
    if group.is_empty() {
        version.clone_into(&mut resource.api_version);
    }
    resource
}

/// The same rules hold for both kinds of catalogs.
fn kinds(object: &DynamicObject) -> Vec<String> {
    let kind = object.types.as_ref().unwrap().kind.clone();
    let other = (kind == "ImageCatalog").then(|| "ClusterImageCatalog".to_owned());
    [kind].into_iter().chain(other).collect()
}

fn with_kind(mut object: DynamicObject, kind: &str) -> DynamicObject {
    kind.clone_into(&mut object.types.as_mut().unwrap().kind);
    object
}

fn said(error: kube::Error) -> Box<Status> {
    match error {
        kube::Error::Api(status) => status,
        other => unreachable!("the API server does not answer: {other}"),
    }
}

/// Whether this and nothing else is what is wrong.
fn is_said(message: &str, status: &Status) -> bool {
    if let Some((_, reason)) = status.message.split_once(" denied request: ") {
        return reason == message;
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    // Keyed lists refuse a second key by themselves, in words of their own.
    let causes: Vec<_> = causes.filter(|it| it.reason != "FieldValueDuplicate").collect();
    let [cause] = causes.as_slice() else { return false };
    // The value that was given stands between, unless it is a whole object; or why the rule itself
    // failed, which nobody would understand.
    let said = cause.message.strip_prefix("Invalid value: ").unwrap_or(&cause.message);
    said.strip_suffix(message).is_some_and(|between| {
        between.is_empty() || between.ends_with(": ") && !between.ends_with(" evaluating rule: ")
    })
}

fn cluster(name: &str, spec: &Value) -> DynamicObject {
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn bird(instances: u32) -> DynamicObject {
    cluster(CANARY, &json!({"instances": instances, "storage": {"size": "1Gi"}}))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/examples")
}

fn read(path: &Path) -> DynamicObject {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_accepted_or_refused_as_it_says() {
    let Some(server) = Server::reach("examples").await else { return };
    let mut folders: Vec<_> =
        fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut wrong = Vec::new();
    for folder in folders {
        wrong.extend(server.judge(&folder).await);
    }
    server.leave().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The budget of the policy's expressions is for any cluster that people would write.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_cluster_is_within_the_budget_of_the_policy() {
    let Some(server) = Server::reach("large").await else { return };
    let many = |count: u32| (0..count).map(|number| format!("part-{number}"));
    let tables =
        (0..50).map(|number| json!({"name": format!("t{number}"), "storage": {"size": "1Gi"}}));
    let template = |name| json!({"metadata": {"name": name}, "spec": {"type": "LoadBalancer"}});
    let large = cluster(
        "large",
        &json!({
            "instances": 9,
            "storage": {"size": "1Gi"},
            "tablespaces": tables.collect::<Vec<_>>(),
            "externalClusters": many(100)
                .map(|name| json!({"name": name, "connectionParameters": {"host": "a"}}))
                .collect::<Vec<_>>(),
            "env": many(200).map(|name| json!({"name": name, "value": "1"})).collect::<Vec<_>>(),
            "managed": {
                "roles": many(200).map(|name| json!({"name": name})).collect::<Vec<_>>(),
                "services": {"additional": many(50)
                    .map(|name| json!({"selectorType": "rw", "serviceTemplate": template(name)}))
                    .collect::<Vec<_>>()},
            },
            "postgresql": {
                "parameters": (0..300)
                    .map(|number| (format!("my.setting_{number}"), json!("some value")))
                    .collect::<serde_json::Map<_, _>>(),
                "extensions": (0..20)
                    .map(|number| json!({"name": format!("extension-{number}")}))
                    .collect::<Vec<_>>(),
                "pg_hba": (0..200)
                    .map(|number| format!("hostssl all all 10.0.{number}.0/24 scram-sha-256"))
                    .collect::<Vec<_>>(),
            },
        }),
    );
    let answer = server.dry_run(&large).await;
    server.leave().await;
    assert_eq!(answer.map_err(|status| status.message.clone()), Ok(()));
}

/// What was wrong before may stay while other things change, and what is deleted may go.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_mistake_stands_in_the_way_of_nothing_else() {
    let Some(server) = Server::reach("old").await else { return };
    let api = server.api(&bird(1));
    let how = PatchParams::default();
    let change = async |what: Value| {
        let changed = api.patch(CANARY, &how, &Patch::Merge(what.clone())).await;
        if changed.is_ok() { "accepted" } else { "refused" }
    };
    let waved = json!({"cnpg.io/validation": "disabled"});
    let finalizers = json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["pgherd.dev/e2e"]}});
    let more = json!({"spec": {"instances": 2}});
    let mut answers = vec![
        change(finalizers).await,
        change(more.clone()).await,
        change(json!({"metadata": {"annotations": {"a": "b"}}})).await,
        change(json!({"metadata": {"annotations": waved}, "spec": {"instances": 3}})).await,
        change(json!({"metadata": {"annotations": null}})).await,
    ];
    api.delete(CANARY, &DeleteParams::default()).await.unwrap();
    answers
        .push(change(json!({"metadata": {"annotations": null}, "spec": {"instances": 2}})).await);
    api.patch(CANARY, &how, &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await
        .unwrap();
    server.leave().await;
    let wanted = ["accepted", "refused", "refused", "accepted", "refused", "accepted"];
    assert_eq!(answers, wanted);
}

/// `kubectl scale` is asked the rules of the definition, too, but not the policy.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_keeps_to_what_depends_on_the_number_of_instances() {
    let Some(server) = Server::reach("scale").await else { return };
    let volume = json!({"size": "1Gi"});
    let wide = json!({
        "instances": 3,
        "storage": volume,
        "primaryUpdateStrategy": "supervised",
        "postgresql": {
            "synchronous": {"method": "any", "number": 2},
            "parameters": {"max_wal_senders": "9", "max_replication_slots": "4"},
        },
    });
    let alone = json!({
        "instances": 1,
        "storage": volume,
        "postgresql": {"parameters": {"wal_log_hints": "off", "max_wal_senders": "2"}},
    });
    let clusters = [cluster("wide", &wide), cluster("alone", &alone)];
    let api = server.api(&bird(1));
    for cluster in &clusters {
        api.create(&PostParams::default(), cluster).await.unwrap();
    }
    let mut answers = Vec::new();
    for (name, number) in [
        ("wide", 4),
        ("wide", 1),
        ("wide", 2),
        ("wide", 5),
        ("wide", 10),
        ("alone", 1),
        ("alone", 2),
    ] {
        let how = PatchParams { dry_run: true, ..PatchParams::default() };
        let what = Patch::Merge(json!({"spec": {"replicas": number}}));
        let scaled = api.patch_scale(name, &how, &what).await.map_err(said);
        let details = scaled.err().and_then(|status| status.details);
        let mut messages: Vec<_> = details
            .iter()
            .flat_map(|it| &it.causes)
            .map(|cause| format!("  {}\n", cause.message))
            .collect();
        messages.sort();
        answers.push(format!("{name} to {number}\n{}", messages.concat()));
    }
    for cluster in &clusters {
        api.delete(&cluster.name_any(), &DeleteParams::default()).await.unwrap();
    }
    server.leave().await;
    expect![[r#"
        wide to 4
        wide to 1
          Invalid value: postgresql.synchronous.number has to be less than instances, or no commit would ever succeed: lower it or raise instances; standbyNamesPre and standbyNamesPost do not count
          Invalid value: primaryUpdateStrategy supervised needs a standby to switch over to: raise instances, or write unsupervised
        wide to 2
          Invalid value: postgresql.synchronous.number has to be less than instances, or no commit would ever succeed: lower it or raise instances; standbyNamesPre and standbyNamesPost do not count
        wide to 5
          Invalid value: postgresql.parameters.max_replication_slots has to be at least as many as instances: raise it or remove it
        wide to 10
          Invalid value: 10: at most 9 instances can agree in time: write a number from 1 to 9, for example 3
          Invalid value: postgresql.parameters.max_replication_slots has to be at least as many as instances: raise it or remove it
          Invalid value: postgresql.parameters.max_wal_senders has to be more than instances: raise it or remove it
        alone to 1
        alone to 2
          Invalid value: postgresql.parameters.max_wal_senders has to be more than instances: raise it or remove it
          Invalid value: postgresql.parameters.wal_log_hints has to be on as soon as there are standbys, because pg_rewind needs it to take a lost primary back: remove it
    "#]].assert_eq(&answers.concat());
}

/// The shapes that people bring along are taken, and no field of them is dropped in silence.
#[tokio::test(flavor = "multi_thread")]
async fn samples_are_accepted_whole() {
    let Some(server) = Server::reach("samples").await else { return };
    let mut wrong = Vec::new();
    for file in ["clusters.yaml", "others.yaml", "backups.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(file);
        let text = fs::read_to_string(path).unwrap();
        let samples = serde_saphyr::from_multiple::<DynamicObject>(&text).unwrap();
        let is_secret =
            |it: &DynamicObject| it.types.as_ref().is_some_and(|it| it.kind == "Secret");
        for sample in samples.into_iter().filter(|it| !is_secret(it)) {
            if let Err(status) = server.dry_run(&sample).await {
                wrong.push(status.message.clone());
            }
            // Only patches can ask for a strict look.
            if let Some(name) = &sample.metadata.name {
                let how = PatchParams::apply("pgherd-e2e").dry_run().validation_strict();
                let applied = server.api(&sample).patch(name, &how, &Patch::Apply(&sample)).await;
                wrong.extend(applied.map_err(said).err().map(|status| status.message.clone()));
            }
        }
    }
    server.leave().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who types `kubectl get` finds the kinds under their names, and in the columns, as ever.
#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_listed_as_published() {
    let Some(server) = Server::reach("columns").await else { return };
    let mut shown = Vec::new();
    for (kind, Kind { plural, group, version, .. }) in &server.kinds {
        let served = format!("{group}/{version}");
        let served = server.client.list_api_group_resources(&served).await.unwrap();
        let resource = served.resources.iter().find(|it| it.name == *plural).unwrap();
        let short = resource.short_names.clone().unwrap_or_default().join(",");
        let parts = served.resources.iter();
        let parts = parts.filter_map(|it| it.name.strip_prefix(&format!("{plural}/")));
        let parts = parts.collect::<Vec<_>>().join(" ");
        let path = format!("/apis/{group}/{version}/{plural}");
        let mut request = Request::new(path).list(&ListParams::default().limit(1)).unwrap();
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        request.headers_mut().insert("accept", table.parse().unwrap());
        let table: Value = server.client.request(request).await.unwrap();
        let columns = table.pointer("/columnDefinitions").and_then(Value::as_array).unwrap();
        let columns = columns.iter().map(|column| {
            let name = column.get("name").and_then(Value::as_str).unwrap();
            let wide = column.get("priority").and_then(Value::as_i64) != Some(0);
            if wide { format!("({name})") } else { name.to_owned() }
        });
        let columns = columns.collect::<Vec<_>>().join(" | ");
        shown.push(format!("{plural} [{short}] {}/{parts}: {columns}\n", resource.singular_name));
        assert_eq!(resource.kind, *kind);
    }
    server.leave().await;
    expect![[r#"
        backups [] backup/status: Name | Age | Cluster | Method | Phase | Error
        clusters [] cluster/status scale: Name | Age | Instances | Ready | Status | Primary | (SyncTopology)
        clusterimagecatalogs [] clusterimagecatalog/: Name | Age
        databases [] database/status: Name | Age | Cluster | PG Name | Applied | Message
        databaseroles [] databaserole/status: Name | Age | Cluster | PG Name | Applied | Message
        dumps [] dump/status: Name | Age | Cluster | Phase | (Databases) | Dump | Error
        failoverquorums [] failoverquorum/status: Name | Age
        imagecatalogs [] imagecatalog/: Name | Age
        poolers [] pooler/status scale: Name | Age | Cluster | Type | Phase
        publications [] publication/status: Name | Age | Cluster | PG Name | Applied | Message
        scheduledbackups [] scheduledbackup/status: Name | Age | Cluster | Last Backup
        scheduleddumps [sdump] scheduleddump/status: Name | Age | Cluster | Schedule | Last Dump
        subscriptions [] subscription/status: Name | Age | Cluster | PG Name | Applied | Message
    "#]].assert_eq(&shown.concat());
}
