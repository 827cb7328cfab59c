//! What every platform tells people of a cluster in the same words.
//!
//! Never how they do it: each looks for itself, and only then finds the words here.

use pgherd_core::intent::Durability;
use pgherd_core::record::{Pair, Phase, Record};
use pgherd_core::switchover::Why;
use serde::Serialize;

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

/// What a commit survives under a rule that has somebody confirm it; none if nobody has to.
pub fn survives(pair: &Pair) -> Option<String> {
    let Pair { voters, acks } = pair;
    let nodes = match acks {
        0 => return None,
        1 => "any one node",
        _ => "as many nodes",
    };
    let of = voters.len();
    Some(format!("a commit survives the loss of {nodes} ({acks} of {of} standbys confirm it)"))
}
