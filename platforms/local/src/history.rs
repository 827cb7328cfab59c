//! Tells the terms of a cluster: who was primary from when to when, on which timeline, and why.
//!
//! Never invents a time: the record has none, and only what an agent wrote into its log counts.

use jiff::{SignedDuration, Timestamp};
use pgherd_core::names::InstanceName;
use pgherd_core::record::{self, Cause, Record};
use pgherd_core::units::Epoch;
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
    /// Why it began.
    pub reason: String,
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

/// The terms the record keeps, newest last. When each began may be `noted` beside it, where logs are
/// gone.
pub fn terms(
    record: &Record,
    told: &BTreeMap<InstanceName, Vec<Verdict>>,
    noted: &BTreeMap<Epoch, Timestamp>,
) -> Vec<Term> {
    let said = |name: &InstanceName| told.get(name).map(Vec::as_slice).unwrap_or_default();
    let mut terms: Vec<Term> = Vec::new();
    let mut before: Option<&InstanceName> = None;
    // The first entry is initdb's own timeline, on which nobody ever served.
    for term in record.terms.iter().filter(|term| term.epoch.0 > 0) {
        let of = |state: &str| {
            said(&term.holder)
                .iter()
                .find(|verdict| verdict.epoch == Some(term.epoch.0) && verdict.state == state)
                .map(|verdict| verdict.at)
        };
        let opening = of("opening").or(of("serving")).or(noted.get(&term.epoch).copied());
        let serving = of("serving");
        let reason = reason(term, before);
        if let Some(last) = terms.last_mut() {
            last.ended = opening;
        }
        before = Some(&term.holder);
        terms.push(Term {
            epoch: term.epoch.0,
            timeline: term.timeline.0,
            primary: term.holder.to_string(),
            began_at: term.began.map(|lsn| lsn.to_string()),
            opening,
            serving,
            ended: None,
            reason,
        });
    }
    terms
}

/// Why a term began, as the record says.
fn reason(term: &record::Term, before: Option<&InstanceName>) -> String {
    let before = before.map_or_else(|| "nobody".to_owned(), ToString::to_string);
    match term.cause {
        Cause::Initialised => "first start".to_owned(),
        Cause::GrantsLost => format!("failover from {before}: it fell silent"),
        Cause::TermOver => format!("failover from {before}: its term was over"),
        Cause::Released => format!("failover from {before}: its PostgreSQL died"),
        Cause::HandedOver => format!("switchover from {before}"),
        Cause::Retaken => format!("{} took its office back", term.holder),
    }
}

/// How long a term lasted, or has lasted until `now`.
pub fn lasted(term: &Term, now: Timestamp) -> Option<SignedDuration> {
    Some(term.ended.unwrap_or(now).duration_since(term.serving.or(term.opening)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::ports::contract;
    use pgherd_core::record::{Holder, Takeover, WriteId};
    use pgherd_core::units::Lsn;

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
        let first = contract::sample(1);
        let name = |serial| InstanceName::new(first.holder.instance.cluster(), serial);
        let mut record = first.clone();
        for (epoch, serial, cause) in [(2, 2, Cause::GrantsLost), (3, 1, Cause::HandedOver)] {
            let takeover = Takeover {
                holder: Holder { instance: name(serial), ..first.holder.clone() },
                epoch: Epoch(epoch),
                parent: record.timeline,
                parent_began: Lsn(epoch),
                began: None,
                pair: None,
                cause,
            };
            record = record.taken_over(WriteId::default(), takeover);
        }
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let say = |second, state: &str, reason: &str, epoch| Verdict {
            at: at(second),
            state: state.to_owned(),
            reason: reason.to_owned(),
            epoch,
        };
        let told = BTreeMap::from([
            (
                name(1),
                vec![
                    say(3, "opening", "promoting", Some(1)),
                    say(5, "serving", "nothing to do", Some(1)),
                    say(50, "opening", "promoting", Some(3)),
                ],
            ),
            // Its log is gone.
            (name(2), Vec::new()),
        ]);
        let terms = terms(&record, &told, &[(Epoch(2), at(20)), (Epoch(3), at(49))].into());
        let shown: Vec<String> = terms
            .iter()
            .map(|term| {
                let lasted = lasted(term, at(65)).unwrap();
                format!("{} {} {}s {}", term.epoch, term.primary, lasted.as_secs(), term.reason)
            })
            .collect();
        expect_test::expect![[r#"
            1 contract-1 15s first start
            2 contract-2 30s failover from contract-1: it fell silent
            3 contract-1 15s switchover from contract-2"#]]
        .assert_eq(&shown.join("\n"));
    }
}
