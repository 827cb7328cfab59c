//! Tables of contents as nobody would write them, and what a restore makes of them.
//!
//! Never starts PostgreSQL: what matters is that nothing is written elsewhere, and that nothing
//! could be started that is not whole.

use crate::base::index::{Chunk, Record};
use crate::base::{self, Packing, Pages, Refused, Session, Started, Stopped, take};
use crate::credentials::Credentials;
use crate::destination::{Destination, ServerName};
use crate::fuzz::block_on;
use crate::layout::Layout;
use crate::restore::{self, Into, RestoreError, restore, verify};
use crate::store::{Patience, Store};
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::sync::watch;

const PACKINGS: [Packing; 4] = [Packing::Gzip, Packing::Plain, Packing::Lz4, Packing::Zstd];

/// A small cluster that nobody runs.
struct Still(PathBuf);

impl Session for Still {
    async fn start(&mut self, _label: &str) -> Result<Started, Refused> {
        let file = |name: &str| self.0.join(name);
        Ok(Started {
            begin: Lsn(0x800_0028),
            at: Moment(0),
            timeline: Timeline(1),
            system: SystemId(1),
            segment_size: SegmentSize::DEFAULT,
            version: 150_018,
            pages: Pages::Unverifiable,
            pgdata: self.0.clone(),
            config_file: file("postgresql.conf"),
            hba_file: file("pg_hba.conf"),
            ident_file: file("pg_ident.conf"),
            tablespaces: Vec::new(),
        })
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        Ok(Stopped { end: Lsn(0x800_0100), at: Moment(0), label: "none\n".to_owned() })
    }
}

/// A repository with one backup, packed in each way.
struct Repository {
    folder: TempDir,
    store: Store,
    layout: Layout,
    id: BackupId,
    index: PathBuf,
    samples: Vec<Vec<u8>>,
}

fn cluster(root: &Path) -> PathBuf {
    let data = root.join("cluster");
    let wide: Vec<u8> = (0..9_000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    for (name, content) in [
        ("PG_VERSION", b"15\n".as_slice()),
        ("global/pg_control", &[7; 300]),
        ("base/5/1259", &wide),
        ("base/5/empty", b""),
        ("pg_xact/0000", &[1; 50]),
    ] {
        let path = data.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    data
}

impl Repository {
    fn new() -> Self {
        let folder = crate::fuzz::folder();
        let cluster = cluster(folder.path());
        let at = folder.path().join("repository");
        fs::create_dir(&at).unwrap();
        let destination = Destination::parse(at.to_str().unwrap()).unwrap();
        let patience = Patience::carrying(Bytes(16 << 20));
        let store = Store::open(&destination, &Credentials::Folder, patience).unwrap();
        let layout = Layout::new(&destination.prefix, &ServerName::parse("fuzzed").unwrap());
        let id = BackupId::parse("20261122T112233").unwrap();
        let path = |key: &crate::layout::Key| at.join(key.as_str());
        let (index, base) = (path(&layout.index(&id)), path(&layout.backup(&id)));
        let mut samples = Vec::new();
        for packing in PACKINGS {
            let options = base::Options { packing, ..base::Options::default() };
            let (store, layout, id) = (&store, &layout, &id);
            let request =
                base::Request { store, layout, id, name: None, by: "test", base: None, options };
            let progress = watch::Sender::new(base::Progress::default());
            let mut session = Still(cluster.clone());
            block_on(take(&request, &mut session, progress, std::future::pending())).unwrap();
            let packed = fs::File::open(&index).unwrap();
            let mut plain = Vec::new();
            zstd::stream::read::Decoder::new(packed).unwrap().read_to_end(&mut plain).unwrap();
            samples.push(plain);
            // Room for the next one; its archive has another name.
            fs::remove_file(&index).unwrap();
            fs::rename(base.join("backup.info"), folder.path().join("backup.info")).unwrap();
        }
        fs::rename(folder.path().join("backup.info"), base.join("backup.info")).unwrap();
        fs::remove_dir_all(&cluster).unwrap();
        Self { folder, store, layout, id, index, samples }
    }

    fn restore(&self) -> Result<restore::Restored, RestoreError> {
        let folder = self.folder.path().join("restored");
        let request = restore::Request {
            store: &self.store,
            layout: &self.layout,
            id: &self.id,
            folder: &folder,
            tablespaces: &BTreeMap::new(),
            into: Into::Empty,
            options: restore::Options::default(),
        };
        block_on(restore(&request, watch::Sender::new(base::Progress::default())))
    }

    fn feed(&self, bytes: &[u8]) -> String {
        let packed = zstd::stream::encode_all(bytes, 1).unwrap();
        fs::write(&self.index, packed).unwrap();
        let restored = self.restore();
        let folder = self.folder.path().join("restored");
        let control = folder.join("global/pg_control").exists();
        match &restored {
            Ok(restored) => assert!(control && restored.files > 0, "{restored:?}"),
            Err(RestoreError::WorkerLost(_)) => panic!("a thread of the restore panicked"),
            Err(error) => assert!(!control, "it would start after: {error}"),
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        let names = fs::read_dir(self.folder.path()).unwrap().map(|one| one.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["repository"], "something was written elsewhere");

        let progress = watch::Sender::new(base::Progress::default());
        let options = restore::Options::default();
        let verified = block_on(verify((&self.store, &self.layout), &self.id, options, progress));
        match verified {
            Err(RestoreError::WorkerLost(_)) => panic!("a thread of the verification panicked"),
            // What is restored without a complaint is good, and what is good is restored.
            Ok(verified) if restored.is_ok() => assert_eq!(verified.damages_in_all, 0),
            Ok(_) | Err(_) => assert!(restored.is_err()),
        }
        crate::fuzz::outcome(&restored)
    }
}

#[test]
fn fuzzed() {
    let repository = Repository::new();
    let samples = repository.samples.clone();
    let feed = |bytes: &[u8]| repository.feed(bytes);
    crate::fuzz::fuzz(200, samples, feed);
}

/// Each was found by the test above, or would have taken memory that nobody has.
#[test]
fn chunks_that_cannot_be_are_refused() {
    let repository = Repository::new();
    let lines: Vec<Record> = repository.samples[0]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let changes: [fn(&mut Chunk); 4] = [
        |chunk| chunk.at = u64::MAX,
        |chunk| chunk.plain = u32::MAX,
        |chunk| chunk.pieces[0].from = u64::MAX,
        |chunk| chunk.archive.insert_str(0, "../"),
    ];
    for change in changes {
        for number in 0..lines.len() {
            let mut lines = lines.clone();
            let Record::Chunk(chunk) = &mut lines[number] else { continue };
            if chunk.pieces.is_empty() {
                continue;
            }
            change(chunk);
            let line = |record| serde_json::to_string(record).unwrap() + "\n";
            let text: String = lines.iter().map(line).collect();
            fs::write(&repository.index, zstd::stream::encode_all(text.as_bytes(), 1).unwrap())
                .unwrap();
            let refused = repository.restore().unwrap_err().to_string();
            assert!(refused.contains("names a strange chunk"), "line {number}: {refused}");
            fs::remove_dir_all(repository.folder.path().join("restored")).unwrap();
        }
    }
}
