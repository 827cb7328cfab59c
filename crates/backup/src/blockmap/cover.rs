//! Gathers what the log changed between two positions: from maps that are stored, from
//! the server's own log, and from segments that are archived.
//!
//! Never leaves a segment out: where one is missing or does not follow, there is no answer but why.

use super::past::Past;
use super::segment::{Joined, SegmentMap};
use super::touched::Touched;
use super::walk::Unreadable;
use crate::chain::chain;
use crate::layout::Layout;
use crate::store::Store;
use crate::wal::header::Expected;
use crate::wal::{archived_map, stored_map, walked};
use futures_util::StreamExt;
use pgherd_core::units::{Lsn, SystemId, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reading more maps than this takes longer than it saves.
const SEGMENTS: u64 = 1 << 16;
/// So many requests are on their way at once.
const AT_ONCE: usize = 8;
/// So many segments are fetched because their maps are missing.
const FETCHED: u32 = 8;
/// Behind this all pages are read instead.
const PATIENCE: Duration = Duration::from_mins(5);

/// From where to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// How the timeline came about that is being written.
    pub past: Past,
    pub from: Lsn,
    pub to: Lsn,
    pub size: SegmentSize,
    pub system: SystemId,
}

/// Why it is not known what changed, so that all pages are read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmapped {
    #[error("the server has no page checksums, or backup {0} is of when it had none")]
    NoChecksums(String),
    #[error("it is not known where backup {0} ended")]
    NoEnd(String),
    #[error("backup {base} ended at {end}, and the server begins at {begin}, before that")]
    Before { base: String, end: Lsn, begin: Lsn },
    #[error("the history of timeline {1} is not in pg_wal, or does not come from timeline {0}")]
    NoPast(Timeline, Timeline),
    #[error("{0} segments of the log lie in between, more than are looked through")]
    TooMany(u64),
    #[error("neither the map of {0} nor the segment itself is there")]
    Missing(Segment),
    #[error("{FETCHED} maps are missing, and that of {0}")]
    TooManyMissing(Segment),
    #[error("the map of {0} is of no use: {1}")]
    Unreadable(Segment, Unreadable),
    #[error("the map of {0} is of another log than the server's")]
    OfAnother(Segment),
    #[error("the map of {0} cannot be had: {1}")]
    Failed(Segment, String),
    #[error("reading the maps of segments takes longer than {} seconds", PATIENCE.as_secs())]
    Late,
}

/// All pages that were changed in that part of the log, or some more.
pub async fn gather(
    (store, layout): (&Store, &Layout),
    log: &Path,
    range: &Range,
) -> Result<Touched, Unmapped> {
    let gathered = tokio::time::timeout(PATIENCE, all((store, layout), log, range));
    gathered.await.unwrap_or(Err(Unmapped::Late))
}

async fn all(
    (store, layout): (&Store, &Layout),
    log: &Path,
    range: &Range,
) -> Result<Touched, Unmapped> {
    let segments = segments(range)?;
    let last = segments.last().copied();
    let wanted = segments.into_iter().map(|segment| async move {
        // The last one is not finished mostly, and never asked for.
        let is_asked = Some(segment) != last;
        let stored = if is_asked { stored_map((store, layout), segment).await } else { Ok(None) };
        (segment, stored)
    });
    let mut found = std::pin::pin!(futures_util::stream::iter(wanted).buffered(AT_ONCE));
    let mut course = Course { store, layout, log, range, fetched: 0, newest: None };
    let mut joined = Joined::default();
    while let Some((segment, stored)) = found.next().await {
        let stored = stored.map_err(|error| failed(segment, &error))?;
        let map = course.map(segment, stored).await?;
        if map.system != range.system || map.size != range.size {
            return Err(Unmapped::OfAnother(segment));
        }
        joined.add(map).map_err(|why| Unmapped::Unreadable(segment, why))?;
    }
    course.compare().await?;
    Ok(joined.end())
}

/// The segments of the range in their order.
fn segments(range: &Range) -> Result<Vec<Segment>, Unmapped> {
    let (size, length) = (range.size, range.size.bytes().0);
    let first = range.past.segment(range.from, size).start(size);
    // What begins where the range ends is not in it.
    let end = Lsn(range.to.0.max(range.from.0.saturating_add(1)) - 1);
    let last = range.past.segment(end, size).start(size);
    let many = last.ahead_of(first).0 / length + 1;
    if many > SEGMENTS {
        return Err(Unmapped::TooMany(many));
    }
    let at = |number: u64| range.past.segment(Lsn(first.0 + number * length), size);
    Ok((0..many).map(at).collect())
}

struct Course<'a> {
    store: &'a Store,
    layout: &'a Layout,
    /// The folder of the server's own log.
    log: &'a Path,
    range: &'a Range,
    fetched: u32,
    /// The last one whose map was stored, with its sum.
    newest: Option<(Segment, u32)>,
}

impl Course<'_> {
    async fn map(
        &mut self,
        segment: Segment,
        stored: Option<SegmentMap>,
    ) -> Result<SegmentMap, Unmapped> {
        if let Some(map) = stored {
            self.newest = Some((segment, map.sum));
            return Ok(map);
        }
        if let Some(map) = self.own(segment).await? {
            return Ok(map);
        }
        if self.fetched == FETCHED {
            return Err(Unmapped::TooManyMissing(segment));
        }
        self.fetched += 1;
        let of = (self.range.size, self.range.system);
        let map = archived_map((self.store, self.layout), segment, of).await;
        let map = map.map_err(|error| failed(segment, &error))?;
        map.ok_or(Unmapped::Missing(segment))
    }

    /// Made from the server's own log, as far as it is wanted.
    async fn own(&self, segment: Segment) -> Result<Option<SegmentMap>, Unmapped> {
        let (path, range) = (self.log.join(segment.to_string()), self.range.clone());
        let read = tokio::task::spawn_blocking(move || own(path, segment, &range)).await;
        match read {
            Ok(Ok(found)) => found.transpose().map_err(|why| Unmapped::Unreadable(segment, why)),
            Ok(Err(error)) => Err(failed(segment, &error)),
            Err(_died) => Err(Unmapped::Missing(segment)),
        }
    }

    /// What is stored has to be this server's log: two that went apart never come together again.
    async fn compare(&self) -> Result<(), Unmapped> {
        let Some((segment, sum)) = self.newest else { return Ok(()) };
        match self.own(segment).await? {
            Some(map) if map.sum != sum => Err(Unmapped::OfAnother(segment)),
            Some(_) | None => Ok(()),
        }
    }
}

fn own(
    path: PathBuf,
    segment: Segment,
    range: &Range,
) -> io::Result<Option<Result<SegmentMap, Unreadable>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let expected = Expected { segment, system: Some(range.system) };
    let walk = walked(&mut file, &expected, (range.size, Some(range.to)))?;
    Ok(Some(walk.finish()))
}

fn failed(segment: Segment, error: &(dyn Error + 'static)) -> Unmapped {
    Unmapped::Failed(segment, chain(error).to_string())
}
