//! Tells the terms of a cluster: who was primary from when to when, on which timeline, and why.
//!
//! Never invents a time: the record has none, and only what an agent wrote into its log counts.

use jiff::{SignedDuration, Timestamp};
use pgherd_api::history::{End, Why};
use pgherd_core::names::InstanceName;
use pgherd_core::reason::Reason;
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
    /// When it began to open, when clients could write, and when its primary left, or the next one
    /// began.
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

/// What is known of terms beside the record.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What their holders wrote into their logs, oldest first.
    pub told: BTreeMap<InstanceName, Vec<Verdict>>,
    /// When each began, and how it came to its end, where that was noted.
    pub began: BTreeMap<Epoch, Timestamp>,
    pub ended: BTreeMap<Epoch, End>,
}

/// As agents write it, into a file or, with other names, on the standard output of a pod.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "ts", alias = "time")]
    timestamp: Option<Timestamp>,
    #[serde(alias = "msg")]
    message: Option<String>,
    state: Option<String>,
    because: Option<String>,
    epoch: Option<u64>,
    fields: Option<Box<Line>>,
}

/// The verdict that a line of an agent's log tells, if it tells one.
pub fn verdict(line: &str) -> Option<Verdict> {
    let line: Line = serde_json::from_str(line).ok()?;
    let at = line.timestamp?;
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
pub fn terms(record: &Record, known: &Known) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    let mut before: Option<(&InstanceName, Option<End>)> = None;
    // The first entry is initdb's own timeline, on which nobody ever served.
    for term in record.terms.iter().filter(|term| term.epoch.0 > 0) {
        let said = known.told.get(&term.holder).map(Vec::as_slice).unwrap_or_default();
        let of = |state: &str| said.iter().find(|it| is_of(it, state, term.epoch));
        let at = |verdict: Option<&Verdict>| verdict.map(|verdict| verdict.at);
        let serving = at(of("serving"));
        let opening = at(of("opening")).or(serving).or(known.began.get(&term.epoch).copied());
        let reason = reason(term, before);
        if let Some(last) = terms.last_mut() {
            last.ended = last.ended.or(opening);
        }
        let end = known.ended.get(&term.epoch).copied().or_else(|| end(said, (record, term.epoch)));
        before = Some((&term.holder, end));
        terms.push(Term {
            epoch: term.epoch.0,
            timeline: term.timeline.0,
            primary: term.holder.to_string(),
            began_at: term.began.map(|lsn| lsn.to_string()),
            opening,
            serving,
            ended: end.map(|end| end.at),
            reason,
        });
    }
    terms
}

fn is_of(verdict: &Verdict, state: &str, epoch: Epoch) -> bool {
    verdict.epoch == Some(epoch.0) && verdict.state == state
}

/// How a term came to its end, as its holder's log tells: it was asked to leave, and did not serve
/// again.
fn end(said: &[Verdict], (record, epoch): (&Record, Epoch)) -> Option<End> {
    let mut later = record.terms.iter().map(|term| term.epoch.0).filter(|it| *it > epoch.0);
    // An epoch that was raised without a change of office is one of this term, too.
    let own = epoch.0..later.next().unwrap_or(u64::MAX);
    let is_own = |verdict: &Verdict| verdict.epoch.is_some_and(|epoch| own.contains(&epoch));
    let last = said.iter().rposition(|it| it.state == "serving" && is_own(it))?;
    let rest = said.get(last + 1..).unwrap_or_default().iter();
    let rest = rest.take_while(|it| (it.epoch.is_none() || is_own(it)) && it.state != "following");
    let mut leaving = rest.filter(|verdict| verdict.state == "leaving").peekable();
    let at = leaving.peek()?.at;
    let why = leaving.find_map(|verdict| why(&verdict.reason, record))?;
    Some(End { at, why })
}

/// What a holder left for, if it was asked to.
fn why(said: &str, record: &Record) -> Option<Why> {
    let says = |reason: Reason| reason.to_string() == said;
    let mut others = record.terms.iter().map(|term| &term.holder);
    others
        .find_map(|target| {
            if says(Reason::HandingOver { target: target.clone() }) {
                return Some(Why::Request);
            }
            says(Reason::MakingWay { target: target.clone() }).then_some(Why::Departure)
        })
        .or_else(|| says(Reason::Stopped).then_some(Why::Stop))
}

