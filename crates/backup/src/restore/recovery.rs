//! Says what PostgreSQL has to be told so that a restored folder recovers to where it should.
//!
//! Never writes a file: the settings are given to whoever owns them.

use pgherd_core::backup::choice::Along;
use pgherd_core::units::{Lsn, Moment};
use std::fmt::Write;

/// The file whose presence makes PostgreSQL recover from the archive.
pub const SIGNAL: &str = "recovery.signal";

/// How a restored folder recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The command that fetches a file of the log: `%f` is its name, `%p` where it goes.
    pub restore_command: String,
    pub target: Target,
    pub along: Along,
    pub then: Then,
}

/// Where recovery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Where the log ends.
    Latest,
    /// As soon as the backup is consistent.
    Immediate,
    Time(Moment, Edge),
    Lsn(Lsn, Edge),
    Transaction(u32, Edge),
    /// A restore point.
    Name(String),
}

/// Whether what lies exactly on the target is recovered, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edge {
    #[default]
    Inclusive,
    Exclusive,
}

/// What happens at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    #[default]
    Promote,
    Pause,
    Shutdown,
}

/// One setting of PostgreSQL.
pub type Setting = (&'static str, String);

/// All settings of a recovery. What a folder says of them already has to be removed: PostgreSQL
/// refuses two targets, even if one is empty.
pub const NAMES: [&str; 9] = [
    "restore_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
];

/// What PostgreSQL has to be told.
pub fn settings(recovery: &Recovery) -> Vec<Setting> {
    let timeline = match recovery.along {
        Along::Latest => "latest".to_owned(),
        Along::Current => "current".to_owned(),
        Along::Only(timeline) => timeline.to_string(),
    };
    let mut all = vec![
        ("restore_command", recovery.restore_command.clone()),
        ("recovery_target_timeline", timeline),
    ];
    let edge = match &recovery.target {
        // There is nothing to be reached: what follows the log's end is always a promotion.
        Target::Latest => return all,
        Target::Immediate => {
            all.push(("recovery_target", "immediate".to_owned()));
            Edge::Inclusive
        }
        Target::Time(moment, edge) => {
            all.push(("recovery_target_time", time(*moment)));
            *edge
        }
        Target::Lsn(lsn, edge) => {
            all.push(("recovery_target_lsn", lsn.to_string()));
            *edge
        }
        Target::Transaction(id, edge) => {
            all.push(("recovery_target_xid", id.to_string()));
            *edge
        }
        Target::Name(name) => {
            all.push(("recovery_target_name", name.clone()));
            Edge::Inclusive
        }
    };
    if edge == Edge::Exclusive {
        all.push(("recovery_target_inclusive", "off".to_owned()));
    }
    let action = match recovery.then {
        Then::Promote => "promote",
        Then::Pause => "pause",
        Then::Shutdown => "shutdown",
    };
    all.push(("recovery_target_action", action.to_owned()));
    all
}

/// In UTC, to the microsecond.
fn time(moment: Moment) -> String {
    let stamp = jiff::Timestamp::from_microsecond(moment.0).unwrap_or_default();
    stamp.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

/// The lines of `postgresql.auto.conf`.
pub fn lines(settings: &[Setting]) -> String {
    let mut text = String::new();
    for (name, value) in settings {
        // Writing to a text cannot fail.
        let _always =
            writeln!(text, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::units::Timeline;

    fn shown(target: Target, along: Along, then: Then) -> String {
        let restore_command = "fetch 'a' %f %p".to_owned();
        let all = settings(&Recovery { restore_command, target, along, then });
        assert!(all.iter().all(|(name, _)| NAMES.contains(name)));
        lines(&all)
    }

    #[test]
    fn each_target_is_told_in_postgresqls_words() {
        let moment = Moment(1_795_346_554_018_037);
        let mut text = shown(Target::Latest, Along::Latest, Then::Promote);
        for target in [
            Target::Immediate,
            Target::Time(moment, Edge::Exclusive),
            Target::Lsn(Lsn(0x16_B374_D848), Edge::Inclusive),
            Target::Transaction(4711, Edge::Exclusive),
            Target::Name("before \\ the 'end'".to_owned()),
        ] {
            text.push('\n');
            text.push_str(&shown(target, Along::Only(Timeline(3)), Then::Pause));
        }
        expect![[r#"
            restore_command = 'fetch ''a'' %f %p'
            recovery_target_timeline = 'latest'

            restore_command = 'fetch ''a'' %f %p'
            recovery_target_timeline = '3'
            recovery_target = 'immediate'
            recovery_target_action = 'pause'

            restore_command = 'fetch ''a'' %f %p'
            recovery_target_timeline = '3'
            recovery_target_time = '2026-11-22 11:22:34.018037+00'
            recovery_target_inclusive = 'off'
            recovery_target_action = 'pause'

            restore_command = 'fetch ''a'' %f %p'
            recovery_target_timeline = '3'
            recovery_target_lsn = '16/B374D848'
            recovery_target_action = 'pause'

            restore_command = 'fetch ''a'' %f %p'
            recovery_target_timeline = '3'
            recovery_target_xid = '4711'
            recovery_target_inclusive = 'off'
            recovery_target_action = 'pause'

            restore_command = 'fetch ''a'' %f %p'
            recovery_target_timeline = '3'
            recovery_target_name = 'before \\ the ''end'''
            recovery_target_action = 'pause'
        "#]]
        .assert_eq(&text);
    }
}
