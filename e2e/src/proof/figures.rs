//! What was measured, beside what was to be reached and what CloudNativePG needs for the same.
//!
//! Never takes a slow answer for a broken promise, nor the other way round.

use super::scenario::Scenario;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One time that a scenario was gone through.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// The longest time without an acknowledged row, or what else the scenario measures.
    pub seconds: Option<f64>,
    /// When that time ended, in milliseconds since 1970 on the client's clock.
    pub until: u64,
    pub acknowledged: u64,
    pub unknown: u64,
    pub lost: u64,
    /// Refused, or not answered.
    pub failed: u64,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Promises that were broken.
    pub broken: Vec<String>,
}

/// All rounds of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub scenario: Scenario,
    pub rounds: Vec<Round>,
    /// Why it did not come to its end, or was not begun.
    pub ended: Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    Well,
    Skipped(String),
    Failed(String),
}

impl Outcome {
    pub fn is_broken(&self) -> bool {
        matches!(self.ended, Ended::Failed(_))
            || self.rounds.iter().any(|round| !round.broken.is_empty())
    }

    /// The time that so many percent of the rounds do not exceed.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut all: Vec<f64> = self.rounds.iter().filter_map(|round| round.seconds).collect();
        all.sort_by(f64::total_cmp);
        let rank = (all.len() * percent).div_ceil(100).max(1);
        all.get(rank - 1).map(|seconds| Duration::from_secs_f64(*seconds))
    }

    fn verdict(&self) -> &'static str {
        if self.is_broken() {
            return "BROKEN";
        }
        if let Ended::Skipped(_) = self.ended {
            return "skipped";
        }
        let target = self.scenario.target();
        let within = |limit: Option<Duration>, is: Option<Duration>| match (limit, is) {
            (Some(limit), Some(is)) => is <= limit,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let met = within(target.p50, self.percentile(50))
            && within(target.max, self.percentile(100))
            && (!target.none_fails || self.rounds.iter().all(|round| round.failed == 0));
        if met { "met" } else { "missed" }
    }
}

/// A table for people.
pub struct Table<'a>(pub &'a [Outcome]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = format!("{:<20}{:>6}{:>9}{:>9}", "SCENARIO", "ROUNDS", "P50", "MAX");
        let columns = format!("{columns}{:>8}{:>6}{:>7}", "ROWS", "LOST", "FAILED");
        writeln!(f, "{columns}  {:<9}{:<25}CLOUDNATIVEPG", "VERDICT", "TO REACH")?;
        for one in self.0 {
            let time = |percent| {
                let time = one.percentile(percent);
                time.map_or_else(|| "-".to_owned(), |it| format!("{:.2} s", it.as_secs_f64()))
            };
            let sum = |of: fn(&Round) -> u64| one.rounds.iter().map(of).sum::<u64>();
            let (p50, max) = (time(50), time(100));
            let name = one.scenario.to_string();
            write!(f, "{name:<20}{:>6}{p50:>9}{max:>9}", one.rounds.len())?;
            let (rows, lost) = (sum(|round| round.acknowledged), sum(|round| round.lost));
            write!(f, "{rows:>8}{lost:>6}{:>7}", sum(|round| round.failed))?;
            let target = one.scenario.target().to_string();
            let (verdict, theirs) = (one.verdict(), one.scenario.theirs());
            writeln!(f, "  {verdict:<9}{target:<25}{theirs}")?;
            if let Ended::Failed(why) | Ended::Skipped(why) = &one.ended {
                writeln!(f, "    {}", why.replace('\n', "\n    "))?;
            }
            for line in one.rounds.iter().flat_map(|round| round.broken.iter()) {
                writeln!(f, "    broken: {line}")?;
            }
            for line in one.rounds.iter().flat_map(|round| round.notes.iter()) {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn round(seconds: f64) -> Round {
        Round { seconds: Some(seconds), acknowledged: 100, failed: 4, ..Round::default() }
    }

    #[test]
    fn figures_stand_beside_what_was_to_be_reached() {
        let outcome = |scenario, rounds: &[Round]| Outcome {
            scenario,
            rounds: rounds.to_vec(),
            ended: Ended::Well,
        };
        let mut lossy = round(2.9);
        lossy.lost = 3;
        lossy.broken.push("3 rows of 100 are lost".to_owned());
        let mut away = outcome(Scenario::NodeDrained, &[]);
        away.ended = Ended::Skipped("only the nodes of a testbed can be hurt".to_owned());
        let all = [
            outcome(Scenario::NodeLost, &[round(3.1), round(2.8), round(3.9)]),
            outcome(Scenario::PostmasterKilled, &[round(0.7)]),
            outcome(Scenario::ApiAway, &[round(0.1)]),
            outcome(Scenario::Frozen, &[lossy]),
            away,
        ];
        expect![[r#"
            SCENARIO            ROUNDS      P50      MAX    ROWS  LOST FAILED  VERDICT  TO REACH                 CLOUDNATIVEPG
            node-lost                3   3.10 s   3.90 s     300     0     12  met      p50 3.5 s, max 4 s       78.7 s, 1 row lost
            postmaster-killed        1   0.70 s   0.70 s     100     0      4  missed   p50 0.6 s, max 1.2 s     8.9 s, 2 rows lost
            api-away                 1   0.10 s   0.10 s     100     0      4  missed   none fails               0 s
            frozen                   1   2.90 s   2.90 s     100     3      4  BROKEN   heals                    not measured
                broken: 3 rows of 100 are lost
            node-drained             0        -        -       0     0      0  skipped  max 1 s                  up to 180 s without new connections
                only the nodes of a testbed can be hurt
        "#]].assert_eq(&Table(&all).to_string());
    }
}
