//! Real clusters for tests: folders, certificates, ports and servers that go away with the test.
//!
//! Never shares a folder or a port between two tests.

use pgherd_agent::config::ServerName;
use pgherd_agent::postgres::clone;
use pgherd_agent::postgres::config::hba::Lines;
use pgherd_agent::postgres::config::trial;
use pgherd_agent::postgres::config::{
    self, Archive, Opens, Parameters, Password, Profile, Receive, Settings, TlsFiles, Transport,
    Upstream,
};
use pgherd_agent::postgres::follow;
use pgherd_agent::postgres::initdb::{self, Application, Locale, NewCluster, Patience, Statement};
use pgherd_agent::postgres::install::{self, Installation, Tls};
use pgherd_agent::postgres::promote::{self, Opening, Promoted};
use pgherd_agent::postgres::running::Running;
use pgherd_agent::postgres::scram::Verifier;
use pgherd_agent::postgres::seal::{self, Sealed};
use pgherd_agent::postgres::server::{self, Mode, Postmaster};
use pgherd_agent::postgres::session::Session;
use pgherd_agent::postgres::site::Site;
use pgherd_agent::postgres::wal::{self, history};
use pgherd_agent::process::owner::{self, Owner};
use pgherd_agent::process::tree::{self, Reaper};
use pgherd_core::names::InstanceName;
use pgherd_core::seen::Gate;
use pgherd_core::units::{Time, Timeline};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const REPLICATION_PASSWORD: &str = "replicate'me:\\";
pub(crate) const APPLICATION_PASSWORD: &str = "let me in";

/// The folder of one test, with the certificates of its cluster.
pub(crate) struct Rig {
    folder: tempfile::TempDir,
    installation: Installation,
    owner: Option<Owner>,
    issuer: Option<Issuer<'static, KeyPair>>,
}

/// One instance; its processes die with it.
pub(crate) struct Instance {
    pub(crate) site: Site,
    pub(crate) settings: Settings,
    pub(crate) postmaster: Option<Postmaster>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        for folder in [self.site.data.clone(), self.site.staging()] {
            let pid = self.postmaster.as_ref().map(Postmaster::pid);
            Reaper::new(&folder).unwrap().kill(pid, LONG).unwrap();
        }
    }
}

pub(crate) fn installation() -> Installation {
    static FOUND: OnceLock<Installation> = OnceLock::new();
    FOUND.get_or_init(|| install::find(None).unwrap()).clone()
}

impl Rig {
    pub(crate) fn new() -> Self {
        tree::adopt_orphans().unwrap();
        let installation = installation();
        let is_root = rustix::process::geteuid().is_root();
        let owner = is_root.then(|| owner::named("postgres").unwrap());
        let folder = tempfile::Builder::new().prefix("pgherd-").tempdir_in("/tmp").unwrap();
        let rig = Self { folder, installation, owner, issuer: None };
        std::fs::set_permissions(rig.path(), PermissionsExt::from_mode(0o700)).unwrap();
        rig.give_away(rig.path());
        match rig.installation.tls {
            Tls::Available => rig.with_authority(),
            Tls::Missing => rig,
        }
    }

    fn with_authority(mut self) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        self.file("ca.crt", params.self_signed(&key).unwrap().pem().as_bytes());
        self.issuer = Some(Issuer::new(params, key));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn give_away(&self, path: &Path) {
        if let Some(Owner { user, group }) = self.owner {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        self.give_away(&path);
        path
    }

    fn transport(&self, name: &str) -> Transport {
        let Some(issuer) = &self.issuer else { return Transport::Plain };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, issuer).unwrap().pem();
        let certificate = self.file(&format!("{name}.crt"), certificate.as_bytes());
        let key = self.file(&format!("{name}.key"), key.serialize_pem().as_bytes());
        Transport::Tls(TlsFiles {
            clients_authority: self.path().join("ca.crt"),
            servers_authority: self.path().join("ca.crt"),
            server_certificate: certificate.clone(),
            server_key: key.clone(),
            client_certificate: certificate,
            client_key: key,
            server_name: ServerName::Instance,
        })
    }

    /// An instance without a folder.
    pub(crate) fn instance(&self, name: &str) -> Instance {
        let base = self.path().join(name);
        let mut site =
            Site::new(base.clone(), base.join("run"), free_port(), self.installation.clone());
        site.owner = self.owner;
        let settings = Settings {
            instance: InstanceName::parse(name).unwrap(),
            listen: BTreeSet::from(["127.0.0.1".to_owned()]),
            transport: self.transport(name),
            agent_users: BTreeSet::from([owner::own_name().unwrap(), "postgres".to_owned()]),
            password: Password(REPLICATION_PASSWORD.to_owned()),
            parameters: Parameters::default(),
            hba: Lines::default(),
            ident: Vec::new(),
            profile: Profile::Laptop,
            volume: None,
            archive: Archive::default(),
            commits: None,
            receive: Receive::FromNobody,
            gate: Gate::Open,
        };
        Instance { site, settings, postmaster: None }
    }

