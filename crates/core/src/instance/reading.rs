//! Decides when the record is read.
//!
//! Never more often than somebody may have to act on it: many clusters share one store.

use super::View;
use crate::record::Phase;
use crate::seen::{Change, Heard};
use crate::units::Time;
use std::time::Duration;

/// Somebody may have to act at once.
const SOON: Duration = Duration::from_millis(200);
const NOW_AND_THEN: Duration = Duration::from_secs(1);
/// Every renewal would find what a reading could.
const SELDOM: Duration = Duration::from_mins(5);

/// Whether it is time to read it.
pub(super) fn is_due(view: View<'_>) -> bool {
    view.seen.record.asked.is_none_or(|asked| view.now >= next(view, asked))
}

/// When it is to be read again, having been `asked` for.
fn next(view: View<'_>, asked: Time) -> Time {
    let seen = view.seen;
    if let Some(outstanding) = &seen.outstanding {
        // Its answer usually comes before that; a store that many share may be slow.
        let pause = if awaited(outstanding.change) { SOON } else { NOW_AND_THEN };
        return asked.max(outstanding.first_sent).after(pause);
    }
    let Some(record) = seen.record.value.as_ref().filter(|_| seen.record.regressed.is_none())
    else {
        let is_told = seen.record.read.is_some() && seen.record.regressed.is_none();
        let waits = is_told && seen.grant.heard.is_none();
        // Nobody has made a record yet: whoever does tells the others, and finds one when it is in
        // the way.
        let makes_it = view.intent.first.as_ref() == Some(seen.name());
        let pause = if makes_it { SELDOM } else { view.intent.timers.term };
        // Many new clusters may ask a busy store at once; nobody writes yet to any of them.
        let is_new = makes_it && seen.record.read.is_none() && seen.durable.record.is_none();
        return asked.after(match (waits, is_new) {
            (true, _) => pause,
            (false, true) => NOW_AND_THEN,
            (false, false) => SOON,
        });
    };
    let pause = if seen.my_office().is_some() {
        if is_undisturbed(view) { SELDOM } else { NOW_AND_THEN }
    } else if let Some(heard) = hears_holder(view) {
        // The holder says with every heartbeat how new its record is.
        let has_all = (heard.epoch, heard.revision) == (record.epoch, record.revision);
        if has_all { view.intent.timers.term } else { NOW_AND_THEN }
    } else {
        SOON
    };
    asked.after(pause)
}

/// Whether clients may wait for the fate of such a write.
fn awaited(change: Change) -> bool {
    match change {
        Change::Claim
        | Change::Retake
        | Change::HandOver
        | Change::AbortHandOver
        | Change::Vacate
        | Change::Bump
        | Change::Restore => true,
        Change::Create | Change::Amend => false,
    }
}

/// What the holder that this instance has granted said last, unless it has been silent since.
fn hears_holder(view: View<'_>) -> Option<&Heard> {
    let oldest = view.now.before(view.intent.timers.grantor_silence());
    let heard = view.seen.grant.heard.as_ref().filter(|heard| heard.at >= oldest);
    heard.filter(|_| view.now < view.seen.grant.until)
}

/// Every write compares the record with the one in the store, so a holder that wrote a short time
/// ago has nothing to read, whatever its server does.
fn is_undisturbed(view: View<'_>) -> bool {
    let (seen, timers) = (view.seen, &view.intent.timers);
    let serves = seen.my_office().is_some_and(|record| record.phase == Phase::Serving);
    let is_confirmed =
        seen.office.confirmed.is_some_and(|at| view.now < at.after(timers.renew * 2));
    serves && is_confirmed && seen.office.promised_above.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, asynchronous, deserted, intent, ms, record, serving, streaming};
    use crate::intent::Intent;
    use crate::record::{Revision, Write};
    use crate::seen::{Outstanding, Seen, Server};

    /// How long after the last reading the next one is due.
    fn pause(seen: &Seen) -> Duration {
        let intent = intent(3, asynchronous());
        let view = View { intent: &intent, seen, now: NOW };
        next(view, NOW).since(NOW)
    }

    #[test]
    fn a_holder_that_renews_in_time_reads_nothing_in_between() {
        let mut seen = serving(&record(3));
        assert_eq!(pause(&seen), ms(300_000));
        seen.office.confirmed = Some(NOW.before(ms(11_000)));
        assert_eq!(pause(&seen), ms(1_000));
        seen.office.confirmed = Some(NOW);
        seen.server = Server::Starting;
        assert_eq!(pause(&seen), ms(300_000));
        seen.office.promised_above = Some(record(3).epoch);
        assert_eq!(pause(&seen), ms(1_000));
    }

    #[test]
    fn a_member_reads_what_the_holder_has_written_since_and_looks_often_without_a_holder() {
        let mut seen = streaming(2, &record(3));
        assert_eq!(pause(&seen), ms(15_000));
        let heard = seen.grant.heard.as_mut().unwrap();
        heard.revision = Revision(heard.revision.0 + 1);
        assert_eq!(pause(&seen), ms(1_000));
        let heard = seen.grant.heard.as_mut().unwrap();
        heard.revision = record(3).revision;
        heard.at = NOW.before(ms(1_300));
        assert_eq!(pause(&seen), ms(200));
        assert_eq!(pause(&deserted(2, &record(3))), ms(200));
    }

    #[test]
    fn whoever_does_not_know_the_record_asks_often() {
        let mut seen = streaming(2, &record(3));
        seen.record.value = None;
        assert_eq!(pause(&seen), ms(200));
        seen.grant.heard = None;
        assert_eq!(pause(&seen), ms(15_000));
        let mut intent = intent(3, asynchronous());
        intent.first = Some(seen.name().clone());
        let pause_with =
            |intent: &Intent, seen: &Seen| next(View { intent, seen, now: NOW }, NOW).since(NOW);
        assert_eq!(pause_with(&intent, &seen), ms(300_000));
        seen.record.read = None;
        assert_eq!(pause(&seen), ms(200));
        assert_eq!(pause_with(&intent, &seen), ms(200));
        seen.durable.record = None;
        assert_eq!(pause_with(&intent, &seen), ms(1_000));
        intent.first = None;
        assert_eq!(pause_with(&intent, &seen), ms(200));
        let mut seen = serving(&record(3));
        let write = Write::over(None, record(3));
        let (first_sent, last_sent) = (NOW.after(ms(300)), NOW.after(ms(300)));
        let mut outstanding = Outstanding { write, change: Change::Claim, first_sent, last_sent };
        seen.outstanding = Some(outstanding.clone());
        assert_eq!(pause(&seen), ms(500));
        outstanding.change = Change::Amend;
        seen.outstanding = Some(outstanding);
        assert_eq!(pause(&seen), ms(1_300));
    }
}
