//! What becomes of a dump that somebody else takes for given up.

use super::segments::layout;
use super::servers::{Server, patience};
use jiff::{Span, Timestamp};
use pgherd_backup::dump::{
    Description, DumpError, DumpFile, DumpedFormat, DumpedFrom, DumpedPart, Dumps, Marker, Taking,
};
use pgherd_backup::store::Store;
use pgherd_core::backup::BackupId;
use pgherd_core::units::{SystemId, Timeline};

/// A dump without databases, as far as it is before its end.
async fn begun(dumps: &Dumps) -> (Taking, Description) {
    let id = BackupId::parse("20261122T112233").unwrap();
    let began: Timestamp = "2026-11-22T11:22:33Z".parse().unwrap();
    let until = began.checked_add(Span::new().hours(1)).unwrap();
    let marker = Marker { by: "shop-1".to_owned(), until };
    let taking = dumps.begin(&id, &marker).await.unwrap().unwrap();
    let globals = taking.put_packed(DumpFile::globals(), b"create role app;\n").await.unwrap();
    let from = DumpedFrom {
        instance: "shop-1".to_owned(),
        part: DumpedPart::Standby,
        system: SystemId(7),
        timeline: Timeline(1),
        version: 150_018,
    };
    let description = Description {
        format: 1,
        name: "nightly".to_owned(),
        began,
        ended: began,
        taken_by: "a test".to_owned(),
        from,
        stored_as: DumpedFormat::Custom,
        jobs: 1,
        tables: Vec::new(),
        globals,
        databases: Vec::new(),
    };
    (taking, description)
}

#[tokio::test]
async fn a_dump_that_another_one_removed_is_not_committed() {
    for server in [Server::folder(), Server::s3s()] {
        let store = Store::open(&server.destination, &server.credentials, patience()).unwrap();
        let dumps = Dumps::new(store, layout());
        let (taking, description) = begun(&dumps).await;
        // Nobody else may yet, and whoever takes it has not ended.
        let in_time = "2026-11-22T12:22:32Z".parse().unwrap();
        assert_eq!(dumps.clear("shop-2", in_time).await.unwrap(), []);
        let ahead = "2026-12-31T00:00:00Z".parse().unwrap();
        let cleared = dumps.clear("shop-2", ahead).await.unwrap();
        assert_eq!(cleared, std::slice::from_ref(&taking.id));
        let given_up = taking.commit(&description).await.unwrap_err();
        assert!(matches!(given_up, DumpError::GivenUp { .. }), "{given_up}");
        assert_eq!(dumps.list().await.unwrap().len(), 0, "nobody sees what cannot be restored");

        // Its place is free.
        let (taking, description) = begun(&dumps).await;
        taking.commit(&description).await.unwrap();
        assert_eq!(dumps.list().await.unwrap().len(), 1);
        assert_eq!(dumps.clear("shop-2", ahead).await.unwrap(), []);
        dumps.remove(&taking.id).await.unwrap();
        assert_eq!(dumps.list().await.unwrap().len(), 0);
    }
}
