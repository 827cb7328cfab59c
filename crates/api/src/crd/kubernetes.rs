//! Says of Kubernetes' own types what their Rust types do not say: how lists are merged, and defaults.
//!
//! Never describes a type of ours. The facts are those of Kubernetes' published API; a comparison
//! with published definitions that use these types keeps them right.

use serde_json::{Value, json};

const CORE: &str = "io.k8s.api.core.v1.";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const NUMBER_OR_TEXT: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// The form of a quantity, as the API server checks it.
const QUANTITY_FORM: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Types that are replaced as a whole.
const WHOLE: &[&str] = &[
    "ConfigMapEnvSource",
    "ConfigMapKeySelector",
    "ConfigMapProjection",
    "ConfigMapVolumeSource",
    "FileKeySelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "SecretEnvSource",
    "SecretKeySelector",
    "SecretProjection",
    "TypedLocalObjectReference",
    "LabelSelector",
];

/// Types that refer to an object by name, and take an empty name for none.
const NAMED: &[&str] = &[
    "ConfigMapEnvSource",
    "ConfigMapKeySelector",
    "ConfigMapProjection",
    "ConfigMapVolumeSource",
    "LocalObjectReference",
    "SecretEnvSource",
    "SecretKeySelector",
    "SecretProjection",
];

/// Maps that are replaced as a whole.
const WHOLE_MAPS: &[(&str, &str)] = &[("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")];

/// Lists that are replaced as a whole.
const WHOLE_LISTS: &[(&str, &[&str])] = &[
    ("Capabilities", &["add", "drop"]),
    ("CephFSVolumeSource", &["monitors"]),
    ("ConfigMapProjection", &["items"]),
    ("ConfigMapVolumeSource", &["items"]),
    ("Container", &["args", "command", "envFrom", "resizePolicy", "restartPolicyRules"]),
    ("DownwardAPIProjection", &["items"]),
    ("DownwardAPIVolumeSource", &["items"]),
    ("EphemeralContainer", &["args", "command", "envFrom", "resizePolicy", "restartPolicyRules"]),
    ("ExecAction", &["command"]),
    ("FCVolumeSource", &["targetWWNs", "wwids"]),
    ("HTTPGetAction", &["httpHeaders"]),
    ("HostAlias", &["hostnames"]),
    ("ISCSIVolumeSource", &["portals"]),
    ("NodeAffinity", &["preferredDuringSchedulingIgnoredDuringExecution"]),
    ("NodeSelector", &["nodeSelectorTerms"]),
    ("NodeSelectorRequirement", &["values"]),
    ("NodeSelectorTerm", &["matchExpressions", "matchFields"]),
    ("PersistentVolumeClaimSpec", &["accessModes"]),
    (
        "PodAffinity",
        &[
            "preferredDuringSchedulingIgnoredDuringExecution",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ],
    ),
    ("PodAffinityTerm", &["matchLabelKeys", "mismatchLabelKeys", "namespaces"]),
    (
        "PodAntiAffinity",
        &[
            "preferredDuringSchedulingIgnoredDuringExecution",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ],
    ),
    ("PodDNSConfig", &["nameservers", "options", "searches"]),
    ("PodSecurityContext", &["supplementalGroups", "sysctls"]),
    ("PodSpec", &["readinessGates", "tolerations"]),
    ("ProjectedVolumeSource", &["sources"]),
    ("RBDVolumeSource", &["monitors"]),
    ("SecretProjection", &["items"]),
    ("SecretVolumeSource", &["items"]),
    ("ServiceSpec", &["clusterIPs", "externalIPs", "ipFamilies", "loadBalancerSourceRanges"]),
    ("TopologySpreadConstraint", &["matchLabelKeys"]),
    ("LabelSelector", &["matchExpressions"]),
    ("LabelSelectorRequirement", &["values"]),
];

/// Lists without order or repetition.
const SETS: &[(&str, &str)] = &[("ContainerRestartRuleOnExitCodes", "values")];

