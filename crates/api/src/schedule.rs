//! Understands when something is to come regularly, and what kinds have in common that say so.
//!
//! Never reads the clock: it is asked what comes after a moment.

pub mod planned;

use crate::errand::Errand;
use crate::kind::Kind;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pgherd_core::backup::schedule::{Last, Sight, Wish};
use pgherd_core::units::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A kind whose objects make others at regular moments.
pub trait Scheduled: Kind {
    /// What they make.
    type Made: Errand;

    /// When, and for which cluster.
    fn timing(&self) -> Timing<'_>;
    /// When it was done last.
    fn status(&self) -> Option<&ScheduleStatus>;
    /// One that is due.
    fn made(&self, metadata: ObjectMeta) -> Self::Made;
}

/// When something is wanted, and for which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing<'a> {
    /// As [`Schedule::parse`] reads it.
    pub schedule: &'a str,
    /// The cluster's name, in the same namespace.
    pub cluster: &'a str,
    /// Whether the first one is made at once, and whether any is.
    pub begins: Begins,
    /// Whose deletion deletes what is made.
    pub owner: Owner,
}

/// When the first one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// Nothing is made for now.
    Suspended,
    /// When it is due.
    Scheduled,
    /// As soon as the schedule is there.
    AtOnce,
    /// As soon as the schedule is there, and then only until one has succeeded.
    Once,
}

impl Begins {
    pub(crate) fn of(suspend: Option<bool>, immediate: Option<bool>) -> Self {
        match (suspend.unwrap_or_default(), immediate.unwrap_or_default()) {
            (true, _) => Self::Suspended,
            (false, true) => Self::AtOnce,
            (false, false) => Self::Scheduled,
        }
    }
}

/// Whose deletion deletes the objects that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Owner {
    /// Nobody's: they stay.
    #[default]
    #[serde(rename = "none")]
    None,
    /// That of this object.
    #[serde(rename = "self")]
    Schedule,
    /// The cluster's.
    #[serde(rename = "cluster")]
    Cluster,
}

/// When something was made, and when it is the next time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// When the schedule was looked at last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_check_time: Option<Time>,
    /// When one was due last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// Why nothing is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The moments at which something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// At the moments that fit a pattern, as clocks of a zone show them.
    Fitting(Box<Cron>, TimeZone),
    /// So long after the last one.
    Every(Duration),
}

/// Why there is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum ScheduleError {
    #[error(
        "{given:?} is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h"
    )]
    Form { given: String },
    #[error("{given:?} is no schedule: {why}: correct that field")]
    Field { given: String, why: String },
    #[error("{given:?} names no zone that is known: write TZ=UTC, or one such as TZ=Europe/Rome")]
    Zone { given: String },
    #[error("{given:?} never comes: no day is like that, so correct day, month or day of the week")]
    Never { given: String },
}

/// What is said of a schedule with five fields.
pub(crate) const FIVE_FIELDS: &str = "has five fields, which are second, minute, hour, day and month here, not those of crontab, so that it comes more often than it looks: write six fields, for example 0 0 3 * * * for three every night";

const MONTHS: &[&str] =
    &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// What each field may have besides numbers.
const NAMES: [&[&str]; 6] = [&[], &[], &[], &[], MONTHS, WEEKDAYS];

impl Schedule {
    /// Reads it as CloudNativePG's users write it.
    pub fn parse(given: &str) -> Result<Self, ScheduleError> {
        let wrong = || ScheduleError::Form { given: given.to_owned() };
        let text = given.trim();
        if let Some(every) = text.strip_prefix("@every ") {
            let every = duration(every.trim()).filter(|every| every.as_secs() > 0);
            return every.map(|every| Self(Form::Every(every))).ok_or_else(wrong);
        }
        let (zone, text) = match text.strip_prefix("TZ=") {
            Some(rest) => rest.split_once(char::is_whitespace).ok_or_else(wrong)?,
            None => ("UTC", text),
        };
        let unknown = || ScheduleError::Zone { given: given.to_owned() };
        let zone = TimeZone::get(zone).map_err(|_| unknown())?;
        let pattern = pattern(text).ok_or_else(wrong)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        let cron = parser.parse(&pattern).map_err(|error| ScheduleError::Field {
            given: given.to_owned(),
            why: error.to_string().trim_end_matches('.').to_owned(),
        })?;
        let schedule = Self(Form::Fitting(Box::new(cron), zone));
        let comes = schedule.after(Timestamp::UNIX_EPOCH).is_some();
        if comes { Ok(schedule) } else { Err(ScheduleError::Never { given: given.to_owned() }) }
    }

    /// For what is done until it has succeeded once.
    pub(crate) fn hourly() -> Self {
        Self(Form::Every(Duration::from_hours(1)))
    }

