//! `pgherd install`: prints everything a Kubernetes needs before it can have clusters.
//!
//! Never talks to a Kubernetes: whoever has the rights applies what is printed.

use super::output::say;
use pgherd_api::crd::yaml;
use pgherd_kubernetes::install::{self, Installation};
use std::process::ExitCode;

/// Print what a Kubernetes needs before it can have clusters
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pgherd install | kubectl apply --server-side -f -
  pgherd install --image registry.example/pgherd:1 --namespace databases | kubectl apply --server-side -f -")]
pub(crate) struct Install {
    /// The namespace that the operator lives in
    #[arg(long, short, value_name = "NAMESPACE", default_value = install::NAMESPACE)]
    namespace: String,
    /// The image of this program
    #[arg(long, value_name = "IMAGE", default_value = concat!("ghcr.io/pgherd/pgherd:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// The image of PostgreSQL for clusters that name none
    #[arg(long, value_name = "IMAGE")]
    postgres_image: Option<String>,
}

impl Install {
    pub(crate) fn run(self) -> ExitCode {
        let Self { namespace, image, postgres_image } = self;
        let installation = Installation { namespace, image, postgres_image };
        for object in install::objects(&installation) {
            say(&format!("---\n{}", yaml::document(&object)));
        }
        ExitCode::SUCCESS
    }
}
