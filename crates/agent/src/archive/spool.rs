//! Keeps what was fetched for a standby until PostgreSQL asks for it.
//!
//! Never makes a standby wait for the network: what is not here is told as absent, and fetched
//! meanwhile. It is asked for again in a moment if nothing else brings it.

use super::exchange::Reply;
use super::ready;
use crate::process::clock;
use pgherd_core::units::{Bytes, Time};
use pgherd_core::wal::prefetch::{Pace, Sight, plan};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{info, warn};

/// How often a file is asked for before it is fetched: one that is here already, or that the
/// primary sends, is asked for once.
const ASKED: u32 = 2;
/// How long the archive is believed that a file is not there.
const ABSENT: Duration = Duration::from_secs(1);
/// Of how many files it is remembered that they were asked for.
const REMEMBERED: usize = 16;
const BUDGET: Bytes = Bytes(256 << 20);
const AT_ONCE: usize = 4;

pub(super) struct Spool {
    folder: PathBuf,
    fetched: BTreeSet<WalFile>,
    under_way: BTreeMap<WalFile, Time>,
    absent: BTreeMap<WalFile, Time>,
    asked: BTreeMap<WalFile, (u32, Time)>,
    pace: Pace,
    pub(super) helped: Option<Time>,
    failing: Option<String>,
}

/// What became of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    It,
    Nothing,
}

impl Spool {
    /// Begins empty: what an earlier agent fetched may be damaged, or of another cluster.
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => std::fs::create_dir(&folder)?,
        }
        Ok(Self {
            folder,
            fetched: BTreeSet::new(),
            under_way: BTreeMap::new(),
            absent: BTreeMap::new(),
            asked: BTreeMap::new(),
            pace: Pace { replay_of_one: Duration::ZERO, fetch_of_one: Duration::ZERO },
            helped: None,
            failing: None,
        })
    }

    pub(super) fn path(&self, file: WalFile) -> PathBuf {
        self.folder.join(file.to_string())
    }

    /// Answers at once, and says what is to be fetched now.
    pub(super) fn ask(
        &mut self,
        (file, target): (WalFile, &str),
        data: &Path,
        size: SegmentSize,
    ) -> (Reply, Vec<WalFile>) {
        let now = clock::now();
        if self.fetched.remove(&file) {
            let handed = std::fs::rename(self.path(file), ready::folder(data).join(target));
            return match handed {
                Ok(()) => (Reply::Done, self.handed(file, size, now)),
                Err(error) => (Reply::Failed(format!("handing over {file}: {error}")), Vec::new()),
            };
        }
        let times = self.note(file, now);
        let is_absent = self.absent.get(&file).is_some_and(|at| now.since(*at) < ABSENT);
        let is_wanted = times >= ASKED && !is_absent && !self.under_way.contains_key(&file);
        (Reply::Absent, self.begin(is_wanted.then_some(file), now))
    }

    /// How often it was asked for.
    fn note(&mut self, file: WalFile, now: Time) -> u32 {
        let (times, last) = self.asked.entry(file).or_insert((0, now));
        (*times, *last) = (times.saturating_add(1), now);
        let times = *times;
        if self.asked.len() > REMEMBERED
            && let Some(oldest) = self.asked.iter().min_by_key(|(_, (_, at))| *at)
        {
            let oldest = *oldest.0;
            self.asked.remove(&oldest);
        }
        times
    }

    fn handed(&mut self, file: WalFile, size: SegmentSize, now: Time) -> Vec<WalFile> {
        if self.helped.is_none() {
            info!(%file, "log comes from the archive");
        }
        if let Some(before) = self.helped.replace(now) {
            self.pace.replay_of_one = now.since(before);
        }
        self.asked.remove(&file);
        match file {
            WalFile::Segment(segment) => self.ahead_of(segment, size, now),
            WalFile::History(_) | WalFile::Partial(_) | WalFile::Label { .. } => Vec::new(),
        }
    }

    fn ahead_of(&mut self, asked: Segment, size: SegmentSize, now: Time) -> Vec<WalFile> {
        let fetched = self.fetched.iter().filter_map(segment).collect();
        let under_way = self.under_way.keys().filter_map(segment).collect();
        let absent = self.absent.iter().filter(|(_, at)| now.since(**at) < ABSENT);
        let absent = absent.filter_map(|(file, _)| segment(file)).min();
        let plan = plan(&Sight {
            asked,
            size,
            fetched: &fetched,
            under_way: &under_way,
            absent,
            pace: self.pace,
            budget: BUDGET,
            at_once: AT_ONCE,
        });
        for useless in plan.discard {
            self.discard(WalFile::Segment(useless));
        }
        self.begin(plan.fetch.into_iter().map(WalFile::Segment), now)
    }

    fn begin(&mut self, files: impl IntoIterator<Item = WalFile>, now: Time) -> Vec<WalFile> {
        let files: Vec<_> = files.into_iter().collect();
        self.under_way.extend(files.iter().map(|file| (*file, now)));
        files
    }

    fn discard(&mut self, file: WalFile) {
        self.fetched.remove(&file);
        if let Err(error) = std::fs::remove_file(self.path(file)) {
            warn!(%file, %error, "what was fetched in vain stays");
        }
    }

    /// A fetch came to its end.
    pub(super) fn ended(&mut self, file: WalFile, fetched: Result<Got, String>) {
        let now = clock::now();
        let began = self.under_way.remove(&file);
        match fetched {
            Ok(Got::It) => {
                self.failing = None;
                self.absent.remove(&file);
                self.pace.fetch_of_one = began.map_or(Duration::ZERO, |began| now.since(began));
                self.fetched.insert(file);
            }
            Ok(Got::Nothing) => {
                self.failing = None;
                self.absent.retain(|_, at| now.since(*at) < ABSENT);
                self.absent.insert(file, now);
            }
            Err(why) => {
                self.absent.insert(file, now);
                if self.failing.as_ref() != Some(&why) {
                    warn!(why, "log cannot be fetched from the archive");
                }
                self.failing = Some(why);
            }
        }
    }

    /// Forgets and removes everything: it may not be of the past of the next primary.
    pub(super) fn clear(&mut self) {
        for file in std::mem::take(&mut self.fetched) {
            self.discard(file);
        }
        self.asked.clear();
        self.absent.clear();
        self.helped = None;
    }
}

