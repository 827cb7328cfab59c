//! Lists what PostgreSQL has in its folder of log: what is ready to be archived, and what else.
//!
//! Never touches a status file: those are PostgreSQL's own.

use jiff::Timestamp;
use pgherd_backup::wal::header::{Expected, Header, LENGTH};
use pgherd_core::units::{Bytes, SystemId};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("pg_wal")
}

/// What waits to be archived.
pub(super) fn ready(data: &Path) -> io::Result<BTreeSet<WalFile>> {
    let names = names(&folder(data).join("archive_status"))?;
    let ready = names.iter().filter_map(|name| name.strip_suffix(".ready"));
    Ok(ready.filter_map(|name| WalFile::parse(name).ok()).collect())
}

/// Waits until what is ready by now is archived, at most this long. A folder that cannot be listed is
/// told by the archiver, and not waited for.
pub async fn settled(data: &Path, within: Duration) {
    let list = || {
        let data = data.to_owned();
        async move { tokio::task::spawn_blocking(move || ready(&data).ok()).await.ok().flatten() }
    };
    let ended = async {
        let Some(meant) = list().await else { return };
        while list().await.is_some_and(|now| !meant.is_disjoint(&now)) {
            sleep(BETWEEN_LOOKS).await;
        }
    };
    let _still_waiting = timeout(within, ended).await.is_err();
}

/// How many files PostgreSQL has marked as to be archived, and as archived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    pub ready: u64,
    pub done: u64,
}

/// Counts them. It reads one folder, and may take as long as the disk does.
pub fn marks(data: &Path) -> io::Result<Marks> {
    let mut marks = Marks::default();
    for name in names(&folder(data).join("archive_status"))? {
        match name.rsplit_once('.') {
            Some((_, "ready")) => marks.ready += 1,
            Some((_, "done")) => marks.done += 1,
            Some(_) | None => {}
        }
    }
    Ok(marks)
}

/// Since when a file waits.
pub(super) fn since(data: &Path, file: WalFile) -> Option<Timestamp> {
    let status = folder(data).join("archive_status").join(format!("{file}.ready"));
    Timestamp::try_from(std::fs::metadata(status).ok()?.modified().ok()?).ok()
}

/// All files of the log.
pub(super) fn all(data: &Path) -> io::Result<BTreeSet<WalFile>> {
    Ok(names(&folder(data))?.iter().filter_map(|name| WalFile::parse(name).ok()).collect())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not text is none of PostgreSQL's.
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// How large segments are here, as the first one says that can be read.
pub(super) fn segment_size(data: &Path) -> Option<SegmentSize> {
    let segments = all(data).ok()?;
    segments.into_iter().find_map(|file| match file {
        WalFile::Segment(segment) => header(data, segment).map(|header| header.size),
        WalFile::History(_) | WalFile::Partial(_) | WalFile::Label { .. } => None,
    })
}

/// How large a segment is whose file holds what its name says; a file that PostgreSQL has put by
/// for later still holds what it held before.
pub(super) fn size_if_whole(
    data: &Path,
    segment: Segment,
    system: SystemId,
) -> Option<SegmentSize> {
    let header = header(data, segment)?;
    let length = std::fs::metadata(path(data, WalFile::Segment(segment))).ok()?.len();
    let fits = header.check(&Expected { segment, system: Some(system) }).is_ok();
    (fits && Bytes(length) == header.size.bytes()).then_some(header.size)
}

fn header(data: &Path, segment: Segment) -> Option<Header> {
    let mut begin = [0; LENGTH];
    File::open(path(data, WalFile::Segment(segment))).ok()?.read_exact(&mut begin).ok()?;
    Header::read(&begin).ok()
}

pub(super) fn path(data: &Path, file: WalFile) -> PathBuf {
    folder(data).join(file.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ready_waits() {
        let root = tempfile::tempdir().unwrap();
        assert!(ready(root.path()).unwrap().is_empty());
        let status = root.path().join("pg_wal/archive_status");
        std::fs::create_dir_all(&status).unwrap();
        for name in [
            "000000010000000000000002.ready",
            "000000010000000000000001.done",
            "00000002.history.ready",
            "strange.ready",
        ] {
            std::fs::write(status.join(name), "").unwrap();
        }
        let ready: Vec<_> = ready(root.path()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ready, ["00000002.history", "000000010000000000000002"]);
        assert_eq!(marks(root.path()).unwrap(), Marks { ready: 3, done: 1 });
        assert_eq!(segment_size(root.path()), None);
    }

    #[tokio::test]
    async fn what_is_ready_is_waited_for_and_nothing_later() {
        let root = tempfile::tempdir().unwrap();
        let status = root.path().join("pg_wal/archive_status");
        std::fs::create_dir_all(&status).unwrap();
        let [first, second] =
            [1, 2].map(|n| status.join(format!("00000001000000000000000{n}.ready")));
        std::fs::write(&first, "").unwrap();
        let mut settling = std::pin::pin!(settled(root.path(), Duration::from_mins(1)));
        assert!(timeout(BETWEEN_LOOKS * 5, &mut settling).await.is_err());
        std::fs::write(&second, "").unwrap();
        std::fs::remove_file(&first).unwrap();
        timeout(Duration::from_secs(20), settling).await.unwrap();
        // A store that is away holds nobody up.
        settled(root.path(), BETWEEN_LOOKS).await;
    }
}