    /// An instance with a stopped, freshly made cluster. All of one process share its identity, so
    /// that any of them can follow any other.
    pub(crate) async fn stopped(&self, name: &str) -> Instance {
        let instance = self.instance(name);
        let template = template(self).await;
        std::fs::create_dir(&instance.site.base).unwrap();
        copy(&template, &instance.site.data);
        let user = match self.owner {
            Some(Owner { user, group }) => format!("{user}:{group}"),
            None => return instance,
        };
        run(Command::new("chown").arg("-R").arg(user).arg(&instance.site.base));
        instance
    }

    pub(crate) async fn primary(&self, name: &str) -> Instance {
        let mut instance = self.stopped(name).await;
        instance.start(Mode::ReadWrite).await;
        instance
    }

    /// A standby made by copying `source`, streaming from it.
    pub(crate) async fn copy_of(&self, name: &str, source: &Instance) -> Instance {
        let mut instance = self.instance(name);
        instance.settings.receive = source.upstream();
        let order = super::copies::COPY;
        clone::clone(&instance.site, &instance.settings, order, &mut |_| ()).await.unwrap();
        instance.start(Mode::Standby).await;
        instance.until("streams", STREAMS).await;
        instance
    }

    /// A standby that streams from `primary`.
    pub(crate) async fn standby(&self, name: &str, primary: &Instance) -> Instance {
        let mut instance = self.stopped(name).await;
        instance.settings.receive = primary.upstream();
        instance.start(Mode::Standby).await;
        instance.until("streams", STREAMS).await;
        instance
    }
}

pub(crate) const STREAMS: &str =
    "select count(*) = 1 from pg_stat_wal_receiver where status = 'streaming'";

impl Instance {
    pub(crate) fn upstream(&self) -> Receive {
        Receive::From(Upstream {
            primary: self.settings.instance.clone(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: self.site.port,
            slot: None,
        })
    }

    pub(crate) fn acting(&self) -> Running<'_> {
        Running { site: &self.site, postmaster: self.running() }
    }

    /// Writes a file among its log.
    pub(crate) fn place(&self, name: &str, content: &[u8]) {
        let path = wal::folder(&self.site.data).join(name);
        std::fs::write(&path, content).unwrap();
        if let Some(owner) = self.site.owner {
            std::os::unix::fs::chown(&path, Some(owner.user), Some(owner.group)).unwrap();
        }
    }

    /// Dies as a node does.
    pub(crate) fn crash(&self) {
        let pid = self.running().pid();
        Reaper::new(&self.site.data).unwrap().kill(Some(pid), LONG).unwrap();
    }

    /// Cuts it off: its position is final.
    pub(crate) async fn seal(&mut self) -> Sealed {
        self.settings.receive = Receive::FromNobody;
        seal::seal(self.acting(), &self.settings, LONG).await.unwrap()
    }

    /// Cuts it off, and makes it a primary on that timeline.
    pub(crate) async fn promote(&mut self, timeline: u32) -> Promoted {
        self.settings.receive = Receive::FromNobody;
        let running = Running { site: &self.site, postmaster: self.postmaster.as_ref().unwrap() };
        let opening = Opening { timeline: Timeline(timeline), before: Time::NEVER };
        promote::promote(running, &self.settings, opening, LONG).await.unwrap()
    }

    /// The timelines that one grew from, the oldest first.
    pub(crate) fn ancestors(&self, timeline: u32) -> Vec<u32> {
        let history = history::read(&self.site.data, Timeline(timeline)).unwrap().unwrap();
        history.forks.iter().map(|fork| fork.timeline.0).collect()
    }

    pub(crate) async fn follow(&mut self, primary: &Self) {
        self.settings.receive = primary.upstream();
        follow::follow(self.acting(), &self.settings).await.unwrap();
    }

    pub(crate) async fn until_streams_from(&self, primary: &Self) {
        let sql = format!(
            "select count(*) = 1 from pg_stat_wal_receiver where status = 'streaming' \
             and sender_host = '{}'",
            primary.settings.instance
        );
        self.until("streams from its primary", &sql).await;
    }

    /// Waits until it has replayed what the primary has written by now.
    pub(crate) async fn until_caught_up(&self, primary: &Self) {
        let lsn = primary.sql("select pg_current_wal_insert_lsn()").await;
        self.until("caught up", &format!("select pg_last_wal_replay_lsn() >= '{lsn}'")).await;
    }

