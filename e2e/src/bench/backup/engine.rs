//! Our own backups, restores and archiving in a process of their own, so that their cost can be measured.
//!
//! Never talks to PostgreSQL: the folder that is backed up stands still.

use crate::object_store::{ACCESS_KEY, BUCKET, ObjectStore, SECRET_KEY};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use pgherd_agent::archive::{Archiver, Orders, Part, Place};
use pgherd_agent::durable::Access;
use pgherd_agent::postgres::control;
use pgherd_agent::recovery::Feed;
use pgherd_api::agent::{ArchiveFile, ArchiveIdentity, ArchiveSpec, DataSpec};
use pgherd_api::cluster::object_store::WalCompression;
use pgherd_backup::base::{
    self, Looked, Packing as BasePacking, Pages, Progress, Refused, Session, Started, Stopped, take,
};
use pgherd_backup::credentials::{Addressing, Credentials, S3, S3Identity};
use pgherd_backup::destination::{Destination, Endpoint, EndpointUrl, ServerName};
use pgherd_backup::encryption::Keyring;
use pgherd_backup::layout::{Form, Layout};
use pgherd_backup::restore::{self, Into, restore};
use pgherd_backup::secret::Secret;
use pgherd_backup::store::{Patience, Store};
use pgherd_backup::wal::header::{Header, LENGTH};
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::sync::watch;

/// Ours, in a repository.
pub(super) const SERVER: &str = "measured";
const ID: &str = "20261122T112233";
/// Where segments lie in a repository: maps have their names, too, and lie elsewhere.
pub(super) const LOG: &str = "measured/wals";
/// Where increments do.
pub(super) const INCREMENTS: &str = "measured/pgherd/incr";
/// Of what is incremental to that.
const NEXT: &str = "20261122T112234";
/// PostgreSQL's files of a relation have so many pages.
const PAGES: u32 = 131_072;
const PART: Bytes = Bytes(64 << 20);

/// What the engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deed {
    Take,
    /// What the log names as changed since.
    Increment,
    /// The same, with a look at every page.
    IncrementByScan,
    Restore,
    /// Over what is there.
    RestoreAgain,
    /// Until somebody ends it.
    Archive,
    /// Gives PostgreSQL the log for a recovery, until somebody ends it.
    Feed,
}

/// How it packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Packing {
    Plain,
    Gzip,
    Lz4,
    Zstd,
}

/// What is asked of it, as the words of a command.
#[derive(Debug, Clone, clap::Args)]
pub struct Asked {
    #[arg(long, value_enum)]
    pub deed: Deed,
    /// The data folder.
    #[arg(long)]
    pub data: PathBuf,
    #[arg(long)]
    pub repository: String,
    /// Of S3; what opens it is in the environment.
    #[arg(long)]
    pub endpoint: Option<String>,
    #[arg(long, value_enum)]
    pub packing: Packing,
    /// A file with what the repository is encrypted with.
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// Where the cluster was stopped.
    #[arg(long)]
    pub at: Option<String>,
}

impl Asked {
    /// Into or from a folder.
    pub(super) fn folder(deed: Deed, data: &Path, folder: &Path, packing: Packing) -> Self {
        let repository = folder.display().to_string();
        let data = data.to_owned();
        Self { deed, data, repository, endpoint: None, packing, key: None, at: None }
    }

    /// Into or from a bucket.
    pub(super) fn s3(deed: Deed, data: &Path, store: &ObjectStore, packing: Packing) -> Self {
        let repository = format!("s3://{BUCKET}/ours-{}", packing.word());
        let endpoint = Some(store.url());
        let data = data.to_owned();
        Self { deed, data, repository, endpoint, packing, key: None, at: None }
    }

