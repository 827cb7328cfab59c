//! Finds what of a backup is in a folder already, and removes what is not in the backup.
//!
//! Never trusts times: content is compared, by its size and its sum.

use super::RestoreError;
use super::place::{Place, Refusal};
use crate::base::index::{Chunk, Piece};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How much of a chunk is there.
pub(super) enum Kept {
    All,
    Some,
}

/// Looks at all files of a chunk; the buffer is used for reading.
pub(super) fn compare(place: &Place, chunk: &Chunk, plain: &mut Vec<u8>) -> Result<Kept, Refusal> {
    for piece in &chunk.pieces {
        let path = place.of(&piece.path)?;
        // What cannot be read is written anew.
        if !is_there(&path, piece, plain).unwrap_or(false) {
            return Ok(Kept::Some);
        }
    }
    Ok(Kept::All)
}

pub(super) fn is_there(path: &Path, piece: &Piece, plain: &mut Vec<u8>) -> io::Result<bool> {
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).write(true).custom_flags(nofollow).open(path)?;
    let length = file.metadata()?.len();
    if length > piece.size {
        file.set_len(piece.size)?;
    }
    if length < piece.from + u64::from(piece.length) {
        return Ok(false);
    }
    plain.resize(piece.length as usize, 0);
    file.read_exact_at(plain, piece.from)?;
    Ok(crc_fast::crc32_iscsi(plain) == piece.crc32c)
}

/// Makes sure that nothing is written through a link, and that PostgreSQL does not start before
/// everything is as it should be.
pub(super) fn prepare(place: &Place) -> Result<(), RestoreError> {
    let (_, control) = place.control();
    remove(&control)?;
    for root in place.roots() {
        walk(root, root, &mut |path, kind| {
            if kind.is_dir() || kind.is_file() || path == place.data.join("pg_wal") {
                return Ok(());
            }
            remove(path)
        })?;
    }
    Ok(())
}

/// Removes what is not in the backup; says how much that was.
pub(super) fn remove_others(place: &Place, names: &HashSet<Box<str>>) -> Result<u64, RestoreError> {
    let mut removed = 0;
    let spaces = place.tablespaces.iter().map(|(oid, root)| (format!("pg_tblspc/{oid}/"), root));
    for (prefix, root) in std::iter::once((String::new(), &place.data)).chain(spaces) {
        let (so_far, _) = place.control();
        let mut folders = Vec::new();
        walk(root, root, &mut |path, kind| {
            let below = path.strip_prefix(root).unwrap_or(path);
            let name = below.to_str().map(|below| format!("{prefix}{below}"));
            if path == so_far || name.is_some_and(|name| names.contains(name.as_str())) {
                return Ok(());
            }
            removed += 1;
            if kind.is_dir() {
                folders.push(path.to_path_buf());
                return Ok(());
            }
            remove(path)
        })?;
        // The innermost first: what was in them is gone by now.
        for folder in folders.into_iter().rev() {
            let gone = fs::remove_dir(&folder);
            gone.map_err(|source| RestoreError::Write { path: folder, source })?;
        }
    }
    Ok(removed)
}

/// Shows everything below a folder, a folder before what is in it. Links are not followed, but
/// the one of the log is.
fn walk(
    root: &Path,
    folder: &Path,
    show: &mut impl FnMut(&Path, fs::FileType) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::Write { path: folder.to_path_buf(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        show(&path, kind)?;
        let is_log = kind.is_symlink() && path == root.join("pg_wal") && path.is_dir();
        if (kind.is_dir() || is_log) && path.exists() {
            walk(root, &path, show)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RestoreError::Write { path: path.to_path_buf(), source }),
    }
}
