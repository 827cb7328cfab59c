//! Archives of others, and such as nobody would write.
//!
//! Never looks at what is in the files: their sums are not in a tar archive.

use super::*;
use crate::fuzz::block_on;
use pgherd_core::units::Moment;
use std::collections::BTreeMap;
use std::fs;

const BLOCK: usize = 512;
const SUM: std::ops::Range<usize> = 148..156;

/// By Python's module, with which barman writes its archives; and by others.
fn samples() -> Vec<Vec<u8>> {
    let mut python = Vec::new();
    let packed = include_bytes!("samples/python.tar.gz").as_slice();
    Compression::Gzip.reader(packed).unwrap().read_to_end(&mut python).unwrap();
    let mut gnu = tar::Builder::new(Vec::new());
    for (name, kind) in [
        ("base", EntryType::Directory),
        ("base/5/1", EntryType::Regular),
        ("base/link", EntryType::Symlink),
        ("base/link/inside", EntryType::Regular),
        ("global/pg_control", EntryType::Link),
        ("sparse", EntryType::GNUSparse),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        let size = if kind == EntryType::Regular { 3 } else { 0 };
        header.set_size(size);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            gnu.append_link(&mut header, name, "../../outside").unwrap();
        } else {
            gnu.append_data(&mut header, name, b"abc".take(size)).unwrap();
        }
    }
    vec![python, gnu.into_inner().unwrap()]
}

/// Makes the sums of headers right, or nothing behind the first change would be looked at.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (bytes.to_vec(), 0);
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        if header.iter().any(|byte| *byte != 0) {
            header[SUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let size = tar::Header::from_byte_slice(header).entry_size().unwrap_or(0);
        let blocks = usize::try_from(size).unwrap_or(0).div_ceil(BLOCK).min(bytes.len());
        at += BLOCK * (1 + blocks);
    }
    bytes
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn feed(bytes: &[u8]) -> String {
    let folder = crate::fuzz::folder();
    let root = folder.path().join("root");
    let (data, space) = (root.join("data"), root.join("space"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&data).unwrap();
    fs::create_dir(&space).unwrap();
    let tablespaces = BTreeMap::from([(16384, space)]);
    let place = Place { data, tablespaces };
    // Every other archive is taken as it is, and one in four is that of the tablespace.
    let tablespace = (bytes.len() % 4 == 3).then_some(16384);
    let bytes = if bytes.len().is_multiple_of(2) { mended(bytes) } else { bytes.to_vec() };
    let (key, size) = (Key::from_path("data.tar".into()), Bytes(bytes.len() as u64));
    let object = Object { key, size, modified: Moment(0) };
    let found = Found { object, tablespace, compression: Compression::None, number: 0 };
    let unpacked = block_on(async move {
        let (sender, received) = pair();
        let unpacking = tokio::task::spawn_blocking(move || unpack_all(received, &place, &found));
        // It may have seen enough.
        drop(sender.send(Ok(bytes.into())).await);
        drop(sender);
        unpacking.await
    });
    let unpacked = unpacked.unwrap();
    assert_eq!(names(folder.path()), ["root"]);
    assert_eq!(names(&root), ["data", "space"]);
    crate::fuzz::outcome(&unpacked)
}

#[test]
fn fuzzed() {
    crate::fuzz::fuzz(500, samples(), feed);
}

#[test]
fn the_sums_of_what_python_writes_are_right_as_they_are() {
    let python = samples().swap_remove(0);
    assert_eq!(mended(&python), python);
}
