//! Writes small files so that a crash leaves the old content or the new, never a mixture.
//!
//! Never answers "missing" for a file that is there but cannot be believed.

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A document is a few facts; anything larger is not one of ours.
const DOCUMENT_LIMIT: u64 = 1 << 20;
/// The end of a half-written file's name. With the leading dot nothing of ours mistakes it for
/// the file itself.
const UNFINISHED: &str = ".unfinished";

#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    #[error("writing {path:?} so that it survives a crash")]
    Write { path: PathBuf, source: io::Error },
    #[error("reading {path:?}")]
    Read { path: PathBuf, source: io::Error },
    #[error("removing what an interrupted write left in {folder:?}")]
    Sweep { folder: PathBuf, source: io::Error },
    #[error("writing {path:?} as JSON")]
    Encode { path: PathBuf, source: serde_json::Error },
    #[error(
        "{path:?} cannot be believed, {why}: restore it, or remove it if its facts are known from elsewhere"
    )]
    Corrupt { path: PathBuf, why: Damage },
}

/// Why a document cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is larger than a document can be")]
    TooLarge,
    #[error("it is not a checksummed JSON document ({0})")]
    Unreadable(String),
    #[error("its checksum is {found} where {expected} was written")]
    Checksum { found: String, expected: String },
    #[error("it lacks a fact or has one of another kind ({0})")]
    Shape(String),
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    mode: Mode,
    owner: Option<(Uid, Gid)>,
}

impl Access {
    /// Only the writer's own user (0600).
    pub const PRIVATE: Self = Self { mode: Mode::from_raw_mode(0o600), owner: None };
    /// Everybody may read (0644).
    pub const PUBLIC: Self = Self { mode: Mode::from_raw_mode(0o644), owner: None };
    /// Everybody may read and run it (0755).
    pub(crate) const PROGRAM: Self = Self { mode: Mode::from_raw_mode(0o755), owner: None };

    /// The same, given to another user: a root supervisor writes for an unprivileged agent.
    pub fn owned_by(self, user: u32, group: u32) -> Self {
        Self { owner: Some((Uid::from_raw(user), Gid::from_raw(group))), ..self }
    }

    /// Sets owner and mode of what is at `path`.
    pub(crate) fn apply(self, path: &Path) -> io::Result<()> {
        if let Some((user, group)) = self.owner {
            rustix::fs::chown(path, Some(user), Some(group))?;
        }
        Ok(rustix::fs::chmod(path, self.mode)?)
    }
}

/// Replaces the content of `path`. When this returns, the new content survives a power loss;
/// when it fails or the machine stops, the old content is still there.
pub fn write(path: &Path, content: &[u8], access: Access) -> Result<(), DurableError> {
    write_with(path, access, |mut file| file.write_all(content))
}

/// The same for content that `fill` writes piece by piece.
pub fn write_with(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), DurableError> {
    let attempt = || {
        let unfinished = Unfinished::beside(path)?;
        fill(&unfinished.file)?;
        unfinished.give(access)?;
        unfinished.file.sync_all()?;
        unfinished.draft.publish(path)
    };
    attempt().map_err(|source| DurableError::Write { path: path.to_owned(), source })
}

/// Replaces the content of `path` for every reader at once, and does not wait for the disk: after
/// a power loss it may be the old content or none. For what is written anew before each use.
pub fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), DurableError> {
    let attempt = || {
        let unfinished = Unfinished::beside(path)?;
        (&unfinished.file).write_all(content)?;
        unfinished.give(access)?;
        unfinished.draft.rename(path)
    };
    attempt().map_err(|source| DurableError::Write { path: path.to_owned(), source })
}

/// The content of `path`, or `None` when there is no such file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, DurableError> {
    read_at_most(path, u64::MAX)
}

/// Removes `path` so that it stays removed after a crash; an absent file is fine.
pub fn remove(path: &Path) -> Result<(), DurableError> {
    let gone = match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone.and_then(|()| sync_folder(parent(path)))
        .map_err(|source| DurableError::Write { path: path.to_owned(), source })
}

/// Makes a folder that nobody else may enter, so that it stays after a crash; one that is there is fine.
pub fn create_folder(path: &Path) -> Result<(), DurableError> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.and_then(|()| sync_folder(parent(path))),
    };
    made.map_err(|source| DurableError::Write { path: path.to_owned(), source })
}

/// Removes the half-written files of an interrupted [`write`]. For the start of the only process
/// that writes in `folder`.
pub fn sweep(folder: &Path) -> Result<(), DurableError> {
    let attempt = || {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_unfinished) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    attempt().map_err(|source| DurableError::Sweep { folder: folder.to_owned(), source })
}

/// Writes `document` as `{"crc32c":"...","document":{...}}`; see [`write`].
pub fn save<T: Serialize>(path: &Path, document: &T, access: Access) -> Result<(), DurableError> {
    let encoded = serde_json::to_string(document)
        .map_err(|source| DurableError::Encode { path: path.to_owned(), source })?;
    let checksum = crc32c(encoded.as_bytes());
    let content = format!("{{\"crc32c\":\"{checksum:08x}\",\"document\":{encoded}}}\n");
    write(path, content.as_bytes(), access)
}

