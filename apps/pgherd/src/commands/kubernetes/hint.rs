//! Turns commands that texts advise in the words of local mode into those for this cluster.
//!
//! Never changes another command.

use super::place::Reached;
use pgherd_local::failure::Failure;

const COMMAND: &str = "pgherd local ";
/// The verbs of `backup` and `dump` that come before the cluster.
const FURTHER: [&str; 8] =
    ["list", "info", "verify", "annotate", "restore", "expire", "delete", "cancel"];

/// `text`, whose commands are about the cluster that was reached.
pub(super) fn here(text: &str, reached: &Reached) -> String {
    about(text, reached.cluster.as_str(), &reached.namespace)
}

/// A failure whose commands are.
pub(super) fn addressed(failure: Failure, reached: &Reached) -> Failure {
    failure.reworded(|text| here(text, reached))
}

fn about(text: &str, cluster: &str, namespace: &str) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(COMMAND) {
        let (before, command) = rest.split_at(at);
        let command = command.get(COMMAND.len()..).unwrap_or_default();
        let (verb, after) = word(command);
        let further = after.strip_prefix(' ').map(word);
        let has_further = matches!(verb, "backup" | "dump");
        let further = further.filter(|(word, _)| has_further && FURTHER.contains(word));
        let (further, after) = match further {
            Some((word, after)) => (format!(" {word}"), after),
            None => (String::new(), after),
        };
        let here = format!("pgherd {verb}{further} {cluster} -n {namespace}");
        done += before;
        done += &here;
        rest = after;
    }
    done + rest
}

/// A word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn commands_are_about_the_cluster_and_its_namespace() {
        let text = "pgherd local backup, or pgherd local backup delete 20261122T112233 --force; \
                    pgherd local restore-point x; pgherd local dump cancel; nothing else";
        expect_test::expect![[r"
            pgherd backup shop -n prod, or pgherd backup delete shop -n prod 20261122T112233 --force; pgherd restore-point shop -n prod x; pgherd dump cancel shop -n prod; nothing else
            pgherd status"]]
        .assert_eq(&[about(text, "shop", "prod"), about("pgherd status", "a", "b")].join("\n"));
    }
}