fn segment(file: &WalFile) -> Option<Segment> {
    match file {
        WalFile::Segment(segment) => Some(*segment),
        WalFile::History(_) | WalFile::Partial(_) | WalFile::Label { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn file(number: u32) -> WalFile {
        WalFile::parse(&format!("0000000200000000{number:08X}")).unwrap()
    }

    struct Folders {
        root: tempfile::TempDir,
        spool: Spool,
    }

    impl Folders {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("pg_wal")).unwrap();
            let spool = Spool::new(root.path().join("spool")).unwrap();
            Self { root, spool }
        }

        fn ask(&mut self, number: u32) -> (Reply, Vec<WalFile>) {
            self.spool.ask((file(number), "RECOVERYXLOG"), self.root.path(), SIZE)
        }

        fn arrives(&mut self, number: u32) {
            std::fs::write(self.spool.path(file(number)), "x").unwrap();
            self.spool.ended(file(number), Ok(Got::It));
        }
    }

    #[test]
    fn nobody_waits_and_what_is_asked_for_again_is_fetched() {
        let mut folders = Folders::new();
        assert_eq!(folders.ask(5), (Reply::Absent, vec![]));
        assert_eq!(folders.ask(5), (Reply::Absent, vec![file(5)]));
        assert_eq!(folders.ask(5), (Reply::Absent, vec![]), "it is on its way");
        folders.arrives(5);
        let (reply, ahead) = folders.ask(5);
        assert_eq!((reply, ahead), (Reply::Done, [6, 7, 8, 9].map(file).to_vec()));
        assert!(folders.root.path().join("pg_wal/RECOVERYXLOG").exists());
        assert!(folders.spool.helped.is_some());
        folders.arrives(6);
        assert_eq!(folders.ask(6).0, Reply::Done, "it was fetched ahead");
    }

    #[test]
    fn what_is_not_there_is_not_looked_for_at_once() {
        let mut folders = Folders::new();
        folders.ask(5);
        folders.ask(5);
        folders.spool.ended(file(5), Ok(Got::Nothing));
        assert_eq!(folders.ask(5), (Reply::Absent, vec![]));
    }

    #[test]
    fn nothing_is_left_for_the_next_primary() {
        let mut folders = Folders::new();
        folders.arrives(5);
        folders.spool.clear();
        assert_eq!(folders.ask(5).0, Reply::Absent);
        assert_eq!(std::fs::read_dir(folders.root.path().join("spool")).unwrap().count(), 0);
    }
}