/// The document [`save`] wrote, or `None` when there is no such file. A file that is there but
/// damaged is an error: forgetting a promise is how two primaries come about.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DurableError> {
    let corrupt = |why| DurableError::Corrupt { path: path.to_owned(), why };
    let Some(content) = read_at_most(path, DOCUMENT_LIMIT + 1)? else { return Ok(None) };
    if content.len() as u64 > DOCUMENT_LIMIT {
        return Err(corrupt(Damage::TooLarge));
    }
    decode(&content).map(Some).map_err(corrupt)
}

fn read_at_most(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DurableError> {
    let attempt = || {
        let mut content = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut content)?;
        Ok::<_, io::Error>(content)
    };
    match attempt() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DurableError::Read { path: path.to_owned(), source }),
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    crc32c: &'a str,
    // Borrowed as written: the checksum is over these very bytes.
    #[serde(borrow)]
    document: &'a RawValue,
}

fn decode<T: DeserializeOwned>(content: &[u8]) -> Result<T, Damage> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(content).map_err(|error| Damage::Unreadable(error.to_string()))?;
    let found = format!("{:08x}", crc32c(envelope.document.get().as_bytes()));
    if found != envelope.crc32c {
        return Err(Damage::Checksum { found, expected: envelope.crc32c.to_owned() });
    }
    serde_json::from_str(envelope.document.get()).map_err(|error| Damage::Shape(error.to_string()))
}

/// A file that is being written; it goes away unless it is published.
pub(crate) struct Unfinished {
    pub(crate) draft: Draft,
    pub(crate) file: File,
}

/// Its name, until it gets the one it is meant for.
pub(crate) struct Draft(PathBuf);

impl Unfinished {
    pub(crate) fn beside(target: &Path) -> io::Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let name = target
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let own = std::process::id();
        let path = parent(target).join(format!(".{name}.{own}.{serial}{UNFINISHED}"));
        let file = match create(&path) {
            // This process never uses a name twice, so a dead one with our process id left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(&path)?;
                create(&path)?
            }
            other => other?,
        };
        Ok(Self { draft: Draft(path), file })
    }

    fn give(&self, access: Access) -> io::Result<()> {
        if let Some((user, group)) = access.owner {
            rustix::fs::fchown(self.file.as_fd(), Some(user), Some(group))?;
        }
        // After the owner, because a change of owner drops bits; and not from the umask.
        rustix::fs::fchmod(self.file.as_fd(), access.mode)?;
        Ok(())
    }
}

impl Draft {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it its name so that it has it after a loss of power, too. Its content has to be on
    /// the disk before.
    pub(crate) fn publish(self, target: &Path) -> io::Result<()> {
        self.rename(target)?;
        sync_folder(parent(target))
    }

    fn rename(self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.0, target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing left under this name; a failed removal leaves what
        // `sweep` removes.
        let _absent = rustix::fs::unlinkat(rustix::fs::CWD, &self.0, AtFlags::empty());
    }
}

fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?))
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// CRC-32C (Castagnoli), reflected, one table look-up per byte: documents are small.
pub fn crc32c(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |crc, byte| {
        let low = (crc ^ u32::from(*byte)).to_le_bytes();
        let entry = low.first().and_then(|low| CRC32C.get(usize::from(*low)));
        crc >> 8 ^ entry.copied().unwrap_or_default()
    })
}

const CRC32C: [u32; 256] = crc32c_table();