/// Lists whose items are merged by these keys.
const KEYED_LISTS: &[(&str, &str, &[&str])] = &[
    ("Container", "env", &["name"]),
    ("Container", "ports", &["containerPort", "protocol"]),
    ("Container", "volumeDevices", &["devicePath"]),
    ("Container", "volumeMounts", &["mountPath"]),
    ("EphemeralContainer", "env", &["name"]),
    ("EphemeralContainer", "ports", &["containerPort", "protocol"]),
    ("EphemeralContainer", "volumeDevices", &["devicePath"]),
    ("EphemeralContainer", "volumeMounts", &["mountPath"]),
    ("PodSpec", "containers", &["name"]),
    ("PodSpec", "ephemeralContainers", &["name"]),
    ("PodSpec", "hostAliases", &["ip"]),
    ("PodSpec", "imagePullSecrets", &["name"]),
    ("PodSpec", "initContainers", &["name"]),
    ("PodSpec", "resourceClaims", &["name"]),
    ("PodSpec", "schedulingGates", &["name"]),
    ("PodSpec", "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("PodSpec", "volumes", &["name"]),
    ("ResourceRequirements", "claims", &["name"]),
    ("ServiceSpec", "ports", &["port", "protocol"]),
];

/// The default of a field, where it is not a name.
fn default(kind: &str, field: &str) -> Option<Value> {
    Some(match (kind, field) {
        ("AzureDiskVolumeSource", "readOnly") | ("FileKeySelector", "optional") => json!(false),
        ("ContainerPort" | "ServicePort", "protocol") => json!("TCP"),
        ("AzureDiskVolumeSource", "fsType") => json!("ext4"),
        ("GRPCAction", "service") => json!(""),
        ("ISCSIVolumeSource", "iscsiInterface") => json!("default"),
        ("RBDVolumeSource", "keyring") => json!("/etc/ceph/keyring"),
        ("RBDVolumeSource", "pool") => json!("rbd"),
        ("RBDVolumeSource", "user") => json!("admin"),
        ("ScaleIOVolumeSource", "fsType") => json!("xfs"),
        ("ScaleIOVolumeSource", "storageMode") => json!("ThinProvisioned"),
        _ => return None,
    })
}

/// Whether a type is Kubernetes' own.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with("io.k8s.")
}

/// The schema of one of Kubernetes' own types, whole, but without its prose: people read that
/// elsewhere, and with it a definition would be too large for `kubectl apply`.
pub(super) fn completed(name: &str, schema: Value) -> Value {
    let mut schema = schema;
    strip(&mut schema);
    let either = json!([{ "type": "integer" }, { "type": "string" }]);
    match name {
        QUANTITY => {
            set(&mut schema, "anyOf", either);
            set(&mut schema, "pattern", QUANTITY_FORM.into());
        }
        NUMBER_OR_TEXT => set(&mut schema, "anyOf", either),
        _ => match (name.strip_prefix(CORE), name.strip_prefix(META)) {
            // The API server allows no more of metadata within an object to be said.
            (_, Some("ObjectMeta")) => return json!({ "type": "object" }),
            (_, Some("Condition")) => limit_condition(&mut schema),
            (Some(kind), _) | (_, Some(kind)) => complete(kind, &mut schema),
            (None, None) => {}
        },
    }
    schema
}

fn complete(kind: &str, schema: &mut Value) {
    if WHOLE.contains(&kind) {
        set(schema, "x-kubernetes-map-type", "atomic".into());
    }
    if NAMED.contains(&kind) {
        make_optional(schema, "name");
    }
    let Some(Value::Object(fields)) = schema.get_mut("properties") else { return };
    for (name, field) in fields {
        let here = |row: &&(&str, &str)| *row == &(kind, name.as_str());
        if WHOLE_MAPS.iter().any(|row| here(&row)) {
            set(field, "x-kubernetes-map-type", "atomic".into());
        }
        if SETS.iter().any(|row| here(&row)) {
            set(field, "x-kubernetes-list-type", "set".into());
        }
        if WHOLE_LISTS.iter().any(|(of, lists)| *of == kind && lists.contains(&name.as_str())) {
            set(field, "x-kubernetes-list-type", "atomic".into());
        }
        for (_, _, keys) in KEYED_LISTS.iter().filter(|(of, list, _)| (*of, *list) == (kind, name))
        {
            set(field, "x-kubernetes-list-type", "map".into());
            set(field, "x-kubernetes-list-map-keys", json!(keys));
        }
        if let Some(value) = default(kind, name) {
            set(field, "default", value);
        }
    }
}

/// Makes a field optional and empty by default.
fn make_optional(schema: &mut Value, name: &str) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(Value::Array(required)) = fields.get_mut("required") {
        required.retain(|required| required != name);
        if required.is_empty() {
            fields.remove("required");
        }
    }
    if let Some(field) = fields.get_mut("properties").and_then(|fields| fields.get_mut(name)) {
        set(field, "default", "".into());
    }
}

fn limit_condition(schema: &mut Value) {
    const REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
    const TYPE: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
    let limits = json!({
        "message": { "maxLength": 32768 },
        "observedGeneration": { "minimum": 0 },
        "reason": { "minLength": 1, "maxLength": 1024, "pattern": REASON },
        "status": { "enum": ["True", "False", "Unknown"] },
        "type": { "maxLength": 316, "pattern": TYPE },
    });
    let Some(Value::Object(fields)) = schema.get_mut("properties") else { return };
    for (name, field) in fields {
        for (keyword, limit) in limits.get(name).and_then(Value::as_object).into_iter().flatten() {
            set(field, keyword, limit.clone());
        }
    }
}

fn set(schema: &mut Value, keyword: &str, value: Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(keyword.to_owned(), value);
    }
}

fn strip(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("description");
    for (keyword, value) in fields.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(strip),
            ("items" | "additionalProperties", value) => strip(value),
            _ => {}
        }
    }
}