    /// This program once more.
    pub(super) fn command(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["engine", "--deed", self.deed.word(), "--packing", self.packing.word()]);
        command.arg("--data").arg(&self.data).args(["--repository", &self.repository]);
        if let Some(endpoint) = &self.endpoint {
            command.args(["--endpoint", endpoint]);
            ObjectStore::open_for(&mut command);
        }
        if let Some(key) = &self.key {
            command.arg("--key").arg(key);
        }
        if let Some(at) = &self.at {
            command.args(["--at", at]);
        }
        Ok(command)
    }

    fn open(&self) -> Result<(Store, Layout)> {
        let mut destination = Destination::parse(&self.repository)?;
        let credentials = match &self.endpoint {
            None => Credentials::Folder,
            Some(url) => {
                let url = EndpointUrl::parse(url)?;
                destination.endpoint = Some(Endpoint { url, authorities: None });
                let secret = |name| std::env::var(name).map(Secret::new).context(name);
                Credentials::S3(S3 {
                    identity: S3Identity::Keys {
                        access_key: secret("AWS_ACCESS_KEY_ID")?,
                        secret_key: secret("AWS_SECRET_ACCESS_KEY")?,
                        session_token: None,
                    },
                    region: None,
                    addressing: Addressing::Automatic,
                    encryption: None,
                })
            }
        };
        let store = Store::open(&destination, &credentials, Patience::carrying(PART))?;
        let (prefix, server) = (&destination.prefix, ServerName::parse(SERVER)?);
        let Some(key) = &self.key else { return Ok((store, Layout::new(prefix, &server))) };
        let store = store.encrypted(Keyring::parse(&fs::read(key)?)?, prefix);
        Ok((store, Layout::of(Form::Encrypted, prefix, &server)))
    }
}

/// Does it.
pub fn run(asked: &Asked) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match asked.deed {
        Deed::Archive => archive(asked),
        Deed::Feed => runtime.block_on(feed(asked)),
        Deed::Take
        | Deed::Increment
        | Deed::IncrementByScan
        | Deed::Restore
        | Deed::RestoreAgain => runtime.block_on(move_all(asked)),
    }
}

async fn move_all(asked: &Asked) -> Result<()> {
    let (store, layout) = asked.open()?;
    let (store, layout, id) = (&store, &layout, &BackupId::parse(ID)?);
    let (next, is_next) = (BackupId::parse(NEXT)?, asked.deed.is_increment());
    let progress = watch::Sender::new(Progress::default());
    let into = match asked.deed {
        Deed::Take | Deed::Increment | Deed::IncrementByScan | Deed::Archive | Deed::Feed => {
            let options =
                base::Options { packing: asked.packing.of_a_base(), ..base::Options::default() };
            let (base, id) = if is_next { (Some(id), &next) } else { (None, id) };
            let request =
                base::Request { store, layout, id, name: None, by: "bench", base, options };
            let mut session = Still::new(asked)?;
            let taken = take(&request, &mut session, progress, std::future::pending()).await?;
            if taken.bad_pages_in_all > 0 {
                bail!("{} pages are said to be bad", taken.bad_pages_in_all);
            }
            let wanted = match asked.deed {
                Deed::Increment => taken.looked == Looked::ByMap,
                Deed::IncrementByScan => matches!(taken.looked, Looked::ByScan(_)),
                Deed::Take | Deed::Restore | Deed::RestoreAgain | Deed::Archive | Deed::Feed => {
                    true
                }
            };
            if !wanted {
                bail!("pages were found otherwise: {:?}", taken.looked);
            }
            return Ok(());
        }
        Deed::Restore => Into::Empty,
        Deed::RestoreAgain => Into::Existing,
    };
    let (folder, tablespaces) = (asked.data.as_path(), &BTreeMap::new());
    let options = restore::Options::default();
    let request = restore::Request { store, layout, id, folder, tablespaces, into, options };
    restore(&request, progress).await?;
    Ok(())
}

/// A cluster that nobody runs.
struct Still {
    data: PathBuf,
    at: Lsn,
    timeline: Timeline,
    system: SystemId,
}

impl Still {
    fn new(asked: &Asked) -> Result<Self> {
        let data = fs::canonicalize(&asked.data)?;
        let at = asked.at.as_deref().map(Lsn::parse).transpose()?.unwrap_or(Lsn(u64::MAX));
        // Nobody knows what changed on the way to another timeline.
        let timeline = Timeline(if asked.deed == Deed::IncrementByScan { 2 } else { 1 });
        let system = system(&data)?;
        Ok(Self { data, at, timeline, system })
    }
}

