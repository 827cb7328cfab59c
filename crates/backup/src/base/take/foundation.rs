//! Opens what an incremental backup is to build on, and says why it cannot.
//!
//! Never builds on what is of another cluster, or of a future of this server.

use super::Request;
use crate::base::BackupError;
use crate::base::session::{Pages, Started};
use crate::blockmap::{Past, Range, Touched, Unmapped, gather};
use crate::catalogue::forks;
use crate::restore::RestoreError;
use crate::restore::chain::{Kind, Link, link};
use crate::restore::contents::Contents;
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Lsn, Timeline};
use pgherd_core::wal::WalFile;

/// A backup that another one can be incremental to, and its table of contents from the begin on.
pub(super) struct Foundation {
    pub(super) base: BackupId,
    /// Where it began in the log.
    pub(super) begin: Lsn,
    /// Where it ended, and on which timeline.
    end: Option<(Lsn, Timeline)>,
    /// Whether its pages have checksums.
    checksums: bool,
    pub(super) contents: Contents,
}

/// How it is known what has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It is a full one.
    Full,
    /// The log says which pages to read.
    ByMap,
    /// All pages were read, because of this.
    ByScan(Unmapped),
}

/// What may have changed since the base began.
pub(super) type Named = Result<Touched, Unmapped>;

/// Why a full backup was taken instead of an incremental one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("backup {0} is gone, or cannot be read")]
    Gone(BackupId),
    #[error("backup {0} has no table of contents of pgherd's")]
    NoContents(BackupId),
    #[error("an older pgherd took backup {0}, without the sums of pages")]
    NoSums(BackupId),
    #[error("backup {0} is of another cluster, or of another version of PostgreSQL")]
    OfAnother(BackupId),
    #[error("backup {base} began at {began}, and the server begins at {begin}, before that")]
    Behind { base: BackupId, began: Lsn, begin: Lsn },
}

impl Foundation {
    pub(super) async fn open(
        request: &Request<'_>,
        base: &BackupId,
        started: &Started,
    ) -> Result<Result<Self, Unfit>, BackupError> {
        let (store, layout) = (request.store, request.layout);
        let found = match link((store, layout), base).await {
            Ok(found) => found,
            Err(RestoreError::Store { source }) => return Err(BackupError::store(source)),
            Err(_gone) => return Ok(Err(Unfit::Gone(base.clone()))),
        };
        let begin = match suits(&found, started) {
            Ok(begin) => begin,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let key = match found.kind {
            Kind::Full => layout.index(base),
            Kind::Incremental { .. } => layout.increment_index(base),
        };
        let Some(index) = store.head(&key).await.map_err(BackupError::store)? else {
            return Ok(Err(Unfit::NoContents(base.clone())));
        };
        let opened = Contents::begin(store, &index, base).await;
        let (contents, head) = opened.map_err(|source| reading(base, source))?;
        if !head.pages {
            return Ok(Err(Unfit::NoSums(base.clone())));
        }
        let (end, timeline) = (found.info.end.lsn, found.info.timeline);
        let (end, checksums) = (end.zip(timeline), head.checksums);
        Ok(Ok(Self { base: base.clone(), begin, end, checksums, contents }))
    }

    /// Asks the log what has changed since, if it can say.
    pub(super) async fn named(&self, request: &Request<'_>, started: &Started) -> Named {
        let log = started.pgdata.join("pg_wal");
        let history = log.join(WalFile::History(started.timeline).to_string());
        let history = tokio::fs::read_to_string(history).await.ok();
        let range = self.range(started, history.as_deref())?;
        gather((request.store, request.layout), &log, &range).await
    }

    /// The part of the log that says what has changed, unless other things may have, too.
    fn range(&self, started: &Started, history: Option<&str>) -> Result<Range, Unmapped> {
        let base = || self.base.to_string();
        let Some((end, timeline)) = self.end else { return Err(Unmapped::NoEnd(base())) };
        match started.pages {
            Pages::Checksums { .. } if self.checksums => {}
            // Those of pages that were not in the log before came without it.
            Pages::Checksums { .. } | Pages::Unverifiable => {
                return Err(Unmapped::NoChecksums(base()));
            }
        }
        // What was changed between both is in the base, and this one may end before.
        if started.begin < end {
            return Err(Unmapped::Before { base: base(), end, begin: started.begin });
        }
        let past = if timeline == started.timeline {
            Some(Past::none(timeline))
        } else {
            history.and_then(|text| Past::of(started.timeline, forks(text)))
        };
        let past = past.filter(|past| past.has(timeline, end));
        let past = past.ok_or(Unmapped::NoPast(timeline, started.timeline))?;
        let Started { begin: to, segment_size: size, system, .. } = *started;
        Ok(Range { past, from: self.begin, to, size, system })
    }
}

/// Where the base began, if this server's backup can be incremental to it.
fn suits(found: &Link, started: &Started) -> Result<Lsn, Unfit> {
    let (base, info) = (|| found.id.clone(), &found.info);
    let major = |version: u32| version / 10_000;
    let is_same = info.system == Some(started.system)
        && info.version.map(major) == Some(major(started.version))
        && info.segment_size == Some(started.segment_size);
    match info.begin.lsn {
        _ if !is_same => Err(Unfit::OfAnother(base())),
        None => Err(Unfit::Gone(base())),
        // Pages of this server may be older than those of the base.
        Some(began) if started.begin < began => {
            Err(Unfit::Behind { base: base(), began, begin: started.begin })
        }
        Some(began) => Ok(began),
    }
}

pub(super) fn reading(base: &BackupId, source: RestoreError) -> BackupError {
    match source {
        RestoreError::Store { source } => BackupError::store(source),
        source => BackupError::Base { base: base.clone(), source: Box::new(source) },
    }
}
