//! Measures a backup and a restore of a folder: wall time, processor time, memory.
//!
//! Never talks to PostgreSQL: the folder has to stand still.
#![expect(clippy::print_stdout, reason = "it shows figures")]

use anyhow::{Context, Result, bail};
use pgherd_backup::base::{
    Options, Packing, Pages, Progress, Refused, Request, Session, Started, Stopped, take,
};
use pgherd_backup::credentials::Credentials;
use pgherd_backup::destination::{Destination, ServerName};
use pgherd_backup::layout::Layout;
use pgherd_backup::restore::{self, Into, restore};
use pgherd_backup::store::{Patience, Store};
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::sync::watch;

/// A cluster that nobody runs.
struct Still(PathBuf);

impl Session for Still {
    async fn start(&mut self, _label: &str) -> Result<Started, Refused> {
        let file = |name: &str| self.0.join(name);
        Ok(Started {
            begin: Lsn(u64::MAX),
            at: Moment(0),
            timeline: Timeline(1),
            system: SystemId(1),
            segment_size: SegmentSize::DEFAULT,
            version: 150_000,
            pages: Pages::Checksums { of_a_file: 131_072 },
            pgdata: self.0.clone(),
            config_file: file("postgresql.conf"),
            hba_file: file("pg_hba.conf"),
            ident_file: file("pg_ident.conf"),
            tablespaces: Vec::new(),
        })
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        Ok(Stopped { end: Lsn(u64::MAX), at: Moment(0), label: "none\n".to_owned() })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, repository, to, packing] = arguments.as_slice() else {
        bail!("usage: measure DATA_FOLDER REPOSITORY_FOLDER RESTORED_FOLDER plain|gzip|lz4|zstd");
    };
    let packing = match packing.as_str() {
        "plain" => Packing::Plain,
        "gzip" => Packing::Gzip,
        "lz4" => Packing::Lz4,
        "zstd" => Packing::Zstd,
        other => bail!("{other:?} is no packing: use plain, gzip, lz4 or zstd"),
    };
    let destination = Destination::parse(repository)?;
    let patience = Patience::carrying(Bytes(16 << 20));
    let store = Store::open(&destination, &Credentials::Folder, patience)?;
    let layout = Layout::new(&destination.prefix, &ServerName::parse("measured")?);
    let id = BackupId::parse("20261122T112233")?;

    let measured = Measured::begin()?;
    let options = Options { packing, ..Options::default() };
    let request =
        Request { store: &store, layout: &layout, id: &id, name: None, by: "test", options };
    let mut session = Still(std::fs::canonicalize(from)?);
    let progress = || watch::Sender::new(Progress::default());
    let taken = take(&request, &mut session, progress(), std::future::pending()).await?;
    let (bytes, stored) = (taken.bytes, taken.stored);
    measured.end(&format!("backup {packing:?}, {} files, {bytes} as {stored}", taken.files))?;

    for (what, into) in [("restore", Into::Empty), ("unchanged delta", Into::Existing)] {
        let measured = Measured::begin()?;
        let request = restore::Request {
            store: &store,
            layout: &layout,
            id: &id,
            folder: Path::new(to),
            tablespaces: &BTreeMap::new(),
            into,
            options: restore::Options::default(),
        };
        let restored = restore(&request, progress()).await?;
        measured.end(&format!("{what}, {} unchanged", restored.unchanged))?;
    }
    Ok(())
}

struct Measured {
    began: Instant,
    ticks: u64,
}

impl Measured {
    fn begin() -> Result<Self> {
        // The peak of memory begins anew, too.
        std::fs::write("/proc/self/clear_refs", "5")?;
        Ok(Self { began: Instant::now(), ticks: ticks()? })
    }

    fn end(self, what: &str) -> Result<()> {
        let wall = self.began.elapsed().as_secs_f64();
        let ticks = ticks()? - self.ticks;
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).context("no peak")?;
        let hundredths = ticks * 100 / TICKS;
        println!("{what}: {wall:.2} s, {}.{:02} CPU-s, {peak}", hundredths / 100, hundredths % 100);
        Ok(())
    }
}

/// What the kernel counts processor time in.
const TICKS: u64 = 100;

fn ticks() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(") ").next().context("no fields")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let field = |at: usize| {
        fields.get(at).context("too few fields")?.parse::<u64>().map_err(anyhow::Error::from)
    };
    Ok(field(11)? + field(12)?)
}