#[expect(clippy::indexing_slicing, reason = "a constant: an index out of range fails the build")]
const fn crc32c_table() -> [u32; 256] {
    const REFLECTED_POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut table = [0; 256];
    let mut index = 0_u32;
    while index < 256 {
        let mut entry = index;
        let mut bit = 0;
        while bit < 8 {
            entry = if entry & 1 == 1 { entry >> 1 ^ REFLECTED_POLYNOMIAL } else { entry >> 1 };
            bit += 1;
        }
        table[index as usize] = entry;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Promise {
        epoch: u64,
        to: String,
    }

    fn promise(epoch: u64) -> Promise {
        Promise { epoch, to: "db-2".to_owned() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        // The check value of CRC-32C, and RFC 3720 B.4's first two.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn documents_read_back_and_absent_ones_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promise.json");
        assert_eq!(load::<Promise>(&path).unwrap(), None);
        for epoch in [4, 5] {
            save(&path, &promise(epoch), Access::PRIVATE).unwrap();
            assert_eq!(load(&path).unwrap(), Some(promise(epoch)));
        }
        assert_eq!(names(folder.path()), ["promise.json"]);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(load::<Promise>(&path).unwrap(), None);
    }

    #[test]
    fn a_replaced_file_is_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgresql.conf");
        for content in ["port = 1", "port = 22"] {
            replace(&path, content.as_bytes(), Access::PRIVATE).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        }
        assert_eq!(names(folder.path()), ["postgresql.conf"]);
    }

    #[test]
    fn the_file_is_json_that_people_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promise.json");
        save(&path, &promise(4), Access::PRIVATE).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        expect_test::expect![[r#"
            {"crc32c":"06af0932","document":{"epoch":4,"to":"db-2"}}
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn mode_and_owner_are_set_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
        let own = Access::PRIVATE.owned_by(user.as_raw(), group.as_raw());
        for (access, mode) in [(Access::PRIVATE, 0o600), (Access::PUBLIC, 0o644), (own, 0o600)] {
            write(&path, b"secret", access).unwrap();
            let facts = std::fs::metadata(&path).unwrap();
            assert_eq!(facts.mode() & 0o7777, mode);
            assert_eq!((facts.uid(), facts.gid()), (user.as_raw(), group.as_raw()));
        }
    }

    #[test]
    fn root_writes_for_an_unprivileged_user() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, b"secret", Access::PRIVATE.owned_by(65_534, 65_533)).unwrap();
        let facts = std::fs::metadata(&path).unwrap();
        assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (65_534, 65_533, 0o600));
    }

    #[test]
    fn a_crash_after_any_step_leaves_the_old_document_or_the_new_one() {
        let new = {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("promise.json");
            save(&path, &promise(5), Access::PRIVATE).unwrap();
            std::fs::read(&path).unwrap()
        };
        // Written so far, in bytes; then with its mode and on disk; then under its own name.
        let stages = new.len() + 2;
        for stage in 0..=stages {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("promise.json");
            save(&path, &promise(4), Access::PRIVATE).unwrap();

            let unfinished = Unfinished::beside(&path).unwrap();
            let written = stage.min(new.len());
            if stage <= new.len() {
                (&unfinished.file).write_all(&new[..written]).unwrap();
            } else {
                (&unfinished.file).write_all(&new).unwrap();
                unfinished.give(Access::PRIVATE).unwrap();
            }
            if stage == stages {
                std::fs::rename(unfinished.draft.path(), &path).unwrap();
            }
            // A dead process runs no destructor.
            std::mem::forget(unfinished);

            let expected = if stage == stages { promise(5) } else { promise(4) };
            assert_eq!(load(&path).unwrap(), Some(expected), "after stage {stage}");
            sweep(folder.path()).unwrap();
            assert_eq!(names(folder.path()), ["promise.json"], "after stage {stage}");
            save(&path, &promise(6), Access::PRIVATE).unwrap();
            assert_eq!(load(&path).unwrap(), Some(promise(6)), "after stage {stage}");
        }
    }

    #[test]
    fn what_a_dead_process_with_our_id_left_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promise.json");
        let own = std::process::id();
        // Other tests of this process draw from the same serials: leave every name near.
        for serial in 0..4096 {
            let left = format!(".promise.json.{own}.{serial}{UNFINISHED}");
            std::fs::write(folder.path().join(left), b"{\"crc").unwrap();
        }
        save(&path, &promise(4), Access::PRIVATE).unwrap();
        assert_eq!(load(&path).unwrap(), Some(promise(4)));
        sweep(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["promise.json"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in the way: everything works up to the rename.
        let path = folder.path().join("promise.json");
        std::fs::create_dir(&path).unwrap();
        let refused = save(&path, &promise(4), Access::PRIVATE).unwrap_err();
        assert!(matches!(refused, DurableError::Write { .. }), "{refused}");
        assert_eq!(names(folder.path()), ["promise.json"]);
        let refused = save(Path::new("/"), &promise(4), Access::PRIVATE).unwrap_err();
        assert!(matches!(refused, DurableError::Write { .. }), "{refused}");
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promise.json");
        save(&path, &promise(4), Access::PRIVATE).unwrap();
        let whole = std::fs::read(&path).unwrap();
        // The last byte is the line end, which carries nothing.
        for length in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = load::<Promise>(&path).unwrap_err();
            assert!(matches!(error, DurableError::Corrupt { .. }), "{length} bytes: {error}");
        }
        let document = whole.len() - 2;
        for (at, bit) in (0..document).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, &damaged).unwrap();
            assert!(load::<Promise>(&path).is_err(), "bit {bit} of byte {at} was not noticed");
        }
    }

    #[test]
    fn damage_says_what_and_how_to_fix_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promise.json");
        let said = |content: &str| {
            std::fs::write(&path, content).unwrap();
            match load::<Promise>(&path).unwrap_err() {
                DurableError::Corrupt { why, .. } => why.to_string(),
                other => panic!("{other}"),
            }
        };
        let checksum = format!("{:08x}", crc32c(b"{}"));
        expect_test::expect![[r"
            it is not a checksummed JSON document (EOF while parsing a value at line 1 column 0)
            its checksum is 297bd0aa where 00000000 was written
            it lacks a fact or has one of another kind (missing field `epoch` at line 1 column 2)
            it is larger than a document can be"]]
        .assert_eq(
            &[
                said(""),
                said(r#"{"crc32c":"00000000","document":{}}"#),
                said(&format!(r#"{{"crc32c":"{checksum}","document":{{}}}}"#)),
                said(&" ".repeat(2 << 20)),
            ]
            .join("\n"),
        );
    }
}
