//! Clusters to look at.
//!
//! Never anything that ships.

use super::read::empty;
use super::{FORBIDDEN, Part, Route, View};
use k8s_openapi::api::core::v1::Pod;
use pgherd_api::agent::{Specification, Status};
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::ports::contract;
use pgherd_core::units::Lsn;
use pgherd_core::wishes::{Shall, Wishes};
use serde_json::{Value, json};

/// A cluster of three that can be damaged.
pub(super) struct Sample {
    pub(super) view: Box<View>,
}

pub(super) fn instance(serial: u32) -> InstanceName {
    InstanceName::new(&name(), serial)
}

fn name() -> ClusterName {
    ClusterName::parse("contract").unwrap()
}

impl Sample {
    /// The first serves, the others follow.
    pub(super) fn healthy() -> Self {
        Self::written("{}", "")
    }

    /// The same with an archive.
    pub(super) fn archived() -> Self {
        Self::written(
            "{}",
            ", backup: {barmanObjectStore: {destinationPath: 's3://b/', s3Credentials: {inheritFromIAMRole: true}}}",
        )
    }

    /// The same with an annotation on its Cluster.
    pub(super) fn annotated(annotation: &str, value: &str) -> Self {
        Self::written(&json!({ annotation: value }).to_string(), "")
    }

    fn written(annotations: &str, spec: &str) -> Self {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: contract, \
             annotations: {annotations}}}, spec: {{instances: 3, storage: {{size: 1Gi}}{spec}}}}}"
        );
        let (cluster, _) = Cluster::from_yaml(&text).unwrap();
        let mut view = empty("shop", &name(), cluster);
        let mut record = contract::sample(1);
        record.members = [instance(1), instance(2), instance(3)].into();
        let mut wishes = Wishes::default();
        wishes.scale(&name(), 3, None);
        view.specification = view
            .checked
            .as_ref()
            .map(|checked| Specification::numbered(1, checked, &wishes, Shall::Run));
        view.wishes = Some(wishes);
        view.route = Some(Route { epoch: Some(record.epoch), address: None });
        view.record = Some(record);
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        view.pods = (1..=3).map(|serial| (instance(serial), pod(serial, &ready))).collect();
        Self { view: Box::new(view) }
    }

    /// No node takes this one.
    pub(super) fn pending(&mut self, serial: u32, why: &str) {
        let condition = json!({"type": "PodScheduled", "status": "False", "message": why});
        let pod = pod(serial, &json!({"phase": "Pending", "conditions": [condition]}));
        self.view.pods.insert(instance(serial), pod);
    }

    /// Its container does not start.
    pub(super) fn stuck(&mut self, serial: u32, reason: &str, message: &str) {
        let status = json!({"containerStatuses": [{
            "name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]});
        self.view.pods.insert(instance(serial), pod(serial, &status));
    }

    /// Every agent was asked, and its log ends there.
    pub(super) fn agents(&mut self, ends: [u64; 3]) {
        for (serial, end) in (1..).zip(ends) {
            let status = agent(serial, end);
            self.view.agents.insert(instance(serial), status);
        }
    }

    /// The cluster has no other instance.
    pub(super) fn only_the_first(&mut self) {
        let view = &mut self.view;
        view.pods.retain(|name, _| *name == instance(1));
        if let Some(record) = &mut view.record {
            record.members = [instance(1)].into();
        }
        if let Some(wishes) = &mut view.wishes {
            wishes.instances.retain(|name, _| *name == instance(1));
        }
    }

    /// The operator has reported this of the cluster.
    pub(super) fn reported(mut self, phase: &str, reason: &str) -> Self {
        let names = [1, 2, 3].map(|serial| instance(serial).to_string());
        self.view.cluster.status = Some(ClusterStatus {
            phase: Some(phase.to_owned()),
            phase_reason: (!reason.is_empty()).then(|| reason.to_owned()),
            ready_instances: Some(2),
            instance_names: names.to_vec(),
            instances_status: [
                ("healthy".to_owned(), vec![names[0].clone(), names[2].clone()]),
                ("failed".to_owned(), vec![names[1].clone()]),
            ]
            .into(),
            current_primary: Some(names[0].clone()),
            current_primary_timestamp: Some("2027-01-15T08:00:00Z".to_owned()),
            timeline_id: Some(2),
            ..ClusterStatus::default()
        });
        self
    }

    /// Nothing but the Cluster may be read.
    pub(super) fn hide_all(&mut self) {
        self.hide_but_pods();
        self.view.pods.clear();
        self.view.hidden.insert(Part::Pods, FORBIDDEN.to_owned());
    }

    /// Nothing but the Cluster and its pods may be read.
    pub(super) fn hide_but_pods(&mut self) {
        let view = &mut self.view;
        (view.record, view.route, view.specification, view.wishes) = (None, None, None, None);
        let parts = [Part::Record, Part::Route, Part::Specification, Part::Claims, Part::Agents];
        view.hidden = parts.map(|part| (part, FORBIDDEN.to_owned())).into();
    }
}

fn pod(serial: u32, status: &Value) -> Pod {
    let metadata = json!({"name": instance(serial)});
    let spec = json!({"nodeName": format!("n{serial}"), "containers": []});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status});
    serde_json::from_value(pod).unwrap()
}

fn agent(serial: u32, end: u64) -> Status {
    let serves = serial == 1;
    let (role, state) = if serves { ("primary", "serving") } else { ("standby", "following") };
    let at = "2027-01-15T08:00:00Z";
    let verdict = json!({"state": state, "reason": "as it shall", "because": null, "since": at});
    let server = json!({
        "version": "15.18", "pid": 40, "timeline": 1, "streaming": !serves,
        "position": {"timeline": 1, "lsn": Lsn(end)},
    });
    let mut server = server;
    if serves {
        let sender = json!({"flushed": Lsn(end), "streaming": true});
        server["gate"] = json!("open");
        server["senders"] =
            json!({ instance(2).to_string(): sender, instance(3).to_string(): sender });
    }
    let status = json!({
        "cluster": name(), "me": {"instance": instance(serial), "volume": 1, "incarnation": 1},
        "at": at, "started": at, "pid": 1, "version": "0.1.0", "role": role, "verdict": verdict,
        "known": {"epoch": 1, "promise": 1}, "server": server, "specification": 1,
        "switchoverDone": 0, "restartDone": 0, "configurationDone": 0, "happenings": [],
    });
    serde_json::from_value(status).unwrap()
}
