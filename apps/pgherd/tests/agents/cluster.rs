//! A cluster of real agents, each a process of its own, that goes away with its test.
//!
//! Never shares a folder or a port with another test.

use super::record::Keeper;
use pgherd_agent::config::{AgentConfig, Folder, PeerAddress, PostgresAddress, RecordAddress};
use pgherd_agent::durable::Access;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_agent::http::file::Opened;
use pgherd_agent::postgres::install::{self, Installation, Tls};
use pgherd_agent::process::owner::{self, Owner};
use pgherd_agent::process::tree::{self, Reaper};
use pgherd_agent::tls::authority::Authority;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::holder::Holder;
use pgherd_agent::tls::identity::Identity;
use pgherd_api::agent::{
    ExternalFile, ExternalServer, InitDb, MetricsSpec, PostgresSpec, Role, Specification,
    StatementFile, Status, names,
};
use pgherd_core::intent::{Durability, Intent};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::timers::Timers;
use pgherd_core::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, SystemTime};

const LONG: Duration = Duration::from_mins(1);
const ASK_EVERY: Duration = Duration::from_millis(20);
const PASSWORD: &str = "let me in";

pub(crate) struct Cluster {
    root: tempfile::TempDir,
    owner: Option<Owner>,
    installation: Installation,
    pub(crate) keeper: Keeper,
    client: Client,
    authority: Authority,
    instances: BTreeMap<u32, Instance>,
}

struct Instance {
    name: InstanceName,
    config: PathBuf,
    program: PathBuf,
    folder: Folder,
    agent: SocketAddr,
    postgres: SocketAddr,
    process: Option<Child>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        for data in [self.folder.pgdata(), self.folder.root().join("pgdata.new")] {
            Reaper::new(&data).unwrap().kill(None, LONG).unwrap();
        }
    }
}

pub(crate) fn intent(cluster: &ClusterName, count: u32, durability: Durability) -> Intent {
    Intent {
        cluster: cluster.clone(),
        instances: (1..=count).map(|serial| InstanceName::new(cluster, serial)).collect(),
        first: Some(InstanceName::new(cluster, 1)),
        durability,
        timers: Timers::STANDARD,
        failover_delay: Duration::ZERO,
        stop_delay: Duration::from_secs(10),
        paused: false,
        fenced: BTreeSet::new(),
        leaving: BTreeSet::new(),
        stopped: false,
        switchover: None,
        restart: None,
        configuration: 1,
    }
}

pub(crate) const ASYNCHRONOUS: Durability = Durability::Asynchronous { max_lag: Bytes(64 << 20) };

impl Cluster {
    pub(crate) async fn start(count: u32, durability: Durability) -> Self {
        Self::start_as(count, durability, PostgresSpec::default()).await
    }

