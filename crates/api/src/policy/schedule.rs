//! Refuses schedules that never come, and warns of those that come otherwise than they look.
//!
//! Never reads the clock.

use super::{Check, Effect, GROUP, Policy, VERSION};
use crate::kind::{OWN_GROUP, OWN_VERSION};
use crate::schedule::FIVE_FIELDS;

const MONTH: &str = "0*[1-9]|0*1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)";
const WEEKDAY: &str = "0*[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat)";
const TIMES: &str = "@(yearly|annually|monthly|weekly|daily|midnight|hourly)";
const EVERY: &str = r"@every +([0-9]+([.][0-9]*)?(ns|us|ms|s|m|h))+";

/// A kind with a schedule.
pub(super) struct Scheduled {
    group: (&'static str, &'static str),
    kind: &'static str,
    plural: &'static str,
    /// What the names of its checks begin with.
    word: &'static str,
}

pub(super) const BACKUPS: Scheduled = Scheduled {
    group: (GROUP, VERSION),
    kind: "ScheduledBackup",
    plural: "scheduledbackups",
    word: "scheduled-backup",
};
pub(super) const DUMPS: Scheduled = Scheduled {
    group: (OWN_GROUP, OWN_VERSION),
    kind: "ScheduledDump",
    plural: "scheduleddumps",
    word: "scheduled-dump",
};

pub(super) fn policy(of: &Scheduled) -> Policy {
    let minute = field("0*[0-5]?[0-9]");
    let (hour, day) = (field("0*1?[0-9]|0*2[0-3]"), field("0*[12]?[0-9]|0*3[01]"));
    let (month, weekday) = (field(MONTH), field(WEEKDAY));
    let fields = format!(r"{minute}\s+{minute}\s+{hour}\s+{day}\s+{month}(\s+{weekday})?");
    let check = Check {
        name: format!("{}-schedule", of.word).into(),
        place: "spec.schedule: ".into(),
        offenders: format!(
            r"[object.spec.schedule].filter(schedule, !schedule.matches(r'^(TZ=\S+\s+)?({TIMES}|{EVERY}|\s*{fields}\s*)$'))"
        )
        .into(),
        refusal: "is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily".into(),
    };
    of.policy(Effect::Refused, check)
}

/// What users of `crontab` write means another moment than they think.
pub(super) fn warnings(of: &Scheduled) -> Policy {
    let check = Check {
        name: format!("{}-six-fields", of.word).into(),
        place: "spec.schedule: ".into(),
        offenders: r"[object.spec.schedule].filter(schedule, schedule.matches(r'^(TZ=\S+\s+)?\s*[^@\s]\S*(\s+\S+){4}\s*$') && !schedule.matches(r'^TZ=\S+(\s+\S+){4}\s*$'))".into(),
        refusal: FIVE_FIELDS.into(),
    };
    of.policy(Effect::Warned, check)
}

impl Scheduled {
    fn policy(&self, effect: Effect, check: Check) -> Policy {
        let Self { group: (group, version), kind, plural, .. } = *self;
        Policy { group, version, kind, plural, effect, parts: &[], checks: vec![check] }
    }
}

/// One field: a list of values, ranges and steps.
fn field(value: &str) -> String {
    let part = format!(r"([*?]|({value})(-({value}))?)(/[0-9]+)?");
    format!("{part}(,{part})*")
}
