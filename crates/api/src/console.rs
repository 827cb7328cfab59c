//! What every platform tells people of a cluster in the same words.
//!
//! Never how they do it: each looks for itself, and only then finds the words here.

use pgherd_core::fleet::commits::Commits;
use pgherd_core::intent::Durability;
use pgherd_core::record::{Pair, Phase, Record};
use pgherd_core::switchover::Why;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// What it is about: an instance, or an object as `KIND/NAME`.
    pub about: String,
    /// The fact itself.
    pub what: String,
    /// What to do about it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What is asked for.
pub fn durability(durability: Durability) -> String {
    match durability {
        Durability::Asynchronous { max_lag } => format!("asynchronous (at most {max_lag} behind)"),
        Durability::Required { acks } => format!("required ({acks} standbys)"),
        Durability::Preferred { acks } => format!("preferred ({acks} standbys)"),
    }
}

/// A record as one of our documents has it, with names like the rest of them: what is stored has
/// others.
pub fn record(record: &Record) -> Value {
    renamed(serde_json::to_value(record).unwrap_or_default())
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let renamed = |(name, value): (String, Value)| (camel(&name), renamed(value));
            Value::Object(fields.into_iter().map(renamed).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(renamed).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut whole, part| {
        let mut letters = part.chars();
        whole.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        whole.extend(letters);
        whole
    })
}

/// Why nobody serves, by the record.
pub fn no_primary(record: &Record) -> String {
    let Record { epoch, holder, phase, .. } = record;
    let holder = &holder.instance;
    match phase {
        Phase::Serving => format!("nobody serves writes: epoch {epoch} belongs to {holder}"),
        Phase::HandingOver { target } => {
            format!("nobody serves writes: {holder} hands epoch {epoch} over to {target}")
        }
        Phase::Vacant { .. } => format!("nobody serves writes: {holder} gave epoch {epoch} back"),
    }
}

/// What became of a switchover that came to nothing, and why.
pub fn not_switched_over(why: &Why) -> (String, String) {
    match why {
        Why::GivenUp { stays } => (
            format!("the switchover was given up: {stays} stays primary"),
            "no standby was ready in time".to_owned(),
        ),
        Why::Elsewhere { to, asked } => (
            format!("{to} has become the primary, not {asked}"),
            format!("{asked} did not take over in time"),
        ),
        Why::Overtaken { by, cause } => (
            format!("the switchover came to nothing: {by} has taken office before it"),
            cause.to_string(),
        ),
    }
}

/// Nothing can be committed.
pub const NO_COMMITS: &str = "nothing can be committed now: there is no primary";
/// Nothing was ever committed.
pub const NO_COMMITS_YET: &str = "nothing was committed yet";
/// Standbys would have to confirm commits, and are not there.
pub const UNCONFIRMED: &str = "no standby confirms commits now: one is lost if the primary is";
/// Nobody has to confirm them.
pub const ALONE: &str = "a commit is on the primary alone when it is acknowledged (asynchronous)";

/// Why nobody could ever go back to a restore point.
pub fn no_restore_point(cluster: &impl Display) -> String {
    format!(
        "no restore point was made: cluster {cluster} has no archive, and only with one can a \
         restore go back to a name"
    )
}

/// Why there is nothing that could be restored.
pub fn no_archive(cluster: &impl Display) -> String {
    format!("cluster {cluster} has no archive, and so neither backups nor dumps")
}

/// What becomes of a commit.
pub fn commits(commits: Commits) -> String {
    match commits {
        Commits::Alone => ALONE.to_owned(),
        Commits::Unconfirmed => UNCONFIRMED.to_owned(),
        Commits::Confirmed { needed, there } => {
            let nodes = if needed == 1 { "any one node" } else { "as many nodes" };
            format!(
                "a commit survives the loss of {nodes} ({needed} of {there} standbys confirm it)"
            )
        }
        Commits::Waiting { needed, there } => format!(
            "commits wait: {there} of the {needed} standbys that have to confirm them are there"
        ),
    }
}

/// The same where only the rule is known: whether anybody is there cannot be seen.
pub fn rule(pair: &Pair) -> String {
    let Pair { voters, acks } = pair;
    match acks {
        0 => UNCONFIRMED.to_owned(),
        _ => format!(
            "{acks} of {} standbys have to confirm a commit; whether they are there is not known",
            voters.len()
        ),
    }
}

/// Where commits wait.
pub const COMMITS_WAIT: &str = "commits wait for standbys to confirm them";

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::ports::contract;

    #[test]
    fn a_record_is_told_in_one_spelling() {
        let told = record(&contract::sample(1));
        let names: Vec<&String> = told.as_object().unwrap().keys().collect();
        expect_test::expect![[r#"["epoch", "grantors", "holder", "members", "nextTimeline", "phase", "quorum", "revision", "switchover", "systemId", "terms", "timeline", "written"]"#]].assert_eq(&format!("{names:?}"));
        assert!(told["terms"][0]["holder"].is_string());
    }

    #[test]
    fn what_commits_wait_for_is_told_in_numbers() {
        let told = [
            Commits::Alone,
            Commits::Unconfirmed,
            Commits::Confirmed { needed: 1, there: 2 },
            Commits::Confirmed { needed: 2, there: 2 },
            Commits::Waiting { needed: 1, there: 0 },
        ];
        let told = told.map(|it| commits(it) + "\n").concat();
        expect_test::expect![[r#"
            a commit is on the primary alone when it is acknowledged (asynchronous)
            no standby confirms commits now: one is lost if the primary is
            a commit survives the loss of any one node (1 of 2 standbys confirm it)
            a commit survives the loss of as many nodes (2 of 2 standbys confirm it)
            commits wait: 0 of the 1 standbys that have to confirm them are there
        "#]]
        .assert_eq(&told);
    }
}
