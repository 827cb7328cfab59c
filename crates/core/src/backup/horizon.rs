//! Says on which side of a window's begin something lies, and where a clock may have been wrong.
//!
//! Never lets a stretch of time that stands out count against what is stored: nobody saw it go by.

use super::window::Archive;
use crate::units::Moment;
use serde::Serialize;
use std::fmt;

/// What is shorter takes as little from a window as it lasts.
const NOTABLE: i64 = 86_400_000_000;
/// So many times as long as any other stretch is a leap.
const STANDS_OUT: i64 = 2;

/// A stretch of time at whose ends something was taken and within it nothing, by any clock, and
/// which is like no other: a clock that was set ahead leaves one, and so does a long rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leap {
    pub from: Moment,
    pub to: Moment,
}

impl Leap {
    fn length(self) -> i64 {
        self.to.0.saturating_sub(self.from.0)
    }
}

impl fmt::Display for Leap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.from, self.to)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Inside,
    Before,
    /// Before, if the leap went by, and else inside.
    Doubtful(Leap),
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    begins: Moment,
    leap: Option<Leap>,
}

impl Horizon {
    /// `taken` are the moments of all that is stored and judged.
    pub fn new(begins: Moment, taken: impl IntoIterator<Item = Moment>, now: Moment) -> Self {
        Self { begins, leap: leap(taken, now) }
    }

    pub fn side(&self, at: Moment) -> Side {
        let moved = |leap: Leap| at.0.saturating_add(leap.length());
        match self.leap {
            _ if at > self.begins => Side::Inside,
            Some(leap) if at <= leap.from && moved(leap) > self.begins.0 => Side::Doubtful(leap),
            Some(_) | None => Side::Before,
        }
    }
}

/// From when days are counted back. What was stored last tells the time of the store, which may know
/// better than whoever asks; of two clocks the one that gives up less is believed.
pub fn present(clock: Moment, archive: &Archive) -> Moment {
    let archived = archive.runs.iter().map(|run| run.archived);
    let streamed = archive.streams.values().map(|streamed| streamed.stored);
    archived.chain(streamed).max().map_or(clock, |stored| stored.min(clock))
}

fn leap(taken: impl IntoIterator<Item = Moment>, now: Moment) -> Option<Leap> {
    // What is of a future was taken by a clock that was ahead: it says nothing of this one.
    let mut times: Vec<Moment> = taken.into_iter().filter(|at| *at < now).collect();
    times.push(now);
    times.sort_unstable();
    let between = times.windows(2).filter_map(|pair| match pair {
        [from, to] => Some(Leap { from: *from, to: *to }),
        _ => None,
    });
    let mut stretches: Vec<Leap> = between.collect();
    stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.length()));
    let longest = *stretches.first()?;
    let next = stretches.get(1).map_or(0, |next| next.length());
    let stands_out = longest.length() > next.saturating_mul(STANDS_OUT);
    (longest.length() >= NOTABLE && stands_out).then_some(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::{DAY, archive, streaming};
    use expect_test::expect;

    fn told(begins: i64, taken: &[i64], now: i64) -> String {
        let moment = |day: &i64| Moment(day * DAY);
        let horizon = Horizon::new(moment(&begins), taken.iter().map(moment), moment(&now));
        let side = |day: &i64| match horizon.side(moment(day)) {
            Side::Inside => format!("{day} inside"),
            Side::Before => format!("{day} before"),
            Side::Doubtful(_) => format!("{day} doubtful"),
        };
        let sides: Vec<String> = taken.iter().map(side).collect();
        format!("{}\n", sides.join(", "))
    }

    #[test]
    fn a_leap_of_the_clock_puts_nothing_before_the_window() {
        let said = [
            // Seven days are kept. First as it should be, then 40 days ahead, and how that goes on:
            // once seven days have gone by since, it does not matter any more.
            told(3, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10),
            told(43, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 50], 50),
            told(45, &[3, 4, 5, 6, 7, 8, 9, 50, 51, 52], 52),
            told(50, &[7, 8, 9, 50, 51, 52, 53, 54, 55, 56, 57], 57),
            // It was ahead and is right again, or is ahead once more.
            told(5, &[1, 2, 3, 4, 5, 6, 50, 51, 7, 8, 9, 10, 11, 12], 12),
            told(45, &[1, 2, 3, 4, 5, 6, 50, 7, 8, 52], 52),
        ];
        expect![[r#"
            1 before, 2 before, 3 before, 4 inside, 5 inside, 6 inside, 7 inside, 8 inside, 9 inside, 10 inside
            1 before, 2 before, 3 doubtful, 4 doubtful, 5 doubtful, 6 doubtful, 7 doubtful, 8 doubtful, 9 doubtful, 50 inside
            3 before, 4 before, 5 doubtful, 6 doubtful, 7 doubtful, 8 doubtful, 9 doubtful, 50 inside, 51 inside, 52 inside
            7 before, 8 before, 9 before, 50 before, 51 inside, 52 inside, 53 inside, 54 inside, 55 inside, 56 inside, 57 inside
            1 before, 2 before, 3 before, 4 before, 5 before, 6 inside, 50 inside, 51 inside, 7 inside, 8 inside, 9 inside, 10 inside, 11 inside, 12 inside
            1 before, 2 before, 3 before, 4 doubtful, 5 doubtful, 6 doubtful, 50 inside, 7 doubtful, 8 doubtful, 52 inside
        "#]]
        .assert_eq(&said.concat());
    }

    #[test]
    fn rare_backups_and_short_breaks_are_no_leap() {
        let said = [
            // Once a month, kept for 30 days.
            told(70, &[7, 38, 69, 100], 100),
            // Two days were left out.
            told(7, &[1, 2, 3, 6, 7, 8, 9, 10], 10),
            told(0, &[], 10),
        ];
        expect![[r#"
            7 before, 38 before, 69 before, 100 inside
            1 before, 2 before, 3 before, 6 before, 7 before, 8 inside, 9 inside, 10 inside

        "#]]
        .assert_eq(&said.concat());
    }

    #[test]
    fn of_two_clocks_the_one_that_keeps_more_counts() {
        let minute = |minute: i64| Moment(minute * 60_000_000);
        let known = archive(&[(1, 2, 8), (2, 9, 12)], &[]);
        assert_eq!(present(minute(10), &known), minute(10));
        assert_eq!(present(minute(90), &known), minute(12));
        assert_eq!(present(minute(90), &streaming(known, &[(2, 0xD00_0300)])), minute(60));
        assert_eq!(present(minute(90), &archive(&[], &[])), minute(90));
    }
}
