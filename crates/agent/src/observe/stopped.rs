//! Looks at a server that has no process: what its folder says about its end.
//!
//! Never takes a folder that cannot be read for an absent one.

use super::disk;
use crate::chain::chain;
use crate::perform::Manner;
use crate::postgres::control::{self, Control, State};
use crate::postgres::site::Site;
use crate::postgres::wal::{self, end};
use pgherd_api::agent::FullVolume;
use pgherd_core::seen::{End, Health, Server};
use pgherd_core::units::{Bytes, Lsn, WalPosition};
use tracing::error;

/// The record of a shutdown checkpoint: its header, and the checkpoint as it has been laid out
/// since PostgreSQL 9.5.
const CHECKPOINT_RECORD: u64 = 24 + 2 + 88;
/// What recovery replays in a second, cautiously, where that was never measured.
const REPLAYED_PER_SECOND: u64 = 64 << 20;

/// What the folder of a server without processes holds.
pub fn look(site: &Site, manner: &Manner) -> Server {
    if !site.data.join("PG_VERSION").exists() {
        return Server::Absent;
    }
    match control::read_file(&site.data) {
        Ok(control) => {
            Server::Down { system_id: control.system_id, end: end(site, manner, &control) }
        }
        Err(error) => {
            error!(error = %chain(&error), "nothing is known of the data folder");
            Server::Unknown
        }
    }
}

fn end(site: &Site, manner: &Manner, control: &Control) -> End {
    let timeline = control.checkpoint.timeline;
    match control.state {
        State::ShutDown => {
            let lsn = end_of_checkpoint(control.checkpoint.location, control.segment_size);
            End::Clean { position: WalPosition { timeline, lsn } }
        }
        State::ShutDownInRecovery => {
            let timeline = control.minimum_recovery_timeline.max(timeline);
            let lsn = control.minimum_recovery.max(control.checkpoint.redo);
            End::CleanStandby { position: WalPosition { timeline, lsn } }
        }
        State::StartingUp
        | State::ShuttingDown
        | State::InCrashRecovery
        | State::InArchiveRecovery
        | State::InProduction => {
            let timeline = wal::highest_timeline(&site.data).unwrap_or(timeline);
            End::Crashed { position: manner.end, timeline }
        }
    }
}

/// Where the record of a checkpoint at `location` ends: the log of a clean stop ends there.
fn end_of_checkpoint(location: Lsn, segment_size: Bytes) -> Lsn {
    end::ends(location, CHECKPOINT_RECORD, segment_size)
}

/// What can be said of the health of a server without processes.
pub fn health(site: &Site, manner: &Manner, server: &Server) -> Health {
    Health {
        disk_full: disk::is_full(&site.data),
        redo_milliseconds: redo_milliseconds(site, manner, server),
        ..Health::default()
    }
}

/// The volumes on which next to nothing is left.
pub fn full_volumes(site: &Site) -> Vec<FullVolume> {
    disk::full_volumes(&site.data)
}

/// How long the recovery of a crashed server would take.
fn redo_milliseconds(site: &Site, manner: &Manner, server: &Server) -> Option<u64> {
    let Server::Down { end: End::Crashed { position, .. }, .. } = server else { return None };
    let redo = control::read_file(&site.data).ok()?.checkpoint.redo;
    let per_second = manner.replayed_per_second.unwrap_or(REPLAYED_PER_SECOND).max(1);
    Some(position.as_ref()?.lsn.ahead_of(redo).0.saturating_mul(1000) / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_record_is_longer_where_it_crosses_a_page() {
        let end = |location| end_of_checkpoint(Lsn(location), Bytes(16 << 20)).0;
        assert_eq!(end(0x0300_0028), 0x0300_0028 + 120);
        assert_eq!(end(0x0300_2000 - 120), 0x0300_2000);
        assert_eq!(end(0x0300_2000 - 112), 0x0300_2000 + 2 + 24 + 6);
        assert_eq!(end(0x0400_0000 - 104), 0x0400_0000 + 10 + 40 + 6);
    }
}
