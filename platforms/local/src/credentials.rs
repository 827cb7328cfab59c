//! Makes the passwords and certificates of a cluster before its first start, and renews what ages.
//!
//! Never puts a secret anywhere but into files that only their readers can open.

use crate::folder::ClusterFolder;
use crate::manifest::{ExternalKeys, Keys};
use pgherd_agent::durable::{self, Access, DurableError};
use pgherd_agent::tls::authority::{Authority, AuthorityError, Wanted};
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::holder::Holder;
use pgherd_api::agent::{ArchiveFile, ExternalFile, Superuser};
use pgherd_core::names::InstanceName;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The passwords every instance has, by the name of their file.
const SECRETS: [&str; 3] = ["replication", "app", "superuser"];
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 32 letters of 6 bits each: 192 bits.
const LENGTH: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("making the folder {path:?}")]
    MakeFolder { path: PathBuf, source: io::Error },
    #[error("drawing a password")]
    Draw { source: io::Error },
    #[error("keeping the password {name:?}")]
    Keep { name: String, source: DurableError },
    #[error("{path:?} is not a password that pgherd has made: remove it to get a new one")]
    Strange { path: PathBuf },
    #[error("opening the cluster's authority")]
    OpenAuthority { source: Box<AuthorityError> },
    #[error("issuing certificates")]
    Issue { source: Box<AuthorityError> },
    #[error("writing what clients check servers with")]
    Publish { source: DurableError },
}

/// Everything that is secret in one cluster, and the means to make more of it.
pub struct Credentials {
    folder: ClusterFolder,
    authority: Authority,
}

impl Credentials {
    /// Those of the cluster, made now if there are none.
    pub fn open(folder: &ClusterFolder, now: SystemTime) -> Result<Self, CredentialsError> {
        make_private(&folder.authority())?;
        make_private(&folder.secrets())?;
        let authority = Authority::open(&folder.authority(), folder.name(), now)
            .map_err(|error| CredentialsError::OpenAuthority { source: Box::new(error) })?;
        let certificate = authority.certificate().as_bytes();
        durable::write(&folder.authority_certificate(), certificate, Access::PUBLIC)
            .map_err(|source| CredentialsError::Publish { source })?;
        for name in SECRETS {
            password(folder, name)?;
        }
        let made = Self { folder: folder.clone(), authority };
        for (holder, path) in [
            (Holder::Record, folder.record_identity()),
            (Holder::Supervisor, folder.supervisor_identity()),
        ] {
            make_private(&path)?;
            let files = IdentityFiles::in_folder(&path);
            made.issue(&[Wanted { holder, files, access: Access::PRIVATE }], now)?;
        }
        Ok(made)
    }

    /// The identity by which the record's keeper is known.
    pub fn record(&self) -> IdentityFiles {
        IdentityFiles::in_folder(&self.folder.record_identity())
    }

    pub fn supervisor(&self) -> IdentityFiles {
        IdentityFiles::in_folder(&self.folder.supervisor_identity())
    }

    /// Makes the folders of an instance and puts into them what is secret.
    pub fn equip(&self, instance: &InstanceName, now: SystemTime) -> Result<(), CredentialsError> {
        let folder = self.folder.instance(instance);
        let places = [
            folder.root().to_owned(),
            folder.run(),
            folder.log(),
            folder.tls(),
            folder.replication_tls(),
            folder.secrets(),
        ];
        for path in &places {
            make_private(path)?;
        }
        for name in SECRETS {
            let secret = password(&self.folder, name)?;
            durable::write(&folder.secrets().join(name), secret.as_bytes(), Access::PRIVATE)
                .map_err(|source| CredentialsError::Keep { name: name.to_owned(), source })?;
        }
        self.issue(&self.wanted(instance), now)
    }

    /// Puts into the folder of an instance what opens the archive, and the one that the cluster
    /// begins with a backup of, and nothing else.
    pub fn equip_archives(
        &self,
        instance: &InstanceName,
        own: &Keys,
        recovery: &Keys,
    ) -> Result<(), CredentialsError> {
        let folder = self.folder.instance(instance);
        equip_archive(&folder.archive(), own)?;
        equip_archive(&folder.recovery(), recovery)
    }

    /// Puts into the folder of an instance what opens the server that the cluster begins as a copy of,
    /// and nothing else.
    pub fn equip_external(
        &self,
        instance: &InstanceName,
        keys: &ExternalKeys,
    ) -> Result<(), CredentialsError> {
        let folder = self.folder.instance(instance).external();
        make_private(&folder)?;
        for file in ExternalFile::ALL {
            let path = folder.join(file.name());
            let keep = |source| CredentialsError::Keep { name: file.name().to_owned(), source };
            let present = durable::read(&path).map_err(keep)?;
            let changed = match keys.get(file) {
                wanted if wanted == present.as_deref() => Ok(()),
                Some(content) => durable::write(&path, content, Access::PRIVATE),
                None => durable::remove(&path),
            };
            changed.map_err(keep)?;
        }
        Ok(())
    }