/// Why a term began, as the record says, and whoever held the office before.
fn reason(term: &record::Term, before: Option<(&InstanceName, Option<End>)>) -> String {
    let why = before.and_then(|(_, end)| end).map(|end| end.why);
    let from = before.map_or_else(|| "nobody".to_owned(), |(name, _)| name.to_string());
    match term.cause {
        Cause::Initialised => "first start".to_owned(),
        Cause::GrantsLost => format!("failover from {from}: it fell silent"),
        Cause::TermOver => format!("failover from {from}: its term was over"),
        Cause::Released => format!("failover from {from}: its PostgreSQL died"),
        Cause::HandedOver => match why {
            Some(Why::Request) => format!("switchover from {from}"),
            Some(Why::Departure) => format!("handed over by {from}: it was to be stopped"),
            Some(Why::Stop) => format!("handed over by {from}: it had been stopped"),
            None => format!("handed over by {from}"),
        },
        Cause::Retaken if why == Some(Why::Stop) => {
            format!("{} took its office back: it had been stopped", term.holder)
        }
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
        let in_a_pod = r#"{"level":"info","ts":"2026-11-22T10:00:00.500000Z","logger":"agent","msg":"verdict","state":"opening","because":"promoting","epoch":2,"logging_pod":"db-1"}"#;
        assert_eq!(verdict(in_a_pod).unwrap().epoch, Some(2));
        for other in
            ["", "plain text", r#"{"timestamp":"2026-11-22T10:00:00Z","message":"started"}"#]
        {
            assert_eq!(verdict(other), None);
        }
    }

    fn name(serial: u32) -> InstanceName {
        InstanceName::new(contract::sample(1).holder.instance.cluster(), serial)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn say(second: i64, state: &str, reason: &str, epoch: Option<u64>) -> Verdict {
        let (state, reason) = (state.to_owned(), reason.to_owned());
        Verdict { at: at(second), state, reason, epoch }
    }

    /// The first is in office from the beginning, then these.
    fn record(offices: &[(u64, u32, Cause)]) -> Record {
        let first = contract::sample(1);
        let mut record = first.clone();
        for (epoch, serial, cause) in offices {
            let takeover = Takeover {
                holder: Holder { instance: name(*serial), ..first.holder.clone() },
                epoch: Epoch(*epoch),
                parent: record.timeline,
                parent_began: Lsn(*epoch),
                began: None,
                pair: None,
                cause: *cause,
            };
            record = record.taken_over(WriteId::default(), takeover);
        }
        record
    }

    fn shown(record: &Record, known: &Known) -> String {
        let told = terms(record, known).into_iter().map(|term| {
            let lasted = lasted(&term, at(65)).map_or(-1, |lasted| lasted.as_secs());
            let over = if term.ended.is_some() { "" } else { " so far" };
            format!("{} {} {lasted}s{over} {}\n", term.epoch, term.primary, term.reason)
        });
        told.collect()
    }

    #[test]
    fn a_term_has_a_reason_and_ends_where_the_next_begins() {
        let record = record(&[(2, 2, Cause::GrantsLost), (3, 1, Cause::HandedOver)]);
        let told = vec![
            say(3, "opening", "promoting", Some(1)),
            say(5, "serving", "nothing to do", Some(1)),
            say(9, "waiting", "the agent has just started", None),
            say(11, "following", "streaming", None),
            say(12, "leaving", "shall be stopped", None),
            say(50, "opening", "promoting", Some(3)),
        ];
        // The log of the other one is gone.
        let known = Known {
            told: [(name(1), told), (name(2), Vec::new())].into(),
            began: [(Epoch(2), at(20)), (Epoch(3), at(49))].into(),
            ended: BTreeMap::new(),
        };
        expect_test::expect![[r#"
            1 contract-1 15s first start
            2 contract-2 30s failover from contract-1: it fell silent
            3 contract-1 15s so far handed over by contract-2
        "#]]
        .assert_eq(&shown(&record, &known));
    }

    #[test]
    fn only_what_was_asked_for_is_a_switchover() {
        let record = record(&[
            (2, 2, Cause::HandedOver),
            (3, 1, Cause::HandedOver),
            (5, 2, Cause::HandedOver),
            (6, 2, Cause::Retaken),
        ]);
        let asked = Reason::HandingOver { target: name(2) }.to_string();
        let first = vec![
            say(1, "serving", "nothing to do", Some(1)),
            // Given up.
            say(3, "leaving", &asked, None),
            say(4, "serving", "nothing to do", Some(1)),
            say(9, "leaving", &asked, None),
            say(10, "leaving", "stop is running", None),
            say(11, "following", "streaming", None),
            say(21, "serving", "nothing to do", Some(3)),
            // Nobody else took office.
            say(22, "serving", "nothing to do", Some(4)),
            say(29, "leaving", "stop is running", None),
            say(30, "leaving", &Reason::Stopped.to_string(), None),
        ];
        let makes_way = Reason::MakingWay { target: name(1) }.to_string();
        let second = vec![
            say(11, "serving", "nothing to do", Some(2)),
            say(18, "leaving", &makes_way, None),
            say(19, "leaving", &Reason::HandingOver { target: name(1) }.to_string(), None),
            say(35, "serving", "nothing to do", Some(5)),
            say(40, "leaving", &Reason::Stopped.to_string(), None),
            say(60, "serving", "nothing to do", Some(6)),
        ];
        let logs = Known { told: [(name(1), first), (name(2), second)].into(), ..Known::default() };
        expect_test::expect![[r#"
            1 contract-1 8s first start
            2 contract-2 7s switchover from contract-1
            3 contract-1 8s handed over by contract-2: it was to be stopped
            5 contract-2 5s handed over by contract-1: it had been stopped
            6 contract-2 5s so far contract-2 took its office back: it had been stopped
        "#]]
        .assert_eq(&shown(&record, &logs));
        let noted = |second, why| End { at: at(second), why };
        let known = Known {
            began: [(1, 1), (2, 11), (3, 20), (5, 34), (6, 59)]
                .map(|(epoch, second)| (Epoch(epoch), at(second)))
                .into(),
            ended: [
                (Epoch(1), noted(10, Why::Request)),
                (Epoch(2), noted(18, Why::Departure)),
                (Epoch(3), noted(30, Why::Stop)),
                (Epoch(6), noted(61, Why::Stop)),
            ]
            .into(),
            ..Known::default()
        };
        expect_test::expect![[r#"
            1 contract-1 9s first start
            2 contract-2 7s switchover from contract-1
            3 contract-1 10s handed over by contract-2: it was to be stopped
            5 contract-2 25s handed over by contract-1: it had been stopped
            6 contract-2 2s contract-2 took its office back
        "#]]
        .assert_eq(&shown(&record, &known));
    }
}