    /// The first moment after this one at which something is due.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Form::Fitting(cron, zone) => {
                let next = cron.find_next_occurrence(&at.to_zoned(zone.clone()), false);
                next.ok().map(|next| next.timestamp())
            }
            Form::Every(every) => {
                let every = SignedDuration::try_from(*every).ok()?;
                let next = at.checked_add(every).ok()?;
                Timestamp::from_second(next.as_second()).ok()
            }
        }
    }

    /// What is decided from whether something is due now, if it was looked at last then.
    pub fn sight(
        &self,
        begins: Begins,
        (checked, now): (Option<Timestamp>, Timestamp),
        last: Last,
    ) -> Sight {
        Sight {
            now: moment(now),
            wish: match begins {
                Begins::Suspended => Wish::Suspended,
                Begins::AtOnce => Wish::AtOnceAndScheduled,
                Begins::Scheduled => Wish::Scheduled,
                Begins::Once => Wish::Once,
            },
            checked: checked.map(moment),
            due: checked.and_then(|checked| self.after(checked)).map(moment),
            next: self.after(now).map(moment),
            last,
        }
    }
}

/// The name of what comes of a schedule: the same for the same moment.
pub fn made_name(schedule: &str, at: Timestamp) -> String {
    format!("{schedule}-{}", at.strftime("%Y%m%d%H%M%S"))
}

/// As decisions know it.
pub fn moment(at: Timestamp) -> Moment {
    Moment(at.as_microsecond())
}

/// Six fields, or none if it is not made of them.
fn pattern(text: &str) -> Option<String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 0",
        "@daily" | "@midnight" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        other => other,
    };
    let fields = fields.to_ascii_uppercase().replace('?', "*");
    let mut fields: Vec<&str> = fields.split_whitespace().collect();
    if fields.len() == 5 {
        fields.push("*");
    }
    let is_plain = fields.len() == 6
        && fields.iter().zip(NAMES).all(|(field, names)| {
            let parts = field.split([',', '-', '/']);
            let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
            let mut parts = parts.map(|part| {
                !part.is_empty() && (part == "*" || is_number(part) || names.contains(&part))
            });
            parts.all(|is_good| is_good)
        });
    is_plain.then(|| fields.join(" "))
}

/// Like `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// The next three moments from Friday, 2026-11-27, noon on.
    fn told(text: &str) -> String {
        let schedule = match Schedule::parse(text) {
            Ok(schedule) => schedule,
            Err(error) => return format!("{error}\n"),
        };
        let mut at: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let next = std::iter::repeat_with(|| {
            at = schedule.after(at).unwrap();
            at.to_string()
        });
        next.take(3).collect::<Vec<_>>().join(" ") + "\n"
    }

    #[test]
    fn schedules_come_as_they_are_written() {
        expect![[r#"
            2026-11-28T03:00:00Z 2026-11-29T03:00:00Z 2026-11-30T03:00:00Z
            2026-11-28T00:00:00Z 2026-11-29T00:00:00Z 2026-11-30T00:00:00Z
            2026-11-28T00:00:00Z 2026-11-29T00:00:00Z 2026-11-30T00:00:00Z
            2026-11-28T00:30:00Z 2026-11-28T13:00:00Z 2026-11-29T01:30:00Z
            2026-11-29T02:30:00Z 2026-12-06T02:30:00Z 2026-12-13T02:30:00Z
            2027-01-01T00:00:00Z 2027-07-01T00:00:00Z 2028-01-01T00:00:00Z
            2026-12-04T12:00:00Z 2026-12-11T12:00:00Z 2026-12-13T12:00:00Z
            2026-11-28T04:05:00Z 2026-11-28T04:05:30Z 2026-11-29T04:05:00Z
            2028-02-29T00:00:00Z 2032-02-29T00:00:00Z 2036-02-29T00:00:00Z
            2026-11-28T02:00:00Z 2026-11-29T02:00:00Z 2026-11-30T02:00:00Z
            2026-11-27T12:00:20Z 2026-11-27T12:00:40Z 2026-11-27T12:01:00Z
        "#]]
        .assert_eq(
            &[
                "0 0 3 * * *",
                "0 0 0 * * *",
                "@daily",
                "@every 12h30m",
                "0 30 2 * * SUN",
                "0 0 0 1 jan,Jul ?",
                "0 0 12 13 * 5",
                "0/30 5 4 * *",
                "0 0 0 29 2 *",
                "TZ=Europe/Rome 0 0 3 * * *",
                "*/20 * 9-17 * * MON-FRI",
            ]
            .map(told)
            .concat(),
        );
    }

    #[test]
    fn what_never_comes_is_refused() {
        expect![[r#"
            "" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "0 0 3" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "0 0 3 * * * *" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "0 0 25 * * *" is no schedule: Component error: Number out of bounds: correct that field
            "0 0 3 L * *" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "0 0 3 * * FRI#1" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "@never" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "@every 0s" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "@every soon" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            "0 0 0 30 2 *" never comes: no day is like that, so correct day, month or day of the week
            "TZ=Atlantis 0 0 3 * * *" names no zone that is known: write TZ=UTC, or one such as TZ=Europe/Rome
            "0 0 3 * MON *" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
        "#]]
        .assert_eq(
            &[
                "", "0 0 3", "0 0 3 * * * *", "0 0 25 * * *", "0 0 3 L * *", "0 0 3 * * FRI#1", "@never",
                "@every 0s", "@every soon", "0 0 0 30 2 *", "TZ=Atlantis 0 0 3 * * *", "0 0 3 * MON *",
            ]
            .map(told)
            .concat(),
        );
    }
}