impl Session for Still {
    async fn start(&mut self, _label: &str) -> Result<Started, Refused> {
        let file = |name: &str| self.data.join(name);
        Ok(Started {
            begin: self.at,
            at: Moment(0),
            timeline: self.timeline,
            system: self.system,
            segment_size: SegmentSize::DEFAULT,
            version: 150_000,
            pages: Pages::Checksums { of_a_file: PAGES },
            pgdata: self.data.clone(),
            config_file: file("postgresql.conf"),
            hba_file: file("pg_hba.conf"),
            ident_file: file("pg_ident.conf"),
            tablespaces: Vec::new(),
        })
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        Ok(Stopped { end: self.at, at: Moment(0), label: "none\n".to_owned() })
    }
}

/// Where whoever serves PostgreSQL's commands listens for this data folder.
pub(super) fn socket(data: &Path) -> PathBuf {
    data.join("archive.sock")
}

/// What an agent does for a primary, for as long as this lives.
fn archive(asked: &Asked) -> Result<()> {
    let keys = asked.data.join("keys");
    let spool = asked.data.join("spool");
    for folder in [&keys, &spool] {
        fs::create_dir_all(folder)?;
    }
    let files = BTreeSet::from([ArchiveFile::AccessKeyId, ArchiveFile::SecretAccessKey]);
    for (file, key) in files.iter().zip([ACCESS_KEY, SECRET_KEY]) {
        fs::write(keys.join(file.name()), key)?;
    }
    let identity = match asked.endpoint {
        None => ArchiveIdentity::User,
        Some(_) => ArchiveIdentity::S3Keys,
    };
    let files = if asked.endpoint.is_none() { BTreeSet::new() } else { files };
    let spec = ArchiveSpec {
        destination: asked.repository.clone(),
        endpoint: asked.endpoint.clone(),
        server: SERVER.to_owned(),
        identity,
        files,
        compression: asked.packing.of_the_log(),
        encryption: None,
        at_once: 4,
        data: DataSpec::default(),
        retention: None,
        stream: None,
    };
    let (data, socket, access) = (asked.data.clone(), socket(&asked.data), Access::PRIVATE);
    let remembered = data.join("archives.json");
    let archiver = Archiver::start(Place { data, socket, access, spool, keys, remembered })?;
    let system = Some(system(&asked.data)?);
    let part = Part::Primary { timeline: Timeline(1) };
    archiver.order(Orders { archive: Some(spec), system, part, reign: None });
    loop {
        std::thread::sleep(Duration::from_mins(1));
    }
}

/// What an agent does while a new cluster recovers.
async fn feed(asked: &Asked) -> Result<()> {
    let (data, socket) = (asked.data.as_path(), socket(&asked.data));
    let system = control::read_file(data)?.system_id;
    let spool = data.join("spool");
    let feed = Feed::new(asked.open()?, Some(system), SegmentSize::DEFAULT, (data, &spool))?;
    Ok(feed.answer_at(&socket).await?)
}

/// Whose log is in this folder.
fn system(data: &Path) -> Result<SystemId> {
    let mut files = fs::read_dir(data.join("pg_wal"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let first = files.find(|path| path.is_file()).context("there is no log")?;
    let mut begin = [0; LENGTH];
    fs::File::open(first)?.read_exact(&mut begin)?;
    Ok(Header::read(&begin)?.system)
}

impl Deed {
    fn is_increment(self) -> bool {
        match self {
            Self::Increment | Self::IncrementByScan => true,
            Self::Take | Self::Restore | Self::RestoreAgain | Self::Archive | Self::Feed => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Increment => "increment",
            Self::IncrementByScan => "increment-by-scan",
            Self::Restore => "restore",
            Self::RestoreAgain => "restore-again",
            Self::Archive => "archive",
            Self::Feed => "feed",
        }
    }
}

impl Packing {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    fn of_a_base(self) -> BasePacking {
        match self {
            Self::Plain => BasePacking::Plain,
            Self::Gzip => BasePacking::Gzip,
            Self::Lz4 => BasePacking::Lz4,
            Self::Zstd => BasePacking::Zstd,
        }
    }

    fn of_the_log(self) -> Option<WalCompression> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some(WalCompression::Gzip),
            Self::Lz4 => Some(WalCompression::Lz4),
            Self::Zstd => Some(WalCompression::Zstd),
        }
    }
}
