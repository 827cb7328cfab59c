//! Compares the rows that are there with what the book says was promised.
//!
//! Never asks the cluster what it thinks it committed.

use super::book::{Entry, Outcome, Witness};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const FIRST_FEW: usize = 20;

/// Some numbers: how many, and the first few of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    pub count: u64,
    pub first: Vec<u64>,
}

impl Numbers {
    fn add(&mut self, number: u64) {
        self.count += 1;
        if self.first.len() < FIRST_FEW {
            self.first.push(number);
        }
    }
}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub acknowledged: u64,
    pub unknown: u64,
    pub refused: u64,
    /// Acknowledged, and not there.
    pub lost: Numbers,
    /// There more than once.
    pub repeated: Numbers,
    /// There, and never sent.
    pub foreign: Numbers,
    /// There, although the server said that it is not.
    pub undead: Numbers,
    /// Those of the unknown ones that are there.
    pub unknown_there: u64,
    /// Timelines on which more than one server acknowledged.
    pub shared_timelines: BTreeMap<u32, BTreeSet<u16>>,
    /// Acknowledgements on a timeline after some on a later one.
    pub late: u64,
}

impl Findings {
    /// Nothing that would be wrong whatever durability was asked for.
    pub fn is_consistent(&self) -> bool {
        [&self.repeated, &self.foreign, &self.undead].iter().all(|numbers| numbers.count == 0)
            && self.shared_timelines.is_empty()
    }

    /// All that was promised is there, once, and nothing else.
    pub fn is_flawless(&self) -> bool {
        self.is_consistent() && self.lost.count == 0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, unknown, unknown_there, refused, .. } = self;
        write!(f, "{acknowledged} acknowledged, {} lost", self.lost.count)?;
        write!(f, ", {unknown} unknown ({unknown_there} of them there), {refused} refused")?;
        for (what, numbers) in [
            ("there more than once", &self.repeated),
            ("there but never sent", &self.foreign),
            ("there but refused", &self.undead),
        ] {
            if numbers.count > 0 {
                write!(f, ", {} {what} ({:?})", numbers.count, numbers.first)?;
            }
        }
        if !self.lost.first.is_empty() {
            write!(f, ", lost are {:?}", self.lost.first)?;
        }
        for (timeline, ports) in &self.shared_timelines {
            write!(f, ", timeline {timeline} was written at ports {ports:?}")?;
        }
        if self.late > 0 {
            write!(f, ", {} acknowledged on an older timeline after a newer one", self.late)?;
        }
        Ok(())
    }
}

/// Judges `rows`, in any order, by the book.
pub(super) fn judge(book: &[Entry], mut rows: Vec<u64>) -> Findings {
    rows.sort_unstable();
    let mut findings = Findings::default();
    let mut expected: Vec<(u64, Outcome)> =
        book.iter().map(|entry| (entry.number, entry.outcome)).collect();
    expected.sort_unstable_by_key(|(number, _)| *number);
    let mut groups = rows.chunk_by(|a, b| a == b).peekable();
    for (number, outcome) in expected {
        while let Some(foreign) = groups.next_if(|group| group.first() < Some(&number)) {
            foreign.first().iter().for_each(|number| findings.foreign.add(**number));
        }
        let there = groups.next_if(|group| group.first() == Some(&number));
        let times = there.map_or(0, <[u64]>::len);
        count(&mut findings, number, outcome, times);
    }
    let rest = groups.filter_map(|group| group.first());
    rest.for_each(|number| findings.foreign.add(*number));
    hear_witnesses(&mut findings, book);
    findings
}

fn count(findings: &mut Findings, number: u64, outcome: Outcome, times: usize) {
    if times > 1 {
        findings.repeated.add(number);
    }
    match outcome {
        Outcome::Acknowledged(_) => {
            findings.acknowledged += 1;
            if times == 0 {
                findings.lost.add(number);
            }
        }
        Outcome::Unknown => {
            findings.unknown += 1;
            findings.unknown_there += u64::from(times > 0);
        }
        Outcome::Refused => {
            findings.refused += 1;
            if times > 0 {
                findings.undead.add(number);
            }
        }
    }
}

fn hear_witnesses(findings: &mut Findings, book: &[Entry]) {
    let mut servers: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
    let mut newest = 0;
    for entry in book {
        let Outcome::Acknowledged(Witness { timeline, port }) = entry.outcome else { continue };
        servers.entry(timeline).or_default().insert(port);
        findings.late += u64::from(timeline < newest);
        newest = newest.max(timeline);
    }
    servers.retain(|_, ports| ports.len() > 1);
    findings.shared_timelines = servers;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(book: &str, rows: &[u64]) -> String {
        let book: Vec<Entry> = book.split(", ").map(|line| line.parse().unwrap()).collect();
        judge(&book, rows.to_vec()).to_string()
    }

    #[test]
    fn promises_are_compared_with_rows() {
        let book = "ack 2 1 5441, unknown 3, unknown 4, refused 5, ack 1 1 5441";
        let said = [
            judged(book, &[1, 2, 3]),
            judged(book, &[2]),
            judged(book, &[2, 1, 2, 3, 4]),
            judged(book, &[0, 1, 2, 5, 9, 9]),
        ];
        expect_test::expect![[r"
            2 acknowledged, 0 lost, 2 unknown (1 of them there), 1 refused
            2 acknowledged, 1 lost, 2 unknown (0 of them there), 1 refused, lost are [1]
            2 acknowledged, 0 lost, 2 unknown (2 of them there), 1 refused, 1 there more than once ([2])
            2 acknowledged, 0 lost, 2 unknown (0 of them there), 1 refused, 2 there but never sent ([0, 9]), 1 there but refused ([5])"]]
        .assert_eq(&said.join("\n"));
    }

    #[test]
    fn two_servers_on_one_timeline_are_noticed() {
        let book = "ack 1 1 5441, ack 2 2 5442, ack 3 1 5441, ack 4 2 5443";
        let said = judged(book, &[1, 2, 3, 4]);
        expect_test::expect![
            "4 acknowledged, 0 lost, 0 unknown (0 of them there), 0 refused, timeline 2 was written at ports {5442, 5443}, 1 acknowledged on an older timeline after a newer one"
        ]
        .assert_eq(&said);
    }
}
