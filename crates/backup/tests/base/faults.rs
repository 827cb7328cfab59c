//! Backups and restores through a connection and a store that fail again and again.
//!
//! Never counts how often something was tried: what was said in the end has to be true.

use crate::base::folders::{Fake, Target, back_up, check, id, layout};
use crate::relay::{Fate, Relay};
use crate::servers::{self, Server};
use pgherd_backup::base::{BackupError, Left, Options, Packing, Progress, Request, clear, take};
use pgherd_backup::catalogue::Repository;
use pgherd_backup::restore::Into;
use pgherd_core::units::Bytes;
use tokio::sync::watch;

/// More than fate can spoil in a row.
const ATTEMPTS: u32 = 60;

#[tokio::test]
async fn a_backup_is_whole_or_not_listed_whatever_happens_on_the_way() {
    const FATES: [Fate; 7] = [
        Fate::Refused(500),
        Fate::Refused(503),
        Fate::Refused(403),
        Fate::NotFoundInFront,
        Fate::CutOnTheWay,
        Fate::AnswerLost,
        Fate::AnswerCut,
    ];
    let server = Server::s3s();
    let relay = Relay::spoiling(server.authority(), 15, &FATES);
    let spoiled = servers::store_at(&relay.authority);
    let straight = server.store();
    let (layout, id) = (layout(), id());
    let options = Options { packing: Packing::Lz4, memory: Bytes(48 << 20), ..Options::default() };
    let mut fake = Fake::new();
    for attempt in 1.. {
        assert!(attempt < ATTEMPTS, "no attempt succeeded");
        let request = Request {
            store: &spoiled,
            layout: &layout,
            id: &id,
            name: None,
            by: "test",
            base: None,
            options,
        };
        let progress = watch::Sender::new(Progress::default());
        let taken = take(&request, &mut fake, progress, std::future::pending()).await;
        match taken {
            Ok(_) => break,
            // An earlier attempt could not remove what it had stored.
            Err(BackupError::AlreadyThere(_)) => {}
            Err(error) => assert!(matches!(error, BackupError::Store { .. }), "{error}"),
        }
        // As the agent does when it is there again; what was not stored is not listed then.
        match clear(&spoiled, &layout, &id, "test").await {
            Ok(Left::Listed) => break,
            Ok(Left::Removed | Left::Nothing) | Err(_) => {}
        }
        let listed = straight.is_listed(&layout.backup(&id), &layout.backup_info(&id)).await;
        if listed.unwrap() {
            Target::new().restore(&straight, Into::Empty).await.unwrap();
        }
    }
    let target = Target::new();
    target.restore(&straight, Into::Empty).await.unwrap();
    check(&fake, &target.data(), &target.space());
}

#[tokio::test]
async fn what_comes_back_wrong_is_not_what_postgresql_would_start() {
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
    let mut fake = Fake::new();
    let straight = server.store();
    let options = Options { packing: Packing::Zstd, ..Options::default() };
    back_up(&straight, &mut fake, options).await;
    let relay = Relay::spoiling(server.authority(), 10, &FATES);
    let spoiled = servers::store_at(&relay.authority);
    let target = Target::new();
    for attempt in 1.. {
        assert!(attempt < ATTEMPTS, "no attempt succeeded");
        // What an attempt left is taken as far as it is right.
        if target.restore(&spoiled, Into::Existing).await.is_ok() {
            break;
        }
        assert!(!target.data().join("global/pg_control").exists());
    }
    check(&fake, &target.data(), &target.space());
}

#[tokio::test]
async fn nothing_is_overlooked_because_something_in_front_of_the_store_says_404() {
    let server = Server::s3s();
    let straight = server.store();
    back_up(&straight, &mut Fake::new(), Options::default()).await;
    for spared in ["base", "taker", "list-type"] {
        let relay = Relay::before(server.authority(), move |asked| {
            if asked.path.contains(spared) && asked.method != "HEAD" {
                Fate::Passes
            } else {
                Fate::NotFoundInFront
            }
        });
        let store = servers::store_at(&relay.authority);
        if let Ok(listed) = Repository::new(store.clone(), layout()).list().await {
            assert_eq!(listed.entries.len(), 1, "{spared}");
        }
        let left = clear(&store, &layout(), &id(), "test").await;
        assert!(!matches!(left, Ok(Left::Removed)), "{spared}: {left:?}");
    }
    Target::new().restore(&straight, Into::Empty).await.unwrap();
}
