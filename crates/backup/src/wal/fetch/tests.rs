//! Objects that claim to be segments.
//!
//! Never a store that fails: what a store does is another matter.

use super::*;
use crate::credentials::Credentials;
use crate::destination::{Destination, ServerName};
use crate::fuzz::block_on;
use crate::layout::Layout;
use crate::store::{Patience, Store};
use crate::wal::Settings;
use pgherd_core::units::SystemId;
use pgherd_core::wal::{Segment, SegmentSize};
use std::fs;

const NAME: &str = "0000000200000001000000A3";
const SYSTEM: SystemId = SystemId(7);

/// What the first byte says, and a whole segment packed that way.
fn samples() -> Vec<Vec<u8>> {
    let size = SegmentSize::new(Size(1 << 20)).unwrap();
    let mut plain = header::tests::page(Segment::parse(NAME).unwrap(), size, SYSTEM);
    plain.resize(1 << 20, 0);
    let packed = |(number, one): (u8, Compression)| {
        let mut packed = vec![number];
        one.pack(&mut plain.as_slice(), &mut packed).unwrap();
        // What is not packed has only its beginning.
        packed.truncate(20_000);
        packed
    };
    (0..).zip(Compression::ALL).map(packed).collect()
}

#[test]
fn fuzzed() {
    let folder = crate::fuzz::folder();
    let destination = Destination::parse(folder.path().to_str().unwrap()).unwrap();
    let patience = Patience::carrying(Size(16 << 20));
    let store = Store::open(&destination, &Credentials::Folder, patience).unwrap();
    let layout = Layout::new(&destination.prefix, &ServerName::parse("fuzzed").unwrap());
    let file = WalFile::parse(NAME).unwrap();
    let target = folder.path().join("fetched");
    let feed = |bytes: &[u8]| {
        let Some((number, packed)) = bytes.split_first() else { return String::new() };
        let compression = Compression::ALL[usize::from(*number) % Compression::ALL.len()];
        let key = layout.wal(file, compression);
        let object = folder.path().join(key.as_str());
        fs::create_dir_all(object.parent().unwrap()).unwrap();
        fs::write(&object, packed).unwrap();
        let settings =
            Settings { compression, system: Some(SYSTEM), memory: Size(64 << 20), processors: 1 };
        let archive = Archive::new(store.clone(), layout.clone(), settings);
        let fetched = block_on(archive.fetch(file, Partials::Never, &target));
        let outcome = crate::fuzz::outcome(&fetched);
        match fetched {
            Ok(fetched) => {
                let content = fs::read(&target).unwrap();
                let size = Size(content.len() as u64);
                assert_eq!(fetched, Fetched::Whole { key, size });
                assert_eq!(Header::read(&content).unwrap().size.bytes(), size);
                fs::remove_file(&target).unwrap();
            }
            Err(WalError::Interrupted) => panic!("the task that unpacks panicked"),
            Err(_) => assert!(!target.exists()),
        }
        fs::remove_file(&object).unwrap();
        let rest: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(rest.len(), 1, "a draft is left: {rest:?}");
        format!("{compression}: {outcome}")
    };
    crate::fuzz::fuzz(300, samples(), feed);
}
