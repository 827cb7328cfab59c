//! What is told of a dump or a restore while it goes on.
//!
//! Never tells more than has happened.

use super::Place;
use jiff::Timestamp;
use pgherd_api::agent::{AskedBy, DumpPhase, DumpReport, DumpWork};
use pgherd_core::units::Bytes;

pub(super) fn ordered(
    place: &Place,
    (name, asked_by): (&str, Option<AskedBy>),
    work: DumpWork,
) -> DumpReport {
    let now = Timestamp::now();
    DumpReport {
        name: name.to_owned(),
        asked_by,
        work,
        id: None,
        instance: place.me.clone(),
        phase: DumpPhase::Starting,
        since: now,
        ordered: now,
        ended: None,
        database: None,
        databases_done: 0,
        databases: 0,
        moved: Bytes(0),
        total: None,
        snapshot_seconds: 0,
        snapshot_transactions: 0,
        failure: None,
        passing: false,
        taken: None,
        warnings: Vec::new(),
    }
}

pub(super) fn ended(report: DumpReport, phase: DumpPhase, failure: Option<String>) -> DumpReport {
    let now = Timestamp::now();
    DumpReport { phase, since: now, ended: Some(now), failure, ..report }
}

pub(super) fn failed(report: DumpReport, why: String) -> DumpReport {
    ended(report, DumpPhase::Failed, Some(why))
}
