//! Looks whether there is room before anything is written.
//!
//! Never promises that there still is when it is needed.

use super::RestoreError;
use pgherd_core::units::Bytes;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Fails if one of the file systems has less room than what is to be written into its folders.
pub(super) fn check(needs: &[(&Path, Bytes)]) -> Result<(), RestoreError> {
    let mut devices: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    for (folder, bytes) in needs {
        let failed = |source| RestoreError::Write { path: folder.to_path_buf(), source };
        let device = std::fs::metadata(folder).map_err(failed)?.dev();
        devices.entry(device).or_insert_with(|| (folder.to_path_buf(), 0)).1 += bytes.0;
    }
    for (path, needed) in devices.into_values() {
        let free = free(&path)?;
        if free.0 < needed {
            return Err(RestoreError::NoSpace { path, needed: Bytes(needed), free });
        }
    }
    Ok(())
}

fn free(path: &Path) -> Result<Bytes, RestoreError> {
    let found = rustix::fs::statvfs(path)
        .map_err(|errno| RestoreError::Write { path: path.into(), source: errno.into() })?;
    Ok(Bytes(found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        check(&[(path, Bytes(1)), (path, Bytes(1))]).unwrap();
        let half = Bytes(u64::MAX / 2);
        let refused = check(&[(path, half), (path, half)]).unwrap_err();
        assert!(matches!(refused, RestoreError::NoSpace { .. }), "{refused}");
    }
}
