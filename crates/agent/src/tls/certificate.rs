//! Presents a certificate that names whatever its owner chose, to callers who need not say who they are.
//!
//! Never proves who a caller is, and never trades a working pair for a broken one.

use super::files::IdentityFiles;
use super::identity::{Fingerprint, IdentityError, fingerprint, server_config};
use crate::chain::chain;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

/// A certificate and its key, kept up to date with their files.
pub struct Certificate {
    files: IdentityFiles,
    current: Mutex<(Fingerprint, Arc<ServerConfig>)>,
}

impl Certificate {
    pub fn open(files: IdentityFiles) -> Result<Self, IdentityError> {
        // Looked at before it is read: a change in between is then seen as one.
        let seen = fingerprint(&files);
        let shown = load(&files)?;
        Ok(Self { files, current: Mutex::new((seen, shown)) })
    }

    /// For the next connection somebody opens to us.
    pub fn server(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = fingerprint(&self.files);
        if seen != current.0 {
            current.0 = seen;
            match load(&self.files) {
                Ok(shown) => {
                    info!(certificate = ?self.files.certificate, "renewed certificate in use");
                    current.1 = shown;
                }
                // Also the moment between the two renames of a pair: the next one heals it.
                Err(error) => warn!(
                    error = %chain(&error),
                    "changed certificate files not usable yet, keeping the previous ones"
                ),
            }
        }
        Arc::clone(&current.1)
    }
}

fn load(files: &IdentityFiles) -> Result<Arc<ServerConfig>, IdentityError> {
    let loaded = files.load().map_err(IdentityError::Load)?;
    let anybody = WebPkiClientVerifier::no_client_auth();
    server_config(&loaded, anybody, &files.certificate).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::super::identity::Identity;
    use super::super::signer::{Leaf, Signer, Subject, Term};
    use super::*;
    use crate::durable::Access;
    use rcgen::ExtendedKeyUsagePurpose;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_certificate_may_name_a_service_and_is_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let files = IdentityFiles::in_folder(folder.path());
        assert!(Certificate::open(files.clone()).is_err(), "nothing is there yet");
        let term = Term { now: SystemTime::now(), length: Duration::from_hours(1) };
        let subject = Subject { common_name: "shop-ca".to_owned(), unit: None };
        let signer = Signer::start(&subject, term).unwrap();
        let write = || {
            let leaf = Leaf {
                common_name: "shop-rw".to_owned(),
                names: Vec::new(),
                purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            };
            files.write(&signer.sign(leaf, term).unwrap(), Access::PRIVATE).unwrap();
        };
        write();
        assert!(Identity::open(files.clone()).is_err(), "it names nobody who takes part");
        let certificate = Certificate::open(files.clone()).unwrap();
        let first = certificate.server();
        assert!(Arc::ptr_eq(&first, &certificate.server()));
        write();
        let second = certificate.server();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::remove_file(&files.key).unwrap();
        assert!(Arc::ptr_eq(&second, &certificate.server()), "the working pair is kept");
    }
}
