//! Completes the names of clusters.
//!
//! Never keeps a person waiting for a Kubernetes that does not answer, and never complains.

use super::place::{Access, run};
use clap_complete::engine::CompletionCandidate;
use pgherd_kubernetes::console::read;
use pgherd_local::failure::{Failure, Kind};
use std::ffi::OsStr;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(2);
const AT_MOST: u32 = 200;

/// The clusters whose name begins so, in the namespace that the command line is about.
pub(super) fn clusters(begun: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let begun = begun.to_string_lossy().into_owned();
    let found = run(async { find(&words).await });
    let names = found.unwrap_or_default().into_iter().map(|(_namespace, name)| name);
    names.filter(|name| name.starts_with(&begun)).map(CompletionCandidate::new).collect()
}

async fn find(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
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
    let namespace = given(words, &["--namespace", "-n"]).unwrap_or(usual);
    let found = timeout(PATIENCE, read::clusters(&client, Some(&namespace), AT_MOST)).await;
    let nothing = || Failure::new(Kind::Failed, "the names of clusters are not known");
    found.map_err(|_| nothing())?.map_err(|_| nothing())
}

/// What a flag was given on an unfinished command line.
fn given(words: &[String], flags: &[&str]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        for flag in flags {
            let Some(rest) = word.strip_prefix(flag) else { continue };
            if rest.is_empty() {
                return words.next().cloned();
            }
            if let Some(value) = rest.strip_prefix('=') {
                return Some(value.to_owned());
            }
            if !flag.starts_with("--") {
                return Some(rest.to_owned());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_found_however_it_is_written() {
        let found = |line: &str| {
            let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            given(&words, &["--namespace", "-n"])
        };
        for line in ["status -n shop a", "status --namespace=shop a", "status -nshop a"] {
            assert_eq!(found(line).as_deref(), Some("shop"), "{line}");
        }
        assert_eq!(found("status --namespaces shop"), None);
        assert_eq!(found("status -n"), None);
    }
}