    /// Renews what runs out soon, of ourselves and of these instances.
    pub fn renew<'a>(
        &self,
        instances: impl Iterator<Item = &'a InstanceName>,
        now: SystemTime,
    ) -> Result<(), CredentialsError> {
        let own = [(Holder::Record, self.record()), (Holder::Supervisor, self.supervisor())];
        let own = own.map(|(holder, files)| Wanted { holder, files, access: Access::PRIVATE });
        let theirs = instances.flat_map(|instance| self.wanted(instance));
        let wanted: Vec<_> = own.into_iter().chain(theirs).collect();
        self.issue(&wanted, now)
    }

    /// Writes the file libpq takes passwords from.
    pub fn write_passfile(
        &self,
        owner: &str,
        superuser: Superuser,
    ) -> Result<(), CredentialsError> {
        let mut lines = self.pass(owner, "app")?;
        match superuser {
            Superuser::Allowed => lines.push_str(&self.pass("postgres", "superuser")?),
            Superuser::Refused => {}
        }
        durable::write(&self.folder.passfile(), lines.as_bytes(), Access::PRIVATE)
            .map_err(|source| CredentialsError::Keep { name: "pgpass".to_owned(), source })
    }

    fn pass(&self, user: &str, secret: &str) -> Result<String, CredentialsError> {
        let secret = password(&self.folder, secret)?;
        let user = user.replace('\\', "\\\\").replace(':', "\\:");
        Ok(format!("127.0.0.1:*:*:{user}:{secret}\n"))
    }

    fn wanted(&self, instance: &InstanceName) -> [Wanted; 2] {
        let folder = self.folder.instance(instance);
        let access = Access::PRIVATE;
        [
            (Holder::Instance(instance.clone()), folder.tls()),
            (Holder::Replication, folder.replication_tls()),
        ]
        .map(|(holder, path)| Wanted {
            holder,
            files: IdentityFiles::in_folder(&path),
            access,
        })
    }

    fn issue(&self, wanted: &[Wanted], now: SystemTime) -> Result<(), CredentialsError> {
        let issued = self.authority.renew(wanted, now);
        issued.map(|_| ()).map_err(|error| CredentialsError::Issue { source: Box::new(error) })
    }
}

fn equip_archive(folder: &Path, keys: &Keys) -> Result<(), CredentialsError> {
    make_private(folder)?;
    let keep = |path: &Path, source| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        CredentialsError::Keep { name, source }
    };
    for file in ArchiveFile::ALL {
        let path = folder.join(file.name());
        let present = durable::read(&path).map_err(|source| keep(&path, source))?;
        let wanted = keys.files().find(|(wanted, _)| *wanted == file);
        let changed = match (present, wanted) {
            (Some(present), Some((_, content))) if present == content => Ok(()),
            (_, Some((_, content))) => durable::write(&path, content, Access::PRIVATE),
            (Some(_), None) if keys.keeps(file) => Ok(()),
            (Some(_), None) => durable::remove(&path),
            (None, None) => Ok(()),
        };
        changed.map_err(|source| keep(&path, source))?;
    }
    Ok(())
}

/// The password of that name, drawn now if there is none.
pub fn password(folder: &ClusterFolder, name: &str) -> Result<String, CredentialsError> {
    let path = folder.secrets().join(name);
    let keep = |source| CredentialsError::Keep { name: name.to_owned(), source };
    if let Some(content) = durable::read(&path).map_err(keep)? {
        let known = String::from_utf8(content).ok().filter(|text| is_password(text));
        return known.ok_or(CredentialsError::Strange { path });
    }
    let drawn = draw()?;
    durable::write(&path, drawn.as_bytes(), Access::PRIVATE).map_err(keep)?;
    Ok(drawn)
}

fn is_password(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| LETTERS.contains(&byte))
}

fn draw() -> Result<String, CredentialsError> {
    let mut bytes = [0_u8; LENGTH];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty());
    let filled = filled.map_err(|error| CredentialsError::Draw { source: error.into() })?;
    if filled != LENGTH {
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(CredentialsError::Draw { source });
    }
    let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 64)));
    Ok(letters.map(|letter| char::from(*letter)).collect())
}

fn make_private(path: &Path) -> Result<(), CredentialsError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => {
            other.map_err(|source| CredentialsError::MakeFolder { path: path.to_owned(), source })
        }
    }
}
