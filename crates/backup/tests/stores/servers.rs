//! Starts the servers of the contract, each with a folder of its own that goes away with it.
//!
//! Never installs one: `cargo xtask setup --stores` does.

use pgherd_backup::credentials::{Addressing, Azure, Credentials, S3, S3Identity};
use pgherd_backup::destination::{Destination, Endpoint, EndpointUrl, Place, Prefix};
use pgherd_backup::encryption::Keyring;
use pgherd_backup::secret::Secret;
use pgherd_backup::store::{Patience, Store};
use pgherd_core::units::Bytes;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Azurite's only account and its key, which its documentation names.
const AZURITE_ACCOUNT: &str = "devstoreaccount1";
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub(crate) const BUCKET: &str = "backups";
pub(crate) const ACCESS_KEY: &str = "pgherd-access";
pub(crate) const SECRET_KEY: &str = "pgherd-secret";

/// A running server, or a folder.
pub(crate) struct Server {
    pub destination: Destination,
    pub credentials: Credentials,
    /// What the server keeps, or the folder itself.
    pub folder: TempDir,
    /// What its content is encrypted with.
    key: Option<&'static str>,
    process: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Server {
    pub(crate) fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let destination = Destination { place, prefix: Prefix::default(), endpoint: None };
        Self { destination, credentials: Credentials::Folder, folder, key: None, process: None }
    }