    /// One that begins as a copy of the first instance of `source`.
    pub(crate) async fn copy_of(source: &Self, count: u32) -> Self {
        let instance = &source.instances[&1];
        let key = IdentityFiles::in_folder(&instance.folder.replication_tls());
        let path = |path: &Path| path.display().to_string();
        let mode = match source.installation.tls {
            Tls::Available => "verify-ca",
            Tls::Missing => "disable",
        };
        let parameters = [
            ("host", "127.0.0.1".to_owned()),
            ("port", instance.postgres.port().to_string()),
            ("user", "streaming_replica".to_owned()),
            ("sslmode", mode.to_owned()),
            ("sslcert", path(&key.certificate)),
            ("sslkey", path(&key.key)),
            ("sslrootcert", path(&key.authority)),
        ];
        let server = ExternalServer {
            name: "origin".to_owned(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
            files: BTreeSet::from([ExternalFile::Password]),
        };
        let postgres = PostgresSpec { copy_of: Some(server), ..PostgresSpec::default() };
        Self::start_as(count, Durability::Required { acks: 1 }, postgres).await
    }

    /// One that is to begin with statements in these files, which nobody has put there yet.
    pub(crate) async fn beginning_with(files: Vec<StatementFile>) -> Self {
        let initdb = InitDb { statement_files: files, ..InitDb::default() };
        Self::start_as(1, ASYNCHRONOUS, PostgresSpec { initdb, ..PostgresSpec::default() }).await
    }

    /// Shows an agent statements as its platform does.
    pub(crate) fn show_statements(&self, serial: u32, file: &str, sql: &str) {
        let folder = self.instances[&serial].folder.statements();
        if !folder.exists() {
            std::fs::create_dir(&folder).unwrap();
            give(&folder, self.owner);
        }
        let access = Owner::grant(self.owner, Access::PRIVATE);
        pgherd_agent::durable::write(&folder.join(file), sql.as_bytes(), access).unwrap();
    }

    async fn start_as(count: u32, durability: Durability, postgres: PostgresSpec) -> Self {
        tree::adopt_orphans().unwrap();
        let cluster = ClusterName::parse("db").unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let owner = is_root.then(|| owner::named("postgres").unwrap());
        let root = tempfile::Builder::new().prefix("pgherd-").tempdir_in("/tmp").unwrap();
        give(root.path(), owner);
        let now = SystemTime::now();
        std::fs::create_dir(root.path().join("ca")).unwrap();
        let authority = Authority::open(&root.path().join("ca"), &cluster, now).unwrap();
        let identity = |holder: Holder| {
            let files = IdentityFiles::in_folder(&root.path().join(holder.to_string()));
            std::fs::create_dir(files.key.parent().unwrap()).unwrap();
            files.write(&authority.issue(&holder, now).unwrap(), Access::PRIVATE).unwrap();
            Identity::open(files).unwrap()
        };
        let intent = intent(&cluster, count, durability);
        let specification =
            Specification { number: 1, intent, postgres, metrics: MetricsSpec::default() };
        let keeper = Keeper::start(identity(Holder::Record), specification).await;
        let client = Client::certified(Arc::new(identity(Holder::Supervisor)));
        let installation = install::find(None).unwrap();
        let instances = BTreeMap::new();
        let mut this = Self { root, owner, installation, keeper, client, authority, instances };
        this.add_all(&cluster, count);
        for serial in 1..=count {
            this.run(serial);
        }
        this
    }

    fn add_all(&mut self, cluster: &ClusterName, count: u32) {
        let addresses: BTreeMap<InstanceName, PeerAddress> = (1..=count)
            .map(|serial| {
                let address = PeerAddress { agent: free(), postgres: free() };
                (InstanceName::new(cluster, serial), address)
            })
            .collect();
        for (name, own) in &addresses {
            let folder = Folder::at(self.root.path().join(name.to_string()));
            self.furnish(&folder, name);
            let program = self.program(name);
            let mut peers = addresses.clone();
            peers.remove(name);
            let config = AgentConfig {
                written_by: None,
                cluster: cluster.clone(),
                instance: name.clone(),
                folder: folder.root().to_owned(),
                bindir: self.installation.bindir.clone(),
                postgres: PostgresAddress { listen: own.postgres.ip(), port: own.postgres.port() },
                listen: own.agent,
                peers,
                record: Some(RecordAddress {
                    server_name: "record".to_owned(),
                    address: self.keeper.address,
                }),
                run: None,
                identity: None,
                program: Some(program.clone()),
                metrics: None,
            };
            let path = self.root.path().join(format!("{name}.json"));
            std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
            give(&path, self.owner);
            let (agent, postgres) = (own.agent, own.postgres);
            let instance = Instance {
                name: name.clone(),
                config: path,
                program,
                folder,
                agent,
                postgres,
                process: None,
            };
            self.instances.insert(name.serial(), instance);
        }
    }

    /// What whoever makes the folder puts into it.
    fn furnish(&self, folder: &Folder, name: &InstanceName) {
        let access = Owner::grant(self.owner, Access::PRIVATE);
        let (root, tls) = (folder.root().to_owned(), folder.tls());
        for made in [root, tls, folder.replication_tls(), folder.secrets(), folder.external()] {
            std::fs::create_dir(&made).unwrap();
            give(&made, self.owner);
        }
        let holders = [
            (folder.tls(), Holder::Instance(name.clone())),
            (folder.replication_tls(), Holder::Replication),
        ];
        for (into, holder) in holders {
            let parts = self.authority.issue(&holder, SystemTime::now()).unwrap();
            IdentityFiles::in_folder(&into).write(&parts, access).unwrap();
        }
        for secret in ["replication", "app", "superuser"] {
            let path = folder.secrets().join(secret);
            pgherd_agent::durable::write(&path, PASSWORD.as_bytes(), access).unwrap();
        }
        let path = folder.external().join("password");
        pgherd_agent::durable::write(&path, PASSWORD.as_bytes(), access).unwrap();
    }

    /// Where the program of one agent is: a file of its own, as in a pod.
    fn program(&self, name: &InstanceName) -> PathBuf {
        let folder = self.root.path().join(format!("{name}-controller"));
        std::fs::create_dir(&folder).unwrap();
        give(&folder, self.owner);
        let program = folder.join("pgherd");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pgherd"), &program).unwrap();
        program
    }

    /// The files beside the program of an agent, its own among them.
    pub(crate) fn controller(&self, serial: u32) -> Vec<String> {
        let folder = self.instances[&serial].program.parent().unwrap();
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Gives an agent another program, as the platform does.
    pub(crate) async fn give(
        &self,
        (serial, digest): (u32, &str),
        program: Opened,
    ) -> Result<(), CallError> {
        self.give_as(&self.client, (serial, digest), program).await
    }

    pub(crate) async fn give_as(
        &self,
        client: &Client,
        (serial, digest): (u32, &str),
        program: Opened,
    ) -> Result<(), CallError> {
        let name = format!("{}/{digest}", names::PROGRAM);
        client.upload((&self.endpoint(serial), &name), program, LONG).await
    }

    /// Somebody else who may take part in the cluster.
    pub(crate) fn client_of(&self, holder: &Holder) -> Client {
        let parts = self.authority.issue(holder, SystemTime::now()).unwrap();
        Client::certified(Arc::new(Identity::of(&parts).unwrap()))
    }

    fn endpoint(&self, serial: u32) -> Endpoint {
        let instance = &self.instances[&serial];
        let holder = Holder::Instance(instance.name.clone());
        Endpoint::Certified { holder, address: instance.agent }
    }

    /// Starts an agent that does not run.
    pub(crate) fn run(&mut self, serial: u32) {
        let instance = self.instances.get_mut(&serial).unwrap();
        let mut command = Command::new(&instance.program);
        command.args(["agent", "--config"]).arg(&instance.config).current_dir("/");
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        instance.process = Some(command.spawn().unwrap());
    }

    /// A node loss: the agent and every process of its PostgreSQL die at once.
    pub(crate) fn kill(&mut self, serial: u32) {
        let instance = self.instances.get_mut(&serial).unwrap();
        let mut process = instance.process.take().unwrap();
        process.kill().unwrap();
        Reaper::new(&instance.folder.pgdata()).unwrap().kill(None, LONG).unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn signal(&self, serial: u32, signal: rustix::process::Signal) {
        let process = self.instances[&serial].process.as_ref().unwrap();
        let id = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits until an agent that was told to stop has done so.
    pub(crate) async fn ended(&mut self, serial: u32) -> std::process::ExitStatus {
        let instance = self.instances.get_mut(&serial).unwrap();
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = instance.process.as_mut().unwrap().try_wait().unwrap() {
                instance.process = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not end");
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    pub(crate) fn name(&self, serial: u32) -> InstanceName {
        self.instances[&serial].name.clone()
    }

    /// Waits until the agent says for the `round`th time that it kept its PostgreSQL.
    pub(crate) async fn reexecuted(&self, serial: u32, round: usize) {
        let log = self.instances[&serial].folder.log().join("agent.log");
        let deadline = Instant::now() + LONG;
        loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if text.matches("kept PostgreSQL over a re-execution").count() >= round {
                return;
            }
            assert!(Instant::now() < deadline, "the agent does not re-execute itself");
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    pub(crate) fn pid(&self, serial: u32) -> u32 {
        self.instances[&serial].process.as_ref().unwrap().id()
    }

    pub(crate) fn postmaster(&self, serial: u32) -> i32 {
        let path = self.instances[&serial].folder.pgdata().join("postmaster.pid");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// PostgreSQL's first process dies, and nothing else.
    pub(crate) fn kill_postmaster(&self, serial: u32) {
        let postmaster = rustix::process::Pid::from_raw(self.postmaster(serial)).unwrap();
        rustix::process::kill_process(postmaster, rustix::process::Signal::KILL).unwrap();
    }

    /// Waits until a process of that number, one of PostgreSQL, is dead.
    pub(crate) async fn dead(&self, process: i32) {
        let stat = format!("/proc/{process}/stat");
        let deadline = Instant::now() + LONG;
        loop {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            if text.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
            {
                return;
            }
            if Instant::now() >= deadline {
                self.tell_logs();
                panic!("process {process} is still there");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    pub(crate) async fn status(&self, serial: u32) -> Option<Status> {
        let endpoint = self.endpoint(serial);
        self.client.call(&endpoint, names::STATUS, &(), Duration::from_secs(2)).await.ok()
    }

    /// Waits until every running agent is as it should be.
    pub(crate) async fn wait(
        &self,
        what: &str,
        mut fits: impl FnMut(&BTreeMap<u32, Status>) -> bool,
    ) {
        let deadline = Instant::now() + LONG;
        loop {
            let mut found = BTreeMap::new();
            for (serial, instance) in &self.instances {
                if instance.process.is_some()
                    && let Some(status) = self.status(*serial).await
                {
                    found.insert(*serial, status);
                }
            }
            if fits(&found) {
                return;
            }
            if Instant::now() >= deadline {
                self.tell_logs();
                let told = |status: &Status| (status.role, status.verdict.reason.clone());
                let found: Vec<_> = found.values().map(told).collect();
                panic!("{what} did not come: {found:#?} {:#?}", self.keeper.record());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits for one primary that everybody else receives from, and that the record counts on.
    /// From then on nobody may initialise it again.
    pub(crate) async fn whole(&self, running: usize) -> u32 {
        let mut primary = 0;
        self.wait("a whole cluster", |found| {
            let primaries: Vec<_> = found
                .iter()
                .filter(|(_, status)| {
                    status.role == Role::Primary && status.verdict.state == "serving"
                })
                .map(|(serial, _)| *serial)
                .collect();
            let streaming =
                found.values().filter(|status| status.server.streaming == Some(true)).count();
            let grantors = self.keeper.record().map_or(0, |record| record.grantors.len());
            primary = primaries.first().copied().unwrap_or(0);
            primaries.len() == 1 && streaming + 1 == running && grantors + 1 == running
        })
        .await;
        self.keeper.specify_existence();
        primary
    }

    pub(crate) fn tell_logs(&self) {
        for instance in self.instances.values() {
            for log in [
                instance.folder.log().join("agent.log"),
                instance.folder.root().join("postgres.log"),
            ] {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let from = lines.len().saturating_sub(60);
                eprintln!("== {}\n{}", log.display(), lines[from..].join("\n"));
            }
        }
    }

    /// Where any client finds the primary.
    fn address(&self) -> String {
        let ports: Vec<_> =
            self.instances.values().map(|instance| instance.postgres.port().to_string()).collect();
        let hosts = vec!["127.0.0.1"; ports.len()].join(",");
        let encryption = match self.installation.tls {
            Tls::Available => "require",
            Tls::Missing => "disable",
        };
        format!(
            "host={hosts} port={} user=app dbname=app target_session_attrs=read-write \
             sslmode={encryption} connect_timeout=2",
            ports.join(",")
        )
    }

    /// Runs SQL at the primary as an application does.
    pub(crate) async fn sql(&self, sql: &str) -> Result<String, String> {
        let said = tokio::process::Command::new(self.installation.tool("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.address())
            .env("PGPASSWORD", PASSWORD)
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
    }

    /// How long until a write succeeds again.
    pub(crate) async fn outage(&self, since: Instant, sql: &str) -> Duration {
        let deadline = Instant::now() + LONG;
        loop {
            match self.sql(sql).await {
                Ok(_) => return since.elapsed(),
                Err(error) if Instant::now() >= deadline => {
                    self.tell_logs();
                    panic!("no write succeeds: {error}");
                }
                Err(_) => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }
}

fn give(path: &Path, owner: Option<Owner>) {
    if let Some(owner) = owner {
        std::os::unix::fs::chown(path, Some(owner.user), Some(owner.group)).unwrap();
    }
}

/// Nobody listens there, and no connection gets it by itself: a server that starts again finds it
/// free.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1000).unwrap();
    loop {
        let port = 10_000 + (own * 20 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
