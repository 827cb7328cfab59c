//! Decides which files are removed that an upload into a folder left behind.
//!
//! Never takes that of a writer that may live: what it holds is stored nowhere else yet.

use crate::units::Moment;
use std::fmt;
use std::time::Duration;

/// Longer than any writer of what nobody is said to be at leaves its file alone. Those of backups and
/// dumps may: an incremental one that finds nothing changed writes nothing for as long as it reads.
pub const QUIET: Duration = Duration::from_hours(24);

/// A file under which an object was to be written, and that did not become it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftover {
    /// By the clock of its file system.
    pub modified: Moment,
    pub whose: Whose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of a backup or a dump that somebody is said to take.
    Takers,
    Nobodys,
}

/// What becomes of it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Removed,
    Kept(Because),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    BeingTaken,
    Recent,
}

/// Now is by the same clock.
pub fn fate(leftover: Leftover, now: Moment) -> Fate {
    match leftover.whose {
        Whose::Takers => Fate::Kept(Because::BeingTaken),
        Whose::Nobodys if leftover.modified > now.before(QUIET) => Fate::Kept(Because::Recent),
        Whose::Nobodys => Fate::Removed,
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "removed: nobody has written to it for a day",
            Self::Kept(Because::BeingTaken) => {
                "kept: somebody is said to take the backup or the dump that it is of"
            }
            Self::Kept(Because::Recent) => "kept: somebody may be writing to it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn only_what_was_left_alone_for_a_day_and_is_nobodys_goes() {
        const HOUR: i64 = 3_600_000_000;
        let now = Moment(1_000_000 * HOUR);
        let said = |whose, hours: i64| {
            let modified = Moment(now.0 - hours * HOUR);
            format!("{whose:?} {hours} h: {}\n", fate(Leftover { modified, whose }, now))
        };
        let all = [Whose::Nobodys, Whose::Takers];
        let said: String = all
            .into_iter()
            .flat_map(|whose| [-1, 0, 23, 24, 9999].map(|hours| said(whose, hours)))
            .collect();
        expect![[r#"
            Nobodys -1 h: kept: somebody may be writing to it
            Nobodys 0 h: kept: somebody may be writing to it
            Nobodys 23 h: kept: somebody may be writing to it
            Nobodys 24 h: removed: nobody has written to it for a day
            Nobodys 9999 h: removed: nobody has written to it for a day
            Takers -1 h: kept: somebody is said to take the backup or the dump that it is of
            Takers 0 h: kept: somebody is said to take the backup or the dump that it is of
            Takers 23 h: kept: somebody is said to take the backup or the dump that it is of
            Takers 24 h: kept: somebody is said to take the backup or the dump that it is of
            Takers 9999 h: kept: somebody is said to take the backup or the dump that it is of
        "#]]
        .assert_eq(&said);
    }
}
