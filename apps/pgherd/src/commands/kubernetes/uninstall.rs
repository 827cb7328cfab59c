//! `pgherd uninstall`: prints what `install` prints, to be deleted.
//!
//! Never lists anything while there are clusters, nor the kinds, unless that is asked for: with the
//! kinds go all clusters.

use super::super::output::{remark, say};
use super::form::written;
use super::place::{Access, run, unread};
use pgherd_kubernetes::console::read::{self, ReadError};
use pgherd_kubernetes::install::{self, Installation};
use pgherd_local::failure::{Failure, Kind};
use serde_json::{Value, json};

/// Print what was installed, to be deleted
#[derive(clap::Args)]
#[command(after_help = "\
Refuses while there are clusters. With --force nobody is asked: clusters go on without the operator,
agents fail over by themselves, and nobody heals, scales or changes them. With --with-crds every
Cluster is deleted, and with each its volumes and all data in them.

Examples:
  pgherd uninstall | kubectl delete --ignore-not-found -f -
  pgherd uninstall --force | kubectl delete --ignore-not-found -f -")]
pub(crate) struct Uninstall {
    /// The namespace that the operator lives in
    #[arg(long, short, value_name = "NAMESPACE", default_value = install::NAMESPACE)]
    namespace: String,
    /// Also the kinds, and with them every cluster and its data
    #[arg(long)]
    with_crds: bool,
    /// Also while there are clusters
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    access: Access,
}

/// How many are named to whoever has forgotten them.
const NAMED: u32 = 5;

impl Uninstall {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !self.force {
            run(self.refuse_while_used())?;
        }
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
        Ok(())
    }

    async fn refuse_while_used(&self) -> Result<(), Failure> {
        let (client, _usual) = self.access.client().await?;
        let found = match read::clusters(&client, None, NAMED).await {
            Ok(found) => found,
            Err(ReadError::Recognise) => return Ok(()),
            Err(ReadError::Permit { said }) => {
                return Err(Failure::new(
                    Kind::Refused,
                    "whether there are clusters cannot be seen",
                )
                .because(said)
                .fix(
                    "get the right to list clusters.postgresql.cnpg.io everywhere, or add --force",
                ));
            }
            Err(error) => return Err(unread(&error)),
        };
        if found.is_empty() {
            return Ok(());
        }
        let names: Vec<String> =
            found.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
        let cause = if self.with_crds {
            "with the kinds they would be deleted, and all their data"
        } else {
            "without the operator nobody heals, scales or changes them"
        };
        Err(Failure::new(Kind::Refused, format!("there are clusters: {}", names.join(", ")))
            .because(cause)
            .fix("delete them first, or add --force"))
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