    /// Checks keys and signatures, and keeps objects as files.
    pub(crate) fn s3s() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let port = free_port();
        let mut command = Command::new(installed("s3s-fs-0.14.1").join("bin/s3s-fs"));
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
        command.arg(folder.path());
        Self::started(command, folder, s3(&format!("http://127.0.0.1:{port}"), None), keys())
    }

    /// Believes every key, and keeps objects in memory.
    pub(crate) fn moto() -> Self {
        let server = Self::moto_as("http", tempfile::tempdir().unwrap(), &[], None);
        ask(server.authority(), &format!("PUT /{BUCKET} HTTP/1.1"));
        server
    }

    /// The same without a bucket, and behind a certificate of an authority that nobody knows yet.
    pub(crate) fn moto_encrypted() -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let pem = signed.cert.pem();
        std::fs::write(&certificate, &pem).unwrap();
        std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let arguments = ["--ssl-cert", certificate, "--ssl-key", key];
        Self::moto_as("https", folder, &arguments, Some(pem.into()))
    }

    fn moto_as(
        scheme: &str,
        folder: TempDir,
        arguments: &[&str],
        authorities: Option<Vec<u8>>,
    ) -> Self {
        let port = free_port();
        let mut command = python("moto-5.2.5", "moto.server");
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]).args(arguments);
        let url = format!("{scheme}://127.0.0.1:{port}");
        Self::started(command, folder, s3(&url, authorities), keys())
    }

    pub(crate) fn azurite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let modules = installed("azurite-3.37.0").join("node_modules");
        let mut command = Command::new("node");
        command.arg(modules.join("azurite/dist/src/blob/main.js"));
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--location"]);
        command.arg(folder.path());
        let url = format!("http://127.0.0.1:{port}/{AZURITE_ACCOUNT}/{BUCKET}");
        let credentials = Credentials::Azure(Azure::AccountKey(Secret::new(AZURITE_KEY)));
        let destination = Destination::parse(&url).unwrap();
        let server = Self::started(command, folder, destination, credentials);
        create_container(&url);
        server
    }

    fn started(
        mut command: Command,
        folder: TempDir,
        destination: Destination,
        credentials: Credentials,
    ) -> Self {
        let said = std::fs::File::create(folder.path().join(".said")).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let process = Some(process);
        let mut server = Self { destination, credentials, folder, key: None, process };
        server.wait();
        server
    }

    /// Until it answers.
    fn wait(&mut self) {
        let begun = Instant::now();
        let address = self.authority().to_owned();
        while TcpStream::connect(&address).is_err() {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            let said = || std::fs::read_to_string(self.folder.path().join(".said")).unwrap();
            assert!(ended.is_none(), "the server ended: {}", said());
            assert!(begun.elapsed() < Duration::from_mins(2), "it does not answer: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn authority(&self) -> &str {
        self.destination.endpoint.as_ref().unwrap().url.authority()
    }

    pub(crate) fn store(&self) -> Store {
        let store = Store::open(&self.destination, &self.credentials, patience()).unwrap();
        match self.key {
            Some(key) => {
                let keys = Keyring::parse(key.as_bytes()).unwrap();
                store.encrypted(keys, &self.destination.prefix)
            }
            None => store,
        }
    }

    /// The same with everything encrypted.
    pub(crate) fn encrypted(mut self) -> Self {
        self.key = Some("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        self
    }
}

/// The store at this address of a server, or of what stands before one.
pub(crate) fn store_at(authority: &str) -> Store {
    Store::open(&s3(&format!("http://{authority}"), None), &keys(), patience()).unwrap()
}

/// Tests do not wait as long as people do, except on a machine with much else to do.
pub(crate) fn patience() -> Patience {
    Patience { retries: 2, give_up: Duration::from_secs(10), ..Patience::carrying(Bytes(16 << 20)) }
}

pub(crate) fn keys() -> Credentials {
    s3_keys(ACCESS_KEY, SECRET_KEY)
}

pub(crate) fn s3_keys(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::S3(S3 {
        identity: S3Identity::Keys {
            access_key: Secret::new(access_key),
            secret_key: Secret::new(secret_key),
            session_token: None,
        },
        region: None,
        addressing: Addressing::Automatic,
        encryption: None,
    })
}

pub(crate) fn s3(url: &str, authorities: Option<Vec<u8>>) -> Destination {
    let place = Place::S3 { bucket: BUCKET.to_owned() };
    let endpoint = Some(endpoint(url, authorities));
    Destination { place, prefix: Prefix::default(), endpoint }
}

fn endpoint(url: &str, authorities: Option<Vec<u8>>) -> Endpoint {
    Endpoint { url: EndpointUrl::parse(url).unwrap(), authorities }
}

/// Nobody is there, and nobody is given it twice: below the ports that connections get by
/// themselves, and begun elsewhere in each process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 11_000;
    const PORTS: u32 = 20_000;
    let begin = std::process::id().wrapping_mul(64);
    for _ in 0..PORTS {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(FIRST + offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

fn python(name: &str, module: &str) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", installed(name)).args(["-m", module]);
    command
}

/// Where `cargo xtask setup --stores` puts what the contract runs against.
pub(crate) fn installed(name: &str) -> PathBuf {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if rustix::process::geteuid().is_root() {
        Path::new("/var/cache").to_owned()
    } else {
        named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache"))).unwrap()
    };
    let folder = base.join("pgherd").join(name);
    assert!(folder.exists(), "{} is missing: run `cargo xtask setup --stores`", folder.display());
    folder
}

/// Sends a request without a body and expects it to succeed.
fn ask(authority: &str, request: &str) {
    let mut connection = TcpStream::connect(authority).unwrap();
    let rest = "Host: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    connection.write_all(format!("{request}\r\n{rest}").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
}

/// Azurite creates a container only for a signed request.
fn create_container(url: &str) {
    const SIGNED: &str = r#"
        const [url, account, key] = process.argv.slice(1);
        const date = new Date().toUTCString(), version = "2021-12-02";
        const path = new URL(url).pathname;
        const text = ["PUT", "", "", "", "", "", "", "", "", "", "", "", `x-ms-date:${date}`,
            `x-ms-version:${version}`, `/${account}${path}`, "restype:container"].join("\n");
        const hmac = require("crypto").createHmac("sha256", Buffer.from(key, "base64"));
        const signature = hmac.update(text, "utf8").digest("base64");
        const headers = { "x-ms-date": date, "x-ms-version": version,
            Authorization: `SharedKey ${account}:${signature}` };
        fetch(`${url}?restype=container`, { method: "PUT", headers }).then(async answer => {
            if (answer.status !== 201) { console.error(await answer.text()); process.exit(1); }
        });
    "#;
    let done =
        Command::new("node").args(["-e", SIGNED, url, AZURITE_ACCOUNT, AZURITE_KEY]).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
