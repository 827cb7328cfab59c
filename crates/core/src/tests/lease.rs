//! Until when a holder may write, by its grants and by the record's term.
//!
//! Never compares two machines' clocks.

use crate::fixtures::{NOW, asynchronous, holder, intent, ms, name, names, record, serving};
use crate::instance::lease::writable_until;
use crate::record::Write;
use crate::seen::{Change, Durable, Outstanding, Seen};
use crate::timers::Timers;
use crate::units::{Epoch, Time};

/// Milliseconds from now until which the holder may write; negative ones are written as such.
fn left(seen: &Seen) -> i64 {
    let until = writable_until(&intent(3, asynchronous()), seen);
    (i64::try_from(until.0).unwrap_or(i64::MAX) - i64::try_from(NOW.0).unwrap()) / 1_000
}

#[test]
fn one_of_two_grantors_is_enough_while_the_record_is_fresh() {
    let record = record(3);
    let mut seen = serving(&record);
    // Granted 100 ms ago, usable for 2190 ms.
    assert_eq!(left(&seen), 2_090);
    seen.office.grants.remove(&name(2));
    assert_eq!(left(&seen), 2_090);
    seen.office.grants.remove(&name(3));
    assert!(left(&seen) < 0);
}

#[test]
fn without_grantors_the_term_alone_counts() {
    let mut record = record(3);
    record.grantors.clear();
    let mut seen = serving(&record);
    seen.office.grants.clear();
    // Confirmed 1000 ms ago, usable for 13950 ms.
    assert_eq!(left(&seen), 12_950);
}

#[test]
fn without_the_record_all_members_must_grant() {
    let record = record(3);
    let mut seen = serving(&record);
    seen.office.confirmed = Some(NOW.before(ms(60_000)));
    assert_eq!(left(&seen), 2_090);
    seen.office.grants.remove(&name(2));
    assert!(left(&seen) < 0);
}

#[test]
fn a_single_instance_needs_nobody() {
    let record = record(1);
    let mut seen = serving(&record);
    seen.office.confirmed = Some(NOW.before(ms(600_000)));
    assert_eq!(writable_until(&intent(1, asynchronous()), &seen), Time::NEVER);
}

#[test]
fn while_a_change_is_in_flight_both_sets_are_obeyed() {
    let record = record(3);
    let mut seen = serving(&record);
    seen.office.grants.insert(name(2), NOW.before(ms(2_000)));
    assert_eq!(left(&seen), 2_090);
    let mut next = record.clone();
    next.grantors = names([2]);
    let write = Write::over(Some(&record), next);
    seen.outstanding =
        Some(Outstanding { write, change: Change::Amend, first_sent: NOW, last_sent: NOW });
    // db-2 alone, granted 2000 ms ago: 190 ms are left of it.
    assert_eq!(left(&seen), 190);
}

#[test]
fn a_higher_epoch_heard_of_ends_every_right() {
    let mut seen = serving(&record(3));
    seen.heard.epoch = Epoch(3);
    assert_eq!(writable_until(&intent(3, asynchronous()), &seen), Time::ZERO);
}

#[test]
fn what_an_earlier_life_granted_is_bounded_once_the_length_of_grants_is_known() {
    let mut seen = Seen::new(holder(2), Durable::default(), NOW, Timers::WIDE.grant);
    assert_eq!(seen.grant.until, NOW.after(ms(8_000)));
    seen.limit_earlier_grant(Timers::STANDARD.grant);
    assert_eq!(seen.grant.until, NOW.after(ms(3_000)));
    // Never lengthened: what this life granted itself is counted by what it is told.
    seen.limit_earlier_grant(Timers::WIDE.grant);
    assert_eq!(seen.grant.until, NOW.after(ms(3_000)));
}