    /// Sets parameters of a user; all of them must be good.
    pub(crate) async fn set(&mut self, parameters: &[(&str, &str)]) {
        let given =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (accepted, refused) = trial::accept(&self.site, &given.collect()).await.unwrap();
        assert_eq!(refused, []);
        self.settings.parameters = accepted;
    }

    pub(crate) fn configure(&self) -> Vec<&'static str> {
        config::apply(&self.site, &self.site.data, (&self.settings, Opens::AsStandby)).unwrap()
    }

    pub(crate) async fn start(&mut self, mode: Mode) {
        self.configure();
        let postmaster = server::start(&self.site, mode).await.unwrap();
        let ready = postmaster.ready(&self.site, LONG).await;
        self.postmaster = Some(postmaster);
        ready.unwrap();
    }

    pub(crate) fn running(&self) -> &Postmaster {
        self.postmaster.as_ref().unwrap()
    }

    pub(crate) async fn session(&self) -> Session {
        Session::open_for_users(&self.site, "postgres", LONG).await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) -> String {
        self.session().await.value(sql, LONG).await.unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.session().await.run(sql, LONG).await.unwrap();
    }

    /// Waits until a query says true.
    pub(crate) async fn until(&self, what: &str, sql: &str) {
        let began = Instant::now();
        loop {
            let said = match Session::open_for_users(&self.site, "postgres", LONG).await {
                Ok(mut session) => session.value(sql, LONG).await.unwrap(),
                Err(error) => error.to_string(),
            };
            if said == "t" {
                return;
            }
            assert!(
                began.elapsed() < LONG,
                "{}: not {what}, but {said}; it said:\n{}",
                self.settings.instance,
                server::log_tail(&self.site)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A program of the installation, run as PostgreSQL's user.
    pub(crate) fn program(&self, name: &str) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.site.installation.tool(name));
        command.env_clear().env("LC_ALL", "C").current_dir("/");
        if let Some(owner) = self.site.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }

    /// A connection of a client, by TCP with a password.
    pub(crate) fn psql(&self, user: &str, password: &str, sql: &str) -> std::process::Output {
        self.client(user, sql).env("PGPASSWORD", password).output().unwrap()
    }

    pub(crate) fn client(&self, user: &str, sql: &str) -> Command {
        let encryption = match self.settings.transport {
            Transport::Tls(_) => "require",
            Transport::Plain => "disable",
        };
        let target = format!(
            "host=127.0.0.1 port={} user={user} dbname=app sslmode={encryption} connect_timeout=5",
            self.site.port
        );
        let mut command = self.program("psql");
        command.env("PGPASSWORD", APPLICATION_PASSWORD).args(["-XAtqc", sql, &target]);
        command
    }
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

pub(crate) fn new_cluster() -> NewCluster {
    NewCluster {
        encoding: "UTF8".to_owned(),
        locale: Locale::default(),
        segment_size_megabytes: None,
        replication_password: Verifier::of(REPLICATION_PASSWORD),
        application: Application {
            database: "app".to_owned(),
            owner: "app".to_owned(),
            password: Verifier::of(APPLICATION_PASSWORD),
            statements: statements(&["create table made (by text); alter table made owner to app"]),
        },
        statements: statements(&["create role extra"]),
        template_statements: statements(&["create table everywhere (n int)"]),
        import: None,
    }
}

pub(crate) fn statements(list: &[&str]) -> Vec<Statement> {
    let statement = |(index, sql): (usize, &&str)| Statement {
        place: format!("statement {} of the list", index + 1),
        sql: (*sql).to_owned(),
    };
    list.iter().enumerate().map(statement).collect()
}

/// A stopped data folder that tests copy: making one takes a second of processor time. Kept with
/// the build's own files, one per version of PostgreSQL.
async fn template(rig: &Rig) -> PathBuf {
    static MADE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let version = rig.installation.version;
    let name = format!("cluster-3-{}.{}", version.major, version.minor);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _one_at_a_time = MADE.lock().await;
    if !path.exists() {
        let source = rig.instance("template-1");
        let settings = &source.settings;
        // Small segments: there is less to copy, and their ends are met more often.
        let new = NewCluster { segment_size_megabytes: Some(1), ..new_cluster() };
        initdb::create(&source.site, &new, settings, Patience::default()).await.unwrap();
        let unfinished = path.with_extension(std::process::id().to_string());
        copy(&source.site.data, &unfinished);
        if std::fs::rename(&unfinished, &path).is_err() {
            std::fs::remove_dir_all(&unfinished).unwrap();
        }
    }
    path
}

/// A port that nothing listens on, below those the system hands out by itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static TAKEN: Mutex<()> = Mutex::new(());
    let _one_at_a_time = TAKEN.lock();
    let own = u16::try_from(std::process::id() % 1000).unwrap();
    loop {
        let port = 10_000 + (own * 20 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
