//! Reads in PostgreSQL's log why a standby does not stream.
//!
//! Never believes a complaint from before it last streamed.

use crate::postgres::site::Site;
use pgherd_core::seen::Server;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// What a receiver is told when the log it asks for is not kept any more.
const GONE: [&str; 3] =
    ["has already been removed", "slot has been invalidated", "can no longer access"];
/// More than a receiver complains between two looks.
const READ_AT_MOST: u64 = 64 << 10;

/// The place in the log up to which complaints are outdated.
#[derive(Debug)]
pub(super) struct Complaints {
    from: u64,
    gone: bool,
}

impl Complaints {
    pub(super) fn from_now(site: &Site) -> Self {
        Self { from: length(site), gone: false }
    }

    pub(super) fn say_that_wal_is_gone(&mut self, site: &Site, server: &Server) -> bool {
        let streams = match server {
            Server::Standby(standby) => standby.streaming,
            Server::Primary(_)
            | Server::Unknown
            | Server::Absent
            | Server::Down { .. }
            | Server::Starting => true,
        };
        let length = length(site);
        if streams {
            *self = Self { from: length, gone: false };
        } else if length != self.from {
            self.gone |= is_said(site, self.from.min(length));
            self.from = length;
        }
        self.gone
    }
}

fn is_said(site: &Site, from: u64) -> bool {
    let attempt = || {
        let mut log = File::open(site.log())?;
        log.seek(SeekFrom::Start(from))?;
        let mut said = Vec::new();
        log.take(READ_AT_MOST).read_to_end(&mut said)?;
        Ok::<_, std::io::Error>(said)
    };
    let said = attempt().unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.lines().any(|line| GONE.iter().any(|gone| line.contains(gone)))
}

fn length(site: &Site) -> u64 {
    std::fs::metadata(site.log()).map_or(0, |facts| facts.len())
}
