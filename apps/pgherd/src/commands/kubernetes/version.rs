//! `pgherd version`: of this program, and of the operator.
//!
//! Never fails because there is no Kubernetes.

use super::super::output::{Output, remark, say, say_json};
use super::place::{Access, run};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use pgherd_kubernetes::console::read::answer;
use pgherd_kubernetes::install::{NAMESPACE, OPERATOR};
use pgherd_local::failure::Failure;

/// Show the version of this program, and the operator's image
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd version")]
pub(crate) struct Version {
    /// The namespace that the operator lives in
    #[arg(long, short, value_name = "NAMESPACE", default_value = NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    access: Access,
    /// How to write the result
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

impl Version {
    pub(super) fn output(&self) -> Output {
        self.output
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let client = env!("CARGO_PKG_VERSION");
        let operator = match run(self.operator()) {
            Ok(image) => image,
            Err(failure) => {
                remark(&format!("note: the operator's image is not shown: {}", failure.what));
                None
            }
        };
        match self.output {
            Output::Text => {
                say(&format!("client: {client}"));
                if let Some(image) = &operator {
                    say(&format!("operator: {image}"));
                }
                Ok(())
            }
            Output::Json => {
                say_json(&serde_json::json!({ "client": client, "operator": operator }))
            }
        }
    }

    async fn operator(&self) -> Result<Option<String>, Failure> {
        let (client, _usual) = self.access.client().await?;
        let deployments: Api<Deployment> = Api::namespaced(client, &self.namespace);
        let found = answer(deployments.get(OPERATOR)).await;
        let deployment = found.map_err(|error| super::place::unread(&error))?;
        let template = deployment.spec.and_then(|spec| spec.template.spec);
        Ok(template.and_then(|pod| pod.containers.into_iter().next()?.image))
    }
}
