//! One real PostgreSQL with TLS and passwords, which ends with its test.
//!
//! Never leaves a process or a folder behind, whatever the test found.

use pgherd_agent::durable::Access;
use pgherd_agent::postgres::install::{self, Installation, Tls};
use pgherd_agent::tls::authority::Authority;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::holder::Holder;
use pgherd_core::names::{ClusterName, InstanceName};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const PASSWORD: &str = "p@ss/word%";

pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    user: Option<(u32, u32)>,
    installation: Installation,
    running: Option<Child>,
}

impl Server {
    pub(crate) fn start(settings: &str) -> Self {
        // The folder's parent must let the unprivileged user through.
        let folder = tempfile::Builder::new().prefix("pgherd-ledger-").tempdir().unwrap();
        let user = unprivileged();
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let installation = install::find(None).unwrap();
        let mut server = Self { folder, port, user, installation, running: None };
        server.create(settings);
        server.run();
        server
    }

    fn create(&self, settings: &str) {
        let password = self.path("password");
        fs::write(&password, PASSWORD).unwrap();
        let access = match self.user {
            Some((user, group)) => Access::PRIVATE.owned_by(user, group),
            None => Access::PRIVATE,
        };
        if let Some((user, group)) = self.user {
            chown(&password, Some(user), Some(group)).unwrap();
        }
        let mut initdb = self.command("initdb");
        initdb.args(["--no-sync", "--auth=scram-sha-256", "--username=app"]);
        initdb.arg("--pgdata").arg(self.data()).arg("--pwfile").arg(&password);
        let done = initdb.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let now = SystemTime::now();
        let authority_folder = self.path("authority");
        fs::create_dir(&authority_folder).unwrap();
        let cluster = ClusterName::parse("db").unwrap();
        let authority = Authority::open(&authority_folder, &cluster, now).unwrap();
        let holder = Holder::Instance(InstanceName::parse("db-1").unwrap());
        let parts = authority.issue(&holder, now).unwrap();
        IdentityFiles::in_folder(self.folder.path()).write(&parts, access).unwrap();
        fs::write(self.path("trusted.crt"), parts.authority).unwrap();
        let connection = if self.encrypts() { "hostssl" } else { "host" };
        let rules = format!("{connection} all all all scram-sha-256\n");
        fs::write(self.data().join("pg_hba.conf"), rules).unwrap();
        let folder = self.folder.path().display();
        let port = self.port;
        let encryption = match self.installation.tls {
            Tls::Available => format!(
                "ssl = on\nssl_cert_file = '{folder}/tls.crt'\nssl_key_file = '{folder}/tls.key'"
            ),
            Tls::Missing => String::new(),
        };
        let configuration = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             {encryption}\n{settings}\n"
        );
        fs::write(self.data().join("postgresql.conf"), configuration).unwrap();
    }

    pub(crate) fn run(&mut self) {
        let mut postgres = self.command("postgres");
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        postgres.arg("-D").arg(self.data()).stderr(log);
        self.running = Some(postgres.spawn().unwrap());
        let until = Instant::now() + Duration::from_mins(1);
        let status = self.data().join("postmaster.pid");
        while !fs::read_to_string(&status).is_ok_and(|text| text.contains("ready")) {
            assert!(Instant::now() < until, "{}", fs::read_to_string(self.path("log")).unwrap());
            std::thread::yield_now();
        }
    }

    /// Ends the server without a checkpoint, as a crash would, and starts it again.
    pub(crate) fn crash(&mut self) {
        self.end();
        self.run();
    }

    /// Makes the server read its settings again, with these added.
    pub(crate) fn set(&self, settings: &str) {
        let path = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\n{settings}\n")).unwrap();
        let done = self.command("pg_ctl").arg("-D").arg(self.data()).arg("reload").output();
        assert!(done.unwrap().status.success());
    }

    fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // Immediate: backends too are gone when the postmaster is.
        let quit = Command::new("kill").args(["-QUIT", &running.id().to_string()]).status();
        assert!(quit.unwrap().success());
        running.wait().unwrap();
    }

    /// The address, with `others` before this server.
    pub(crate) fn uri(&self, others: &str, authority: &Path) -> String {
        let port = self.port;
        let encryption = match self.installation.tls {
            Tls::Available => format!("verify-full&sslrootcert={}", authority.display()),
            Tls::Missing => "disable".to_owned(),
        };
        format!(
            "postgresql://app:p%40ss%2Fword%25@{others}127.0.0.1:{port}/postgres\
             ?target_session_attrs=read-write&sslmode={encryption}"
        )
    }

    /// Whether this PostgreSQL was built to encrypt.
    pub(crate) fn encrypts(&self) -> bool {
        self.installation.tls == Tls::Available
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.path("trusted.crt")
    }

    /// A file beside the server's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs SQL as psql does, and returns what it prints.
    pub(crate) fn sql(&self, statement: &str) -> String {
        let psql = self
            .command("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement])
            // Not the user's own certificates and settings.
            .env("HOME", self.folder.path())
            .env("PGSSLMODE", if self.encrypts() { "verify-full" } else { "disable" })
            .env("PGSSLROOTCERT", self.authority())
            .env("PGPASSWORD", PASSWORD)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "app")
            .env("PGDATABASE", "postgres")
            .stdout(Stdio::piped())
            .env("PGOPTIONS", "-c synchronous_commit=local -c default_transaction_read_only=off")
            .output()
            .unwrap();
        assert!(psql.status.success(), "{}", String::from_utf8_lossy(&psql.stderr));
        String::from_utf8(psql.stdout).unwrap().trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.path("pgdata")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.installation.tool(program));
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whom a server runs as when we are root, which PostgreSQL refuses to be.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let postgres = users.lines().find(|line| line.starts_with("postgres:")).unwrap();
    let mut numbers = postgres.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((numbers.next().unwrap(), numbers.next().unwrap()))
}
