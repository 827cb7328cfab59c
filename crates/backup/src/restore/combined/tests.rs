//! Tables of contents of incremental backups as nobody would write them.
//!
//! Never starts PostgreSQL: what matters is that nothing is written elsewhere, and that nothing
//! could be started that is not whole.

use crate::base::{self, Pages, Refused, Session, Started, Stopped, take};
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
use std::path::{Path, PathBuf};
use tokio::sync::watch;

const PAGE: usize = 8192;

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

fn put(data: &Path, name: &str, content: &[u8]) {
    let path = data.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Pages that say when they were changed.
fn pages(count: usize, changed: u32, fill: u8) -> Vec<u8> {
    let mut page = vec![fill; PAGE];
    page[..4].fill(0);
    page[4..8].copy_from_slice(&changed.to_le_bytes());
    page.repeat(count)
}

/// Takes a full backup and one that is incremental to it; gives the table of the second.
fn backups(data: &Path, (store, layout): (&Store, &Layout), ids: [&BackupId; 2]) -> Vec<u8> {
    let mut rows = pages(12, 1, 1);
    put(data, "PG_VERSION", b"15\n");
    put(data, "global/pg_control", &[7; 300]);
    put(data, "base/5/empty", b"");
    put(data, "base/5/1259", &rows);
    put(data, "base/5/1260", &pages(3, 2, 2));
    let options = base::Options::default();
    let mut on = None;
    for id in ids {
        let request =
            base::Request { store, layout, id, name: None, by: "test", base: on, options };
        let progress = watch::Sender::new(base::Progress::default());
        let mut session = Still(data.to_path_buf());
        let taken = block_on(take(&request, &mut session, progress, std::future::pending()));
        assert_eq!(taken.unwrap().builds_on.as_ref(), on);
        on = Some(id);
        rows[5 * PAGE..8 * PAGE].copy_from_slice(&pages(3, 0x900_0000, 3));
        put(data, "base/5/1259", &rows);
    }
    let packed = block_on(store.get(&layout.increment_index(ids[1]), Bytes(1 << 20)));
    zstd::stream::decode_all(packed.unwrap().unwrap().as_ref()).unwrap()
}

#[test]
fn fuzzed() {
    let folder = crate::fuzz::folder();
    let at = folder.path().join("repository");
    fs::create_dir(&at).unwrap();
    let destination = Destination::parse(at.to_str().unwrap()).unwrap();
    let patience = Patience::carrying(Bytes(16 << 20));
    let store = Store::open(&destination, &Credentials::Folder, patience).unwrap();
    let layout = Layout::new(&destination.prefix, &ServerName::parse("fuzzed").unwrap());
    let id = |text| BackupId::parse(text).unwrap();
    let (full, own) = (id("20261122T112233"), id("20261123T112233"));
    let data = folder.path().join("cluster");
    let sample = backups(&data, (&store, &layout), [&full, &own]);
    fs::remove_dir_all(&data).unwrap();
    assert!(String::from_utf8_lossy(&sample).contains(r#""changed":{"runs":[[5,3]]"#));
    let index = at.join(layout.increment_index(&own).as_str());
    let target = folder.path().join("restored");
    let feed = |bytes: &[u8]| {
        fs::write(&index, zstd::stream::encode_all(bytes, 1).unwrap()).unwrap();
        let request = restore::Request {
            store: &store,
            layout: &layout,
            id: &own,
            folder: &target,
            tablespaces: &BTreeMap::new(),
            into: Into::Empty,
            options: restore::Options::default(),
        };
        let progress = || watch::Sender::new(base::Progress::default());
        let restored = block_on(restore(&request, progress()));
        let control = target.join("global/pg_control").exists();
        match &restored {
            Ok(restored) => assert!(control && restored.files > 0, "{restored:?}"),
            Err(RestoreError::WorkerLost(_)) => panic!("a thread of the restore panicked"),
            Err(error) => assert!(!control, "it would start after: {error}"),
        }
        if target.exists() {
            fs::remove_dir_all(&target).unwrap();
        }
        let names = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["repository"], "something was written elsewhere");
        let options = restore::Options::default();
        let verified = block_on(verify((&store, &layout), &own, options, progress()));
        match &verified {
            Err(RestoreError::WorkerLost(_)) => panic!("a thread of the verification panicked"),
            // It reads what a restore does not need, too, so it may find more.
            Ok(_) => {}
            Err(error) => assert!(restored.is_err(), "restored, and yet not read: {error}"),
        }
        crate::fuzz::outcome(&restored)
    };
    crate::fuzz::fuzz(200, vec![sample], feed);
}
