//! Tells whether the disk of the log is full, and of which volumes next to nothing is left.
//!
//! Never counts what is reserved for root. What is decided is decided by the log's disk alone: without room there
//! no server comes up anywhere.

use pgherd_api::agent::{FullVolume, VolumeHolds};
use pgherd_core::units::Bytes;
use rustix::fs::StatVfs;
use std::path::Path;

/// Less than two segments of the default size: the next one may not fit.
const FULL_BELOW: u64 = 32 << 20;

pub(super) fn is_full(data: &Path) -> bool {
    let wal = rustix::fs::statvfs(data.join("pg_wal")).or_else(|_| rustix::fs::statvfs(data));
    wal.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BELOW)
}

/// The volumes on which next to nothing is left: that of the data, and that of the log where it has one of
/// its own.
pub(super) fn full_volumes(data: &Path) -> Vec<FullVolume> {
    let log = data.join("pg_wal");
    // Before there is a data folder it is made beside where it will be.
    let place = [Some(data), data.parent()].into_iter().flatten().find(|it| it.exists());
    let place = place.unwrap_or(data);
    let mut volumes = vec![(VolumeHolds::Data, place)];
    if let (Some(of_data), Some(of_log)) = (device(place), device(&log))
        && of_data != of_log
    {
        volumes.push((VolumeHolds::Log, log.as_path()));
    }
    let looked = volumes.into_iter();
    looked.filter_map(|(holds, path)| full(holds, &rustix::fs::statvfs(path).ok()?)).collect()
}

fn device(path: &Path) -> Option<u64> {
    rustix::fs::stat(path).ok().map(|facts| facts.st_dev)
}

fn full(holds: VolumeHolds, disk: &StatVfs) -> Option<FullVolume> {
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let left = bytes(disk.f_bavail);
    // As df counts it: without what is reserved for root.
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    let size = bytes(used.saturating_add(disk.f_bavail));
    (left < FULL_BELOW).then_some(FullVolume { holds, size: Bytes(size), left: Bytes(left) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_full_when_the_next_segments_may_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = rustix::fs::statvfs(folder.path()).unwrap();
        disk.f_frsize = 4096;
        let blocks = |mib: u64| (mib << 20) / 4096;
        // A twentieth is root's.
        (disk.f_blocks, disk.f_bfree) = (blocks(1000), blocks(50 + 31));
        disk.f_bavail = blocks(31);
        let found = full(VolumeHolds::Log, &disk).unwrap();
        let (size, left) = (Bytes(950 << 20), Bytes(31 << 20));
        assert_eq!(found, FullVolume { holds: VolumeHolds::Log, size, left });
        assert_eq!(found.percent(), 96);
        disk.f_bavail = blocks(32);
        assert_eq!(full(VolumeHolds::Log, &disk), None);
        disk.f_bavail = 0;
        assert_eq!(full(VolumeHolds::Data, &disk).map(|it| it.percent()), Some(100));
    }
}
