//! Fetches the tail of a dead primary's log from its agent, and waits until it is replayed.
//!
//! Never puts a segment in place that is not whole and on disk.

use super::{Bench, Hands, UnreadyError};
use crate::http::client::{CallError, Endpoint};
use crate::postgres::control::{self, ControlError};
use crate::postgres::running::{Deadline, RunningError, until as wait_until};
use crate::postgres::session::SessionError;
use crate::postgres::wal::{self, Segment};
use crate::tls::holder::Holder;
use pgherd_api::agent::names;
use pgherd_core::names::InstanceName;
use pgherd_core::units::{Bytes, Lsn, Timeline, WalPosition};
use std::io;
use std::path::Path;
use std::time::Duration;

/// For all of it: a tail is what a standby lacked when its primary died, rarely more than a segment.
const WITHIN: Duration = Duration::from_secs(10);
/// A longer tail is no tail: the standby must catch up in another way.
const SEGMENTS: u64 = 64;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to fetch")]
    Prepare(#[source] UnreadyError),
    #[error("no address of {from} is known")]
    Locate { from: InstanceName },
    #[error("reading the control file")]
    ReadControl(#[source] ControlError),
    #[error("connecting to the standby")]
    Connect(#[source] RunningError),
    #[error("reading how far the standby is")]
    ReadPosition(#[source] SessionError),
    #[error("the tail is longer than {SEGMENTS} segments")]
    AcceptLength,
    #[error("fetching {segment}")]
    Fetch { segment: String, source: CallError },
    #[error("{segment} came with {found} instead of {expected}")]
    FetchWhole { segment: String, found: Bytes, expected: Bytes },
    #[error("putting {segment} in its place")]
    Place { segment: String, source: io::Error },
    #[error("replaying what was fetched")]
    Replay(#[source] RunningError),
}

pub(super) async fn perform(
    bench: &Bench,
    hands: &Hands,
    from: &InstanceName,
    until: WalPosition,
) -> Result<(), Error> {
    let deadline = Deadline::after(WITHIN);
    let address = bench.config.peers.get(from).map(|peer| peer.agent);
    let address = address.ok_or_else(|| Error::Locate { from: from.clone() })?;
    let source = Endpoint::Certified { holder: Holder::Instance(from.clone()), address };
    let size = control::read_file(&bench.site.data).map_err(Error::ReadControl)?.segment_size;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    let mut session = running.connect(deadline).await.map_err(Error::Connect)?;
    let replayed = session
        .value("select pg_last_wal_replay_lsn()", deadline.left())
        .await
        .map_err(Error::ReadPosition)?;
    let have = Lsn::parse(&replayed).unwrap_or_default();
    for segment in segments(have, until, size)? {
        fetch(bench, &source, (segment, size), deadline).await?;
    }
    let sql = format!("select pg_last_wal_replay_lsn() >= '{}'", until.lsn);
    let what = "the end of the tail";
    wait_until(&mut session, deadline, what, &sql).await.map_err(Error::Replay)
}

/// From the one that holds `have` to the one that holds the last byte before `until`.
fn segments(have: Lsn, until: WalPosition, size: Bytes) -> Result<Vec<Segment>, Error> {
    let size_of = size.0.max(1);
    let (first, last) = (have.0 / size_of, until.lsn.0.saturating_sub(1) / size_of);
    if last.saturating_sub(first) >= SEGMENTS {
        return Err(Error::AcceptLength);
    }
    let timeline: Timeline = until.timeline;
    Ok((first..=last)
        .map(|number| Segment::holding(timeline, Lsn(number * size_of), size))
        .collect())
}

async fn fetch(
    bench: &Bench,
    source: &Endpoint,
    (segment, size): (Segment, Bytes),
    deadline: Deadline,
) -> Result<(), Error> {
    let name = segment.to_string();
    let place = |source| Error::Place { segment: name.clone(), source };
    let unfinished = bench.site.data.join("pg_wal").join(format!("pgherd.{name}"));
    let mut file = tokio::fs::File::create(&unfinished).await.map_err(place)?;
    let path = format!("{}/{name}", names::WAL);
    let got = bench.client.download((source, &path), size.0, deadline.left(), &mut file).await;
    let incomplete = match got {
        Ok(got) if got == size.0 => None,
        Ok(got) => {
            let (found, expected) = (Bytes(got), size);
            Some(Error::FetchWhole { segment: name.clone(), found, expected })
        }
        Err(source) => Some(Error::Fetch { segment: name.clone(), source }),
    };
    if let Some(error) = incomplete {
        // Nobody else would ever remove it.
        std::fs::remove_file(&unfinished).map_err(place)?;
        return Err(error);
    }
    file.sync_all().await.map_err(place)?;
    let placed = wal::folder(&bench.site.data).join(&name);
    publish(&unfinished, &placed).map_err(place)
}

fn publish(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(from, PermissionsExt::from_mode(0o600))?;
    std::fs::rename(from, to)?;
    let folder = to.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Bytes = Bytes(16 << 20);

    fn named(have: u64, until: u64) -> Vec<String> {
        let until = WalPosition { timeline: Timeline(2), lsn: Lsn(until) };
        let found = segments(Lsn(have), until, SIZE).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_tail_begins_with_the_segment_at_hand_and_ends_with_the_last_byte() {
        assert_eq!(named(0x300_0100, 0x300_0200), ["000000020000000000000003"]);
        assert_eq!(named(0x300_0100, 0x400_0000), ["000000020000000000000003"]);
        assert_eq!(
            named(0x300_0100, 0x400_0001),
            ["000000020000000000000003", "000000020000000000000004"]
        );
        assert!(
            segments(Lsn(0), WalPosition { timeline: Timeline(2), lsn: Lsn(1 << 40) }, SIZE)
                .is_err()
        );
    }
}
