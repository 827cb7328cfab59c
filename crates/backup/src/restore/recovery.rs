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

/// All settings, also those that have to be empty: a folder that was recovered before may still
/// have others.
pub fn settings(recovery: &Recovery) -> Vec<Setting> {
    let mut target = Chosen::default();
    match &recovery.target {
        Target::Latest => {}
        Target::Immediate => "immediate".clone_into(&mut target.kind),
        Target::Time(moment, edge) => {
            target.time = time(*moment);
            target.edge = *edge;
        }
        Target::Lsn(lsn, edge) => {
            target.lsn = lsn.to_string();
            target.edge = *edge;
        }
        Target::Transaction(id, edge) => {
            target.transaction = id.to_string();
            target.edge = *edge;
        }
        Target::Name(name) => target.name.clone_from(name),
    }
    let inclusive = match target.edge {
        Edge::Inclusive => "on",
        Edge::Exclusive => "off",
    };
    let action = match recovery.then {
        Then::Promote => "promote",
        Then::Pause => "pause",
        Then::Shutdown => "shutdown",
    };
    let timeline = match recovery.along {
        Along::Latest => "latest".to_owned(),
        Along::Current => "current".to_owned(),
        Along::Only(timeline) => timeline.to_string(),
    };
    vec![
        ("restore_command", recovery.restore_command.clone()),
        ("recovery_target", target.kind),
        ("recovery_target_time", target.time),
        ("recovery_target_lsn", target.lsn),
        ("recovery_target_xid", target.transaction),
        ("recovery_target_name", target.name),
        ("recovery_target_inclusive", inclusive.to_owned()),
        ("recovery_target_timeline", timeline),
        ("recovery_target_action", action.to_owned()),
    ]
}

/// At most one of these is not empty: PostgreSQL refuses two.
#[derive(Default)]
struct Chosen {
    kind: String,
    time: String,
    lsn: String,
    transaction: String,
    name: String,
    edge: Edge,
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
        let _always = writeln!(text, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
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
        let set = all.into_iter().filter(|(_, value)| !value.is_empty());
        lines(&set.collect::<Vec<_>>())
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
        expect![[r#""#]].assert_eq(&text);
    }

    #[test]
    fn what_an_earlier_recovery_left_is_emptied() {
        let all = settings(&Recovery {
            restore_command: String::new(),
            target: Target::Immediate,
            along: Along::Current,
            then: Then::Shutdown,
        });
        let empty = all.iter().filter(|(_, value)| value.is_empty()).count();
        assert_eq!((all.len(), empty), (9, 5));
    }
}
