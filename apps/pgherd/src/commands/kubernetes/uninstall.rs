//! `pgherd uninstall`: prints what `install` prints, to be deleted.
//!
//! Never talks to a Kubernetes, and never lists the kinds unless that is asked for: with them go
//! all clusters.

use super::super::local::output::{remark, say};
use super::form::written;
use pgherd_kubernetes::install::{self, Installation};
use serde_json::{Value, json};

/// Print what was installed, to be deleted
#[derive(clap::Args)]
#[command(after_help = "\
Clusters go on without the operator: agents fail over by themselves. With --with-crds every Cluster
is deleted, and with each its volumes and all data in them.

Examples:
  pgherd uninstall | kubectl delete --ignore-not-found -f -")]
pub(crate) struct Uninstall {
    /// The namespace that the operator lives in
    #[arg(long, short, value_name = "NAMESPACE", default_value = install::NAMESPACE)]
    namespace: String,
    /// Also the kinds, and with them every cluster and its data
    #[arg(long)]
    with_crds: bool,
}

impl Uninstall {
    pub(super) fn run(self) {
        let installation =
            Installation { namespace: self.namespace, image: String::new(), postgres_image: None };
        if self.with_crds {
            remark(
                "warning: this deletes every Cluster of this Kubernetes, its volumes and all data in them",
            );
        }
        let objects = install::objects(&installation);
        // What was made last goes first.
        for object in objects.iter().rev().filter(|it| self.with_crds || !is_kind(it)) {
            say(&format!("---\n{}", written(&named(object))));
        }
    }
}

fn is_kind(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition")
}

/// Only what it takes to find it.
fn named(object: &Value) -> Value {
    let of = |name: &str| object.pointer(name).cloned().unwrap_or_default();
    let mut metadata = json!({ "name": of("/metadata/name") });
    if let (Some(namespace), Some(fields)) =
        (object.pointer("/metadata/namespace"), metadata.as_object_mut())
    {
        fields.insert("namespace".to_owned(), namespace.clone());
    }
    json!({ "apiVersion": of("/apiVersion"), "kind": of("/kind"), "metadata": metadata })
}
