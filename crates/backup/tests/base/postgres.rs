//! A real PostgreSQL for a test: its folder, its tablespace, its archive, and its processes.
//!
//! Never shares a port or a folder with another test.

use pgherd_backup::backup_info::Tablespace;
use pgherd_backup::base::{Pages, Refused, Session, Started, Stopped};
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const LONG: Duration = Duration::from_mins(2);

/// Where the server's programs are.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("PGHERD_PG_BINDIR").filter(|named| !named.is_empty()) {
        return named.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("run `cargo xtask setup`");
    versions.map(|version| version.unwrap().path().join("bin")).max().unwrap()
}

/// PostgreSQL does not run as root.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).unwrap();
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
    Some((numbers.next().unwrap(), numbers.next().unwrap()))
}

/// A program that runs as PostgreSQL does.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

pub(crate) fn program(name: &str) -> Command {
    command(programs().join(name))
}

pub(crate) fn succeeds(command: &mut Command) -> Output {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
    done
}

/// A folder that belongs to PostgreSQL and goes away.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("pgherd-").tempdir_in("/tmp").unwrap();
    give_away(folder.path());
    folder
}

/// Everything in it becomes PostgreSQL's.
pub(crate) fn give_away(path: &Path) {
    let Some((user, group)) = owner() else { return };
    std::os::unix::fs::lchown(path, Some(user), Some(group)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

/// A server that ends with this.
pub(crate) struct Server {
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    runs: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// A new cluster in this folder, with checksums, that archives its log beside it.
    pub(crate) fn new(base: &Path) -> Self {
        Self::with(base, &["-k"], "")
    }

    /// The same, made as these words say, with these settings besides.
    pub(crate) fn with(base: &Path, words: &[&str], besides: &str) -> Self {
        let data = base.join("data");
        let archive = base.join("archive");
        std::fs::create_dir(&archive).unwrap();
        give_away(&archive);
        let mut command = program("initdb");
        command.args(words).args(["-A", "trust", "-U", "postgres", "-D"]);
        succeeds(command.arg(&data));
        let settings = format!(
            "archive_mode = on\narchive_command = 'cp %p {0}/%f'\nwal_level = replica\n\
             full_page_writes = on\nfsync = off\nautovacuum = off\n{besides}",
            archive.display()
        );
        let path = data.join("postgresql.conf");
        let own = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, own + &settings).unwrap();
        Self::start(&data)
    }

    /// Starts in a folder that is ready for it.
    pub(crate) fn start(data: &Path) -> Self {
        give_away(data);
        let mut server = Self { data: data.to_path_buf(), port: free_port(), runs: false };
        server.run();
        server
    }

    pub(crate) fn run(&mut self) {
        let sockets = self.data.parent().unwrap().display();
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories={sockets}",
            self.port
        );
        let log = self.data.parent().unwrap().join("log");
        let mut command = program("pg_ctl");
        command.args(["-w", "-t", "120", "-s", "-o", &options, "-l"]).arg(&log);
        command.arg("-D").arg(&self.data).arg("start").stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.status().unwrap();
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(started.success(), "{}", said());
        self.runs = true;
    }

    pub(crate) fn stop(&mut self) {
        self.end("fast");
    }

    /// Ends it without a last checkpoint, and has it recover.
    pub(crate) fn crash(&mut self) {
        self.end("immediate");
        self.run();
    }

    fn end(&mut self, how: &str) {
        if std::mem::take(&mut self.runs) {
            let mut command = program("pg_ctl");
            command.args(["-w", "-t", "120", "-s", "-m", how, "-D"]).arg(&self.data);
            let stopped = command.arg("stop").output().unwrap();
            assert!(stopped.status.success() || std::thread::panicking(), "{stopped:?}");
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        self.connect_to("postgres").await
    }

    pub(crate) async fn connect_to(&self, database: &str) -> Connection {
        let settings = format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port);
        let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        Connection { client, _tasks: tasks }
    }
}

/// Nobody listens there, and no connection gets it by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1000).unwrap();
    loop {
        let port = 10_000 + (own * 20 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

pub(crate) struct Connection {
    client: Client,
    _tasks: JoinSet<()>,
}

impl Connection {
    /// The first row, as text.
    async fn row(&self, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let column = |at| row.get(at).unwrap_or_default().to_owned();
                return Ok((0..row.len()).map(column).collect());
            }
        }
        Ok(Vec::new())
    }

    pub(crate) async fn sql(&self, sql: &str) -> String {
        let row = self.row(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        row.into_iter().next().unwrap_or_default()
    }

    pub(crate) async fn until(&self, sql: &str) {
        let began = Instant::now();
        while self.sql(sql).await != "t" {
            assert!(began.elapsed() < LONG, "not true in time: {sql}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Session for Connection {
    async fn start(&mut self, label: &str) -> Result<Started, Refused> {
        let begin = self.row(&format!("select pg_backup_start('{label}', true)")).await?;
        let facts = self
            .row(
                "select (extract(epoch from clock_timestamp()) * 1000000)::int8, \
                 (select timeline_id from pg_control_checkpoint()), \
                 (select system_identifier from pg_control_system()), \
                 current_setting('server_version_num'), current_setting('data_checksums'), \
                 current_setting('data_directory'), current_setting('config_file'), \
                 current_setting('hba_file'), current_setting('ident_file'), \
                 (select setting from pg_settings where name = 'wal_segment_size'), \
                 (select setting from pg_settings where name = 'segment_size')",
            )
            .await?;
        let [at, timeline, system, version, checksums, data, config, hba, ident, wal, of_a_file] =
            facts.as_slice()
        else {
            return Err("PostgreSQL says too little".into());
        };
        let tablespaces = self.tablespaces().await?;
        Ok(Started {
            begin: Lsn::parse(&begin[0])?,
            at: Moment(at.parse()?),
            timeline: Timeline(timeline.parse()?),
            system: SystemId(system.parse()?),
            segment_size: SegmentSize::new(Bytes(wal.parse()?))?,
            version: version.parse()?,
            pages: match checksums.as_str() {
                "on" => Pages::Checksums { of_a_file: of_a_file.parse()? },
                _ => Pages::Unverifiable,
            },
            pgdata: data.into(),
            config_file: config.into(),
            hba_file: hba.into(),
            ident_file: ident.into(),
            tablespaces,
        })
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        let sql = "select lsn, labelfile, \
                   (extract(epoch from clock_timestamp()) * 1000000)::int8 \
                   from pg_backup_stop(false)";
        let row = self.row(sql).await?;
        let [end, label, at] = row.as_slice() else { return Err("no row".into()) };
        Ok(Stopped { end: Lsn::parse(end)?, at: Moment(at.parse()?), label: label.clone() })
    }
}

impl Connection {
    async fn tablespaces(&self) -> Result<Vec<Tablespace>, Refused> {
        let sql = "select spcname, oid, pg_tablespace_location(oid) from pg_tablespace \
                   where pg_tablespace_location(oid) <> ''";
        let mut tablespaces = Vec::new();
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let column = |at| row.get(at).unwrap_or_default();
                let (name, location) = (column(0).to_owned(), column(2).to_owned());
                tablespaces.push(Tablespace { name, oid: column(1).parse()?, location });
            }
        }
        Ok(tablespaces)
    }
}
