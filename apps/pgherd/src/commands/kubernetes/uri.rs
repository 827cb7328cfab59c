//! `pgherd uri`: the address of a cluster for any client of libpq.
//!
//! Never shows the password, and never reads it, unless it is asked for.

use super::form::tell;
use super::place::{Place, Reached, unread};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use pgherd_api::cluster::managed::ServiceKind;
use pgherd_api::cluster::{Checked, Cluster};
use pgherd_kubernetes::cluster::manifests::services;
use pgherd_kubernetes::console::read::{self, ReadError, answer};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::uri::escaped;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// The primary
    Rw,
    /// Standbys
    Ro,
    /// Any instance
    R,
}

impl Role {
    fn service(self) -> ServiceKind {
        match self {
            Self::Rw => ServiceKind::ReadWrite,
            Self::Ro => ServiceKind::ReadOnly,
            Self::R => ServiceKind::Read,
        }
    }
}

/// Print the cluster's address for any client of libpq
#[derive(clap::Args)]
#[command(after_help = "\
The address is one that holds inside the Kubernetes.

Examples:
  pgherd uri app-db
  pgherd uri app-db --role ro --show-password")]
pub(crate) struct Uri {
    #[command(flatten)]
    pub(super) place: Place,
    /// Who shall answer
    #[arg(long, value_enum, default_value = "rw")]
    role: Role,
    /// Put the password into the address; it takes the right to get the Secret
    #[arg(long)]
    show_password: bool,
}

impl Uri {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let (role, show) = (self.role, self.show_password);
        self.place.with(|reached| async move {
            let (namespace, name) = (&reached.namespace, &reached.cluster);
            let cluster = read::cluster(&reached.client, namespace, name).await;
            let cluster = cluster.map_err(|error| unread(&error))?;
            let checked = checked(&cluster)?;
            if !services::is_offered(&cluster.spec, role.service()) {
                return Err(disabled(&reached, role));
            }
            let password = if show { Some(password(&reached, &checked).await?) } else { None };
            let uri = uri(&reached, &checked, (role, password.as_deref()));
            let document = serde_json::json!({ "uri": uri });
            tell(form, (name.as_str(), &[uri]), &document)
        })
    }
}

fn checked(cluster: &Cluster) -> Result<Checked, Failure> {
    cluster.checked().map(|(checked, _)| checked).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Kind::Refused, "the manifest cannot be carried out")
            .because(problems.join("; "))
            .fix("correct the manifest")
    })
}

fn uri(reached: &Reached, checked: &Checked, (role, password): (Role, Option<&str>)) -> String {
    let initdb = &checked.postgres.initdb;
    let (user, database) = (escaped(&initdb.owner), escaped(&initdb.database));
    let password = password.map(|it| format!(":{}", escaped(it))).unwrap_or_default();
    let namespace = &reached.namespace;
    let service = services::name(&reached.cluster, role.service());
    format!(
        "postgresql://{user}{password}@{service}.{namespace}.svc:5432/{database}?sslmode=require"
    )
}

/// An address that leads nowhere helps nobody.
fn disabled(reached: &Reached, role: Role) -> Failure {
    let service = services::name(&reached.cluster, role.service());
    let what = format!("service {service:?} is disabled");
    Failure::new(Kind::Refused, what).fix(
        "ask for another --role, or take it out of spec.managed.services.disabledDefaultServices",
    )
}

async fn password(reached: &Reached, checked: &Checked) -> Result<String, Failure> {
    let usual = || format!("{}-app", reached.cluster);
    let name = checked.owner_secret.clone().unwrap_or_else(usual);
    let secrets: Api<Secret> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let secret = answer(secrets.get(&name)).await.map_err(|error| match error {
        ReadError::Permit { .. } => Failure::from_error(Kind::Refused, &error)
            .fix(format!("get the right to get secret {name} in {}", reached.namespace)),
        ReadError::Find { .. } => {
            Failure::new(Kind::NotFound, format!("secret {name:?} not found"))
                .fix(format!("pgherd explain {} -n {}", reached.cluster, reached.namespace))
        }
        other => unread(&other),
    })?;
    let bytes = secret.data.and_then(|mut data| data.remove("password"));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0).ok());
    text.ok_or_else(|| {
        Failure::new(Kind::Failed, format!("secret {name:?} has no password that is text"))
            .fix("put one under the key password")
    })
}
