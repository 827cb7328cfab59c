//! Presents one holder's certificate on new connections, and takes up a renewed one by itself.
//!
//! Never drops a connection because a file changed, and never trades a working pair for a broken
//! one.

use super::files::{FilesError, IdentityFiles, Loaded, Parts};
use super::holder::Holder;
use super::{peer, provider};
use crate::chain::chain;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("loading a certificate and its key")]
    Load(#[source] FilesError),
    #[error("the certificate speaks for nobody who takes part in a cluster")]
    Holder(#[source] peer::PeerError),
    #[error("trusting the authority in {path:?}")]
    Trust { path: PathBuf, source: rustls::Error },
    #[error("setting up verification of callers")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    #[error("setting up tls with the certificate in {path:?}")]
    Configure { path: PathBuf, source: rustls::Error },
}

/// A process's certificate, key and trusted authority, kept up to date with its files.
pub struct Identity {
    /// None for one that exists in memory alone.
    files: Option<IdentityFiles>,
    current: Mutex<Current>,
}

struct Current {
    seen: Fingerprint,
    shown: Shown,
}

#[derive(Clone)]
struct Shown {
    holder: Holder,
    server: Arc<ServerConfig>,
    open: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What a file looks like from outside: which one, how long, and since when.
pub(super) type Fingerprint = [Option<(u64, u64, i64, i64)>; 3];

impl Identity {
    pub fn open(files: IdentityFiles) -> Result<Self, IdentityError> {
        // Looked at before it is read: a change in between is then seen as one.
        let seen = fingerprint(&files);
        let shown = show(&files.load().map_err(IdentityError::Load)?, &files)?;
        Ok(Self { files: Some(files), current: Mutex::new(Current { seen, shown }) })
    }

    /// One that is kept in no file, and never renewed.
    pub fn of(parts: &Parts) -> Result<Self, IdentityError> {
        let nowhere = IdentityFiles::in_folder(Path::new("memory"));
        let loaded = Loaded::parse(parts, &nowhere).map_err(IdentityError::Load)?;
        let current = Current { seen: Fingerprint::default(), shown: show(&loaded, &nowhere)? };
        Ok(Self { files: None, current: Mutex::new(current) })
    }

    /// Whom the certificate speaks for.
    pub fn holder(&self) -> Holder {
        self.shown().holder
    }

    /// For the next connection somebody opens to us: callers must show a certificate of the
    /// cluster's authority.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.shown().server
    }

    /// For the next connection from somebody who need not say who it is.
    pub fn open_server(&self) -> Arc<ServerConfig> {
        self.shown().open
    }

    /// For the next connection we open: only the cluster's authority is trusted.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.shown().client
    }

    // Three `stat` calls, a few microseconds beside a handshake's hundreds: no poll, no task.
    fn shown(&self) -> Shown {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = &self.files else { return current.shown.clone() };
        let seen = fingerprint(files);
        if seen != current.seen {
            current.seen = seen;
            let loaded = files.load().map_err(IdentityError::Load);
            match loaded.and_then(|loaded| show(&loaded, files)) {
                Ok(shown) => {
                    info!(holder = %shown.holder, "renewed certificate in use");
                    current.shown = shown;
                }
                // Also the moment between the two renames of a pair: the next one heals it.
                Err(error) => warn!(
                    holder = %current.shown.holder,
                    error = %chain(&error),
                    "changed certificate files not usable yet, keeping the previous ones"
                ),
            }
        }
        current.shown.clone()
    }
}

fn show(loaded: &Loaded, files: &IdentityFiles) -> Result<Shown, IdentityError> {
    let peer = peer::certified(Some(&loaded.chain)).map_err(IdentityError::Holder)?;
    let peer::Peer::Certified(holder) = peer else {
        return Err(IdentityError::Holder(peer::PeerError::NoCertificate));
    };
    let roots = Arc::new(roots(loaded, &files.authority)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .build()
        .map_err(IdentityError::Verifier)?;
    let server = server_config(loaded, verifier, &files.certificate)?;
    let anybody = WebPkiClientVerifier::no_client_auth();
    let open = server_config(loaded, anybody, &files.certificate)?;
    let client = client_config(loaded, roots, &files.certificate)?;
    let (server, open, client) = (Arc::new(server), Arc::new(open), Arc::new(client));
    Ok(Shown { holder, server, open, client })
}

fn roots(loaded: &Loaded, path: &Path) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for authority in &loaded.authorities {
        roots
            .add(authority.clone())
            .map_err(|source| IdentityError::Trust { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

pub(super) fn server_config(
    loaded: &Loaded,
    verifier: Arc<dyn ClientCertVerifier>,
    path: &Path,
) -> Result<ServerConfig, IdentityError> {
    let failed = |source| IdentityError::Configure { path: path.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(loaded.chain.clone(), loaded.key.clone_key())
        .map_err(failed)?;
    // A resumed session would skip the check of a certificate that ran out meanwhile; and
    // connections are kept, so there is nothing to save.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(
    loaded: &Loaded,
    roots: Arc<RootCertStore>,
    path: &Path,
) -> Result<ClientConfig, IdentityError> {
    let failed = |source| IdentityError::Configure { path: path.to_owned(), source };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_client_auth_cert(loaded.chain.clone(), loaded.key.clone_key())
        .map_err(failed)?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

pub(super) fn fingerprint(files: &IdentityFiles) -> Fingerprint {
    [&files.certificate, &files.key, &files.authority].map(|path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()))
    })
}
