//! Names a backup or a dump by the second at which it begins.
//!
//! Never gives a name that comes before one that is there: what is newer is told by the names alone,
//! and a clock may have been set back.

use jiff::civil::DateTime;
use jiff::{Timestamp, ToSpan};
use pgherd_core::backup::BackupId;

const FORM: &str = "%Y%m%dT%H%M%S";

/// The second, in UTC.
pub(crate) fn second(at: Timestamp) -> String {
    at.strftime(FORM).to_string()
}

/// The name of what begins now, after the newest that is there. None: there is no such name.
pub(crate) fn next(newest: Option<&BackupId>, now: Timestamp) -> Option<BackupId> {
    let now = BackupId::parse(&second(now)).ok();
    match newest {
        Some(newest) if now.as_ref().is_none_or(|now| now <= newest) => after(newest),
        Some(_) | None => now,
    }
}

fn after(newest: &BackupId) -> Option<BackupId> {
    let at = DateTime::strptime(FORM, newest.as_str()).ok()?;
    let next = at.checked_add(1.second()).ok()?;
    BackupId::parse(&next.strftime(FORM).to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_seconds_in_utc_and_never_go_back() {
        let now: Timestamp = "2026-11-22T11:22:33.9+02:00".parse().unwrap();
        let said = |newest: Option<&str>| {
            let newest = newest.map(|newest| BackupId::parse(newest).unwrap());
            next(newest.as_ref(), now).map(|next| next.to_string())
        };
        let is = |next: &str| Some(next.to_owned());
        assert_eq!(said(None), is("20261122T092233"));
        assert_eq!(said(Some("20261122T092232")), is("20261122T092233"));
        assert_eq!(said(Some("20261122T092233")), is("20261122T092234"));
        assert_eq!(said(Some("20261231T235959")), is("20270101T000000"));
        assert_eq!(said(Some("99991231T235959")), None);
        assert_eq!(said(Some("20269999T000000")), None);
    }
}
