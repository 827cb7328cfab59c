//! Decides whether a recovery may need the newest log of its source, which is not archived yet.
//!
//! Never holds a target for archived because nothing else is known of it.

use super::choice::{Choice, Refusal, Target};
use super::window::Window;
use std::time::Duration;

/// A segment that something was written to is archived after five minutes at the latest
/// (`archive_timeout`). So long before the last one was stored no commit is elsewhere, and a later one,
/// at which a replay stops, is there as well, unless nobody wrote.
const SURELY: Duration = Duration::from_mins(10);

/// Whether log that only the source has may be needed, or help.
pub fn is_needed(target: &Target, chosen: Result<&Choice, &Refusal>, window: &Window) -> bool {
    let choice = match chosen {
        Ok(choice) => choice,
        // What is missing may be what it writes to.
        Err(
            Refusal::TooLate { .. }
            | Refusal::Unusable { .. }
            | Refusal::NoneUsable { .. }
            | Refusal::NoWayTo(_),
        ) => return true,
        Err(
            Refusal::NoBackup
            | Refusal::UnknownBackup(_)
            | Refusal::Broken { .. }
            | Refusal::Gone { .. }
            | Refusal::NeedsBackup
            | Refusal::TooEarly { .. }
            | Refusal::EndedAfter { .. },
        ) => return false,
    };
    let reached = choice.reached(window);
    match target {
        Target::Immediate => false,
        // One behind the archive's end was refused.
        Target::Lsn(lsn) => *lsn > choice.to,
        Target::Time(time) => reached.is_none_or(|it| *time > it.until.before(SURELY)),
        // Only the log knows where it is.
        Target::Latest | Target::Sought(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::choice::{Along, Wanted, choose};
    use crate::backup::fixtures::{DAY, archive, backup};
    use crate::backup::window::{Run, window};
    use crate::units::{Lsn, Moment};

    #[test]
    fn the_source_is_asked_only_for_what_the_archive_may_lack() {
        const MINUTE: i64 = 60_000_000;
        let backups = [backup(1, 1, 3)];
        let mut archive = archive(&[(1, 2, 8)], &[]);
        let stored = Moment(2 * DAY);
        archive.runs = archive.runs.iter().map(|run| Run { archived: stored, ..*run }).collect();
        let window = window(&backups, &archive);
        let asked = |target: Target, named: bool| {
            let backup = named.then(|| backups[0].id.clone());
            let wanted = Wanted { target, along: Along::Latest, backup };
            let chosen = choose(&wanted, &backups, &archive, &window);
            is_needed(&wanted.target, chosen.as_ref(), &window)
        };
        let before = |minutes: i64| Target::Time(Moment(stored.0 - minutes * MINUTE));
        let sought = || Target::Sought("before-upgrade".to_owned());
        for (target, named, needed) in [
            (Target::Latest, false, true),
            (Target::Immediate, false, false),
            (before(-1), false, true),
            (before(9), false, true),
            (before(10), false, false),
            (before(1000), false, false),
            // Before the first backup ended.
            (before(3000), false, false),
            (Target::Lsn(Lsn(0x500_0000)), false, false),
            (Target::Lsn(Lsn(0x900_0000)), false, false),
            (Target::Lsn(Lsn(0x900_0001)), false, true),
            (sought(), true, true),
            (sought(), false, false),
        ] {
            assert_eq!(asked(target.clone(), named), needed, "{target:?}");
        }
    }
}
