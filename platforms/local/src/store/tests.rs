//! What the store must survive. Never leaves a process or a folder behind.

use super::*;
use pgherd_core::ports::contract;
use pgherd_core::record::{Revision, WriteId};
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

fn at(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("store.redb")
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    contract::coordinator(&Store::open(&at(&folder)).unwrap()).await;
}

#[test]
fn documents_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&at(&folder)).unwrap();
    assert_eq!(store.document::<String>("name").unwrap(), None);
    store.keep("name", &"first").unwrap();
    store.keep("name", &"second").unwrap();
    drop(store);
    let store = Store::open(&at(&folder)).unwrap();
    assert_eq!(store.document::<String>("name").unwrap().as_deref(), Some("second"));
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let _open = Store::open(&at(&folder)).unwrap();
    let refused = Store::open(&at(&folder)).err().unwrap();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
}

#[test]
fn an_unknown_layout_and_a_foreign_document_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&at(&folder)).unwrap();
    store.keep(RECORD, &"not a record").unwrap();
    assert!(matches!(store.record(), Err(StoreError::Decode { .. })));
    store.keep(FORMAT, &9).unwrap();
    drop(store);
    let refused = Store::open(&at(&folder)).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the store has layout 9, this program knows 1: use a newer pgherd"
    );
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(at(&folder), "scribble".repeat(1000)).unwrap();
    let refused = Store::open(&at(&folder)).err().unwrap();
    assert!(matches!(refused, StoreError::Open { .. }), "{refused}");
}

/// Where the process that is going to be killed writes; see the test below.
const WRITER: &str = "PGHERD_TEST_STORE_WRITER";
const ROUNDS: u64 = 8;

#[test]
fn a_killed_writer_leaves_its_last_acknowledged_record() {
    if let Ok(path) = std::env::var(WRITER) {
        write_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let own = std::env::current_exe().unwrap();
        let mut writer = Command::new(own)
            .args(["store::tests::a_killed_writer_leaves_its_last_acknowledged_record", "--exact"])
            .args(["--nocapture", "--quiet"])
            .env(WRITER, at(&folder))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // Killed at another point of its work each time; what it had in its pipe counts too.
        let enough = acknowledged + 5 + 7 * round;
        let mut revisions = lines.by_ref().map_while(Result::ok).filter_map(|line| revision(&line));
        acknowledged = revisions.find(|revision| *revision >= enough).unwrap();
        writer.kill().unwrap();
        acknowledged = revisions.last().unwrap_or(acknowledged);
        writer.wait().unwrap();

        let found = Store::open(&at(&folder)).unwrap().record().unwrap().unwrap().revision;
        // One more may have reached the disk before it could be acknowledged.
        let expected = [Revision(acknowledged), Revision(acknowledged + 1)];
        assert!(expected.contains(&found), "{found:?} instead of {expected:?}");
        acknowledged = found.0;
    }
}

fn revision(line: &str) -> Option<u64> {
    line.rsplit_once("acknowledged ")?.1.parse().ok()
}

fn write_until_killed(path: &Path) -> ! {
    let store = Store::open(path).unwrap();
    loop {
        let current = store.record().unwrap();
        let next = match &current {
            Some(current) => {
                current.rewritten(WriteId { incarnation: 1, number: current.revision.0 + 1 })
            }
            None => contract::sample(1),
        };
        let revision = next.revision.0;
        assert_eq!(
            store.write_record(&Write::over(current.as_ref(), next)).unwrap(),
            Written::Applied
        );
        writeln!(io::stdout(), "acknowledged {revision}").unwrap();
    }
}
