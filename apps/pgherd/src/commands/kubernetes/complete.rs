//! Completes the names of clusters and of their instances.
//!
//! Never keeps a person waiting for a Kubernetes that does not answer, and never complains.

use super::super::completion::{given, instances_like, positionals};
use super::place::{Access, run};
use clap_complete::engine::CompletionCandidate;
use kube::Client;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_kubernetes::console::read;
use pgherd_local::failure::{Failure, Kind};
use std::ffi::OsStr;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(2);
const AT_MOST: u32 = 200;
/// Of verbs that take instances: what is behind these is no cluster.
const WITH_VALUE: [&str; 14] = [
    "--namespace",
    "-n",
    "--context",
    "--kubeconfig",
    "--as",
    "--output",
    "-o",
    "--timeout",
    "--role",
    "--since",
    "--tail",
    "--name",
    "--target",
    "--jobs",
];

/// The clusters whose name begins so, in the namespace that the command line is about.
pub(super) fn clusters(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy().into_owned();
    let names = asked(async |words| {
        let (client, namespace) = reach(words).await?;
        names(&client, &namespace).await
    });
    names.into_iter().filter(|it| it.starts_with(&begun)).map(CompletionCandidate::new).collect()
}

/// The instances of the cluster that the command line is about.
pub(crate) fn instances(begun: &OsStr) -> Vec<CompletionCandidate> {
    let found: Vec<InstanceName> = asked(async |words| {
        let (client, namespace) = reach(words).await?;
        let names = names(&client, &namespace).await?;
        let given = positionals(words, &WITH_VALUE);
        let given = given.into_iter().find(|word| names.iter().any(|name| name == word));
        let Some(Ok(name)) = given.map(ClusterName::parse) else { return Ok(Vec::new()) };
        let cluster = read::cluster(&client, &namespace, &name).await.map_err(|_| unknown())?;
        let names = cluster.status.map(|status| status.instance_names).unwrap_or_default();
        Ok(names.iter().filter_map(|name| InstanceName::parse(name).ok()).collect())
    });
    instances_like(begun, &found)
}

fn asked<T>(find: impl AsyncFnOnce(&[String]) -> Result<Vec<T>, Failure>) -> Vec<T> {
    let words: Vec<String> = std::env::args().collect();
    let found = run(async { timeout(PATIENCE, find(&words)).await.map_err(|_| unknown())? });
    found.unwrap_or_default()
}

fn unknown() -> Failure {
    Failure::new(Kind::Failed, "what exists is not known")
}

async fn reach(words: &[String]) -> Result<(Client, String), Failure> {
    let access = Access {
        context: given(words, &["--context"]),
        kubeconfig: given(words, &["--kubeconfig"]).map(Into::into),
        // There the word is the new cluster's.
        user: if words.iter().any(|word| word == "restore") {
            given(words, &["--as-user"])
        } else {
            given(words, &["--as"])
        },
    };
    let (client, usual) = access.client().await?;
    Ok((client, given(words, &["--namespace", "-n"]).unwrap_or(usual)))
}

async fn names(client: &Client, namespace: &str) -> Result<Vec<String>, Failure> {
    let found = read::clusters(client, Some(namespace), AT_MOST).await.map_err(|_| unknown())?;
    Ok(found.into_iter().map(|(_namespace, name)| name).collect())
}
