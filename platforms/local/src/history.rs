//! Tells the terms of a cluster: who was primary from when to when, on which timeline, and why.
//!
//! Never invents a time: the record has none, and only what an agent wrote into its log counts.

use jiff::{SignedDuration, Timestamp};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One term of office.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    pub epoch: u64,
    pub timeline: u32,
    pub primary: String,
    /// The first position of its timeline.
    pub began_at: Option<String>,
    /// When it began to open, when clients could write, and when the next one began.
    pub opening: Option<Timestamp>,
    pub serving: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// Why it took office, in its agent's words.
    pub reason: Option<String>,
}

/// A line of an agent's log that tells of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub at: Timestamp,
    pub state: String,
    pub reason: String,
    pub epoch: Option<u64>,
}

#[derive(Deserialize)]
struct Line {
    timestamp: Option<Timestamp>,
    time: Option<Timestamp>,
    message: Option<String>,
    state: Option<String>,
    because: Option<String>,
    epoch: Option<u64>,
    fields: Option<Box<Line>>,
}

/// The verdict that a line of an agent's log tells, if it tells one.
pub fn verdict(line: &str) -> Option<Verdict> {
    let line: Line = serde_json::from_str(line).ok()?;
    let at = line.timestamp.or(line.time)?;
    let told = match line.fields {
        Some(fields) => *fields,
        None => line,
    };
    if told.message.as_deref() != Some("verdict") {
        return None;
    }
    Some(Verdict { at, state: told.state?, reason: told.because?, epoch: told.epoch })
}

/// The terms the record keeps, newest last.
pub fn terms(record: &Record, told: &BTreeMap<InstanceName, Vec<Verdict>>) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    // The first entry is initdb's own timeline, on which nobody ever served.
    for term in record.terms.iter().filter(|term| term.epoch.0 > 0) {
        let verdicts = told.get(&term.holder).map(Vec::as_slice).unwrap_or_default();
        let of = |state: &str| {
            verdicts
                .iter()
                .find(|verdict| verdict.epoch == Some(term.epoch.0) && verdict.state == state)
        };
        let opening = of("opening").or(of("serving"));
        if let Some(last) = terms.last_mut() {
            last.ended = opening.map(|verdict| verdict.at);
        }
        terms.push(Term {
            epoch: term.epoch.0,
            timeline: term.timeline.0,
            primary: term.holder.to_string(),
            began_at: term.began.map(|lsn| lsn.to_string()),
            opening: opening.map(|verdict| verdict.at),
            serving: of("serving").map(|verdict| verdict.at),
            ended: None,
            reason: opening.map(|opening| reason(verdicts, opening)),
        });
    }
    terms
}

/// The last thing it said before it opened says why it took office.
fn reason(verdicts: &[Verdict], opening: &Verdict) -> String {
    let before = verdicts.iter().take_while(|verdict| *verdict != opening);
    let claim = before.filter(|verdict| verdict.state == "claiming").last();
    claim.unwrap_or(opening).reason.clone()
}

/// How long a term lasted, or has lasted until `now`.
pub fn lasted(term: &Term, now: Timestamp) -> Option<SignedDuration> {
    Some(term.ended.unwrap_or(now).duration_since(term.serving.or(term.opening)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::ports::contract;

    #[test]
    fn verdicts_are_found_among_other_lines() {
        let line = r#"{"timestamp":"2026-11-22T10:00:00Z","level":"INFO","message":"verdict","state":"serving","because":"nothing to do","epoch":3,"target":"x"}"#;
        let told = verdict(line).unwrap();
        assert_eq!((told.state.as_str(), told.epoch), ("serving", Some(3)));
        let nested = r#"{"timestamp":"2026-11-22T10:00:00Z","fields":{"message":"verdict","state":"waiting","because":"sealed"}}"#;
        assert_eq!(verdict(nested).unwrap().reason, "sealed");
        for other in
            ["", "plain text", r#"{"timestamp":"2026-11-22T10:00:00Z","message":"started"}"#]
        {
            assert_eq!(verdict(other), None);
        }
    }

    #[test]
    fn a_term_has_a_reason_and_ends_where_the_next_begins() {
        let record = contract::sample(1);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let say = |second, state: &str, reason: &str, epoch| Verdict {
            at: at(second),
            state: state.to_owned(),
            reason: reason.to_owned(),
            epoch,
        };
        let told = BTreeMap::from([(
            record.holder.instance.clone(),
            vec![
                say(1, "waiting", "no cluster yet", None),
                say(2, "claiming", "first of all", None),
                say(3, "opening", "promoting", Some(1)),
                say(5, "serving", "nothing to do", Some(1)),
            ],
        )]);
        let terms = terms(&record, &told);
        let [term] = terms.as_slice() else { panic!("{terms:?}") };
        assert_eq!((term.opening, term.serving), (Some(at(3)), Some(at(5))));
        assert_eq!(term.reason.as_deref(), Some("first of all"));
        assert_eq!(lasted(term, at(65)), Some(SignedDuration::from_secs(60)));
    }
}
