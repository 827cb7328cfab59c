//! Files of the log go through a connection and a store that fail again and again.
//!
//! Never counts how often something was tried: what was said in the end has to be true.

use super::contract::chain;
use super::relay::{Fate, Relay};
use super::segments::{archive, file, layout, mebibytes, segment};
use super::servers::{self, Server};
use pgherd_backup::compression::Compression;
use pgherd_backup::wal::{Fetched, Partials, WalError};

const FILES: u32 = 16;
/// More than fate can spoil in a row.
const ATTEMPTS: u32 = 200;

fn name(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

fn content(number: u32) -> Vec<u8> {
    segment(&name(number), mebibytes(1), u8::try_from(number).unwrap())
}

#[tokio::test]
async fn what_was_said_to_be_stored_is_there_whatever_happened_on_the_way() {
    const FATES: [Fate; 8] = [
        Fate::Refused(500),
        Fate::Refused(503),
        Fate::Refused(429),
        Fate::Refused(403),
        Fate::NotFoundInFront,
        Fate::CutOnTheWay,
        Fate::AnswerLost,
        Fate::AnswerCut,
    ];
    let server = Server::s3s();
    let relay = Relay::spoiling(server.authority(), 50, &FATES);
    let folder = tempfile::tempdir().unwrap();
    let spoiled = archive(servers::store_at(&relay.authority), Compression::Zstd);
    for number in 1..=FILES {
        let path = folder.path().join(name(number));
        std::fs::write(&path, content(number)).unwrap();
        let mut attempts = 0;
        while let Err(error) = spoiled.push(file(&name(number)), &path).await {
            attempts += 1;
            assert!(attempts < ATTEMPTS, "{}", chain(&error));
            assert!(!matches!(error, WalError::Different { .. }), "{}", chain(&error));
        }
    }
    let store = server.store();
    let straight = archive(server.store(), Compression::Zstd);
    let target = folder.path().join("fetched");
    for number in 1..=FILES {
        let fetched = straight.fetch(file(&name(number)), Partials::Never, &target).await.unwrap();
        assert!(matches!(fetched, Fetched::Whole { .. }), "{fetched:?}");
        assert!(std::fs::read(&target).unwrap() == content(number), "{number}");
    }
    let listed = store.folder(&layout().wal_folder(file(&name(1)))).await.unwrap();
    assert_eq!(listed.objects.len(), usize::try_from(FILES).unwrap(), "{listed:?}");
}

#[tokio::test]
async fn what_comes_back_wrong_is_neither_handed_out_nor_the_end_of_the_log() {
    const FATES: [Fate; 7] = [
        Fate::Refused(500),
        Fate::Refused(403),
        Fate::NotFoundInFront,
        Fate::AnswerLost,
        Fate::AnswerCut,
        Fate::BitFlipped,
        Fate::Slow,
    ];
    let server = Server::s3s();
    let relay = Relay::spoiling(server.authority(), 50, &FATES);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("fetched");
    let mut number = 0;
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let straight = archive(server.store(), compression);
        let spoiled = archive(servers::store_at(&relay.authority), compression);
        for _ in 0..4 {
            number += 1;
            let path = folder.path().join(name(number));
            std::fs::write(&path, content(number)).unwrap();
            straight.push(file(&name(number)), &path).await.unwrap();
            let mut attempts = 0;
            let fetched = loop {
                match spoiled.fetch(file(&name(number)), Partials::Never, &target).await {
                    Ok(fetched) => break fetched,
                    Err(error) => {
                        attempts += 1;
                        assert!(attempts < ATTEMPTS, "{}", chain(&error));
                        assert!(!target.exists(), "{}", chain(&error));
                    }
                }
            };
            assert!(matches!(fetched, Fetched::Whole { .. }), "{fetched:?}");
            assert!(std::fs::read(&target).unwrap() == content(number), "{number}");
            std::fs::remove_file(&target).unwrap();
        }
    }
}
