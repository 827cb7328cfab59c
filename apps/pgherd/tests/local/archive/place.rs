//! Where test clusters archive to: a folder, or a server of S3 that can be stopped.
//!
//! Never installs one: `cargo xtask setup --stores` does.

use super::Home;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const BUCKET: &str = "backups";
const ACCESS_KEY: &str = "pgherd-access";
pub(crate) const SECRET_KEY: &str = "pgherd-secret-of-the-store";

/// A folder beside the clusters that PostgreSQL's user may write to.
pub(crate) fn folder(home: &Home) -> PathBuf {
    let folder = home.folder().with_file_name("archive");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    folder
}

/// The names of files of the log under a server's folder, without what they are packed with.
pub(crate) fn files(server: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![server.join("wals")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.file_name().into_string().unwrap();
                found.insert(name.trim_end_matches(".gz").to_owned());
            }
        }
    }
    found
}

/// A server of S3 that keeps its objects as files.
/// Nobody listens there, and no connection gets it by itself: a server that starts again finds it
/// free.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1000).unwrap();
    loop {
        let port = 30_000 + (own * 2 + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_700;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) struct Store {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Store {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let port = free_port();
        let mut store = Self { folder, port, process: None };
        store.resume();
        store
    }

    pub(crate) fn resume(&mut self) {
        let mut command = Command::new(program());
        command.args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
        command.arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let until = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "the server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// It takes connections, and answers nobody.
    pub(crate) fn freeze(&self) {
        let process = self.process.as_ref().unwrap();
        let process = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Where the objects lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn spec(&self) -> String {
        format!(
            "backup: {{barmanObjectStore: {{destinationPath: 's3://{BUCKET}/prod', endpointURL: \
             '{}', serverName: shop, s3Credentials: {{accessKeyId: {{name: s3, key: id}}, \
             secretAccessKey: {{name: s3, key: key}}}}, wal: {{compression: gzip}}}}}}",
            self.endpoint()
        )
    }

    pub(crate) fn secret() -> String {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s3}}\nstringData: \
             {{id: {ACCESS_KEY}, key: {SECRET_KEY}}}\n"
        )
    }

    pub(crate) fn files(&self) -> BTreeSet<String> {
        files(&self.folder.path().join(BUCKET).join("prod/shop"))
    }

    /// Debian's barman-cloud gets this segment.
    pub(crate) fn barman_restores(&self, segment: &str) {
        let target = self.folder.path().join("restored");
        let done = Command::new("/usr/bin/barman-cloud-wal-restore")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .args(["--endpoint-url", &self.endpoint(), &format!("s3://{BUCKET}/prod"), "shop"])
            .args([segment, target.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(fs::metadata(target).unwrap().len(), 16 << 20);
    }
}

impl Store {
    /// Debian's barman-cloud takes a backup of the server at this port.
    pub(crate) fn barman_backs_up(&self, port: &str, password: &str) {
        let done = Command::new("/usr/bin/barman-cloud-backup")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "require")
            .args(["--endpoint-url", &self.endpoint(), "--immediate-checkpoint"])
            .args(["--host", "127.0.0.1", "--port", port, "--user", "postgres"])
            .args([&format!("s3://{BUCKET}/prod"), "shop"])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if rustix::process::geteuid().is_root() {
        Path::new("/var/cache").to_owned()
    } else {
        named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache"))).unwrap()
    };
    let program = base.join("pgherd/s3s-fs-0.14.1/bin/s3s-fs");
    assert!(program.exists(), "{program:?} is missing: run `cargo xtask setup --stores`");
    program
}
