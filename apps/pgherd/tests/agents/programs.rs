//! Agents that are given another program while clients write.
//!
//! Never another program than the one under test, but for bytes that change nothing.

use super::cluster::{ASYNCHRONOUS, Cluster};
use pgherd_agent::http::client::CallError;
use pgherd_agent::http::file::Opened;
use pgherd_agent::http::refusal::Kind;
use pgherd_agent::program::digest;
use pgherd_agent::tls::holder::Holder;
use pgherd_core::names::InstanceName;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const PRESENT: &str = env!("CARGO_BIN_EXE_pgherd");

/// The program under test, and one byte more.
fn other(folder: &Path) -> PathBuf {
    let path = folder.join("pgherd");
    std::fs::copy(PRESENT, &path).unwrap();
    File::options().append(true).open(&path).unwrap().write_all(&[0]).unwrap();
    path
}

fn open(path: &Path) -> Opened {
    File::open(path).and_then(Opened::whole).unwrap()
}

async fn runs(cluster: &Cluster, serial: u32, digest: &str) {
    let is = |executable: &Option<String>| executable.as_deref() == Some(digest);
    let fits = |found: &std::collections::BTreeMap<u32, pgherd_api::agent::Status>| {
        found.get(&serial).is_some_and(|status| is(&status.executable))
    };
    cluster.wait("the other program", fits).await;
}

#[tokio::test]
async fn agents_that_are_given_another_program_keep_postgresql_and_their_office() {
    let mut cluster = Cluster::start(3, ASYNCHRONOUS).await;
    let first = cluster.whole(3).await;
    cluster.sql("create table t (n int primary key)").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = other(folder.path());
    let digest = digest(&program).unwrap();
    let before: Vec<_> = (1..=3).map(|it| (cluster.pid(it), cluster.postmaster(it))).collect();
    let record = cluster.keeper.record().unwrap();

    let done = Cell::new(false);
    let write = async {
        let mut rows = 0;
        while !done.get() {
            cluster.sql(&format!("insert into t values ({rows})")).await.unwrap();
            rows += 1;
        }
        rows
    };
    let give = async {
        let standbys = (1..=3).filter(|serial| *serial != first);
        for serial in standbys.chain([first]) {
            // The agent becomes the other one while its answer is on the way.
            if let Err(error) = cluster.give((serial, &digest), open(&program)).await {
                assert!(matches!(error, CallError::Exchange { .. }), "{error:?}");
            }
            runs(&cluster, serial, &digest).await;
        }
        done.set(true);
    };
    let (rows, ()) = tokio::join!(write, give);
    eprintln!("{rows} rows were written while three agents became another program");
    assert_eq!(cluster.sql("select count(*) from t").await.unwrap(), rows.to_string());
    assert_eq!(cluster.whole(3).await, first);
    let after: Vec<_> = (1..=3).map(|it| (cluster.pid(it), cluster.postmaster(it))).collect();
    assert_eq!(after, before);
    let now = cluster.keeper.record().unwrap();
    assert_eq!((now.epoch, now.holder), (record.epoch, record.holder));

    // Whoever starts the agent again finds the new one in place.
    let standby = if first == 1 { 2 } else { 1 };
    cluster.kill(standby);
    cluster.run(standby);
    cluster.whole(3).await;
    runs(&cluster, standby, &digest).await;
    assert_eq!(cluster.controller(standby), ["pgherd"]);
}

fn refusal(given: Result<(), CallError>) -> (Kind, String) {
    match given.unwrap_err() {
        CallError::Refused { source, .. } => (source.refusal, source.why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_better_program_is_refused_and_leaves_nothing() {
    let cluster = Cluster::start(1, ASYNCHRONOUS).await;
    cluster.whole(1).await;
    let present = digest(Path::new(PRESENT)).unwrap();
    runs(&cluster, 1, &present).await;
    let postmaster = cluster.postmaster(1);
    let folder = tempfile::tempdir().unwrap();
    let words = folder.path().join("words");
    std::fs::write(&words, "no program at all").unwrap();
    let of_words = digest(&words).unwrap();

    let peer = Holder::Instance(InstanceName::new(cluster.name(1).cluster(), 2));
    for holder in [peer, Holder::Record] {
        let client = cluster.client_of(&holder);
        let given = cluster.give_as(&client, (1, &of_words), open(&words)).await;
        let me = cluster.name(1);
        let why = format!("{holder} may not ask the agent of {me} for program: its platform may");
        assert_eq!(refusal(given), (Kind::Forbidden, why));
    }
    let (kind, why) = refusal(cluster.give((1, "abc"), open(&words)).await);
    assert_eq!((kind, why.contains("no SHA-256")), (Kind::Malformed, true), "{why}");
    let (kind, why) = refusal(cluster.give((1, &present), open(&words)).await);
    assert_eq!((kind, why.contains(&of_words)), (Kind::Malformed, true), "{why}");
    let (kind, why) = refusal(cluster.give((1, &of_words), open(&words)).await);
    assert_eq!((kind, why.contains("does not take over")), (Kind::Conflict, true), "{why}");
    let of_true = digest(Path::new("/bin/true")).unwrap();
    let (kind, why) = refusal(cluster.give((1, &of_true), open(Path::new("/bin/true"))).await);
    assert_eq!((kind, &*why), (Kind::Conflict, "it is no program of an agent"));
    let shrinking = open(&words);
    std::fs::write(&words, "no").unwrap();
    cluster.give((1, &of_words), shrinking).await.unwrap_err();

    runs(&cluster, 1, &present).await;
    assert_eq!(cluster.postmaster(1), postmaster);
    // That the last one broke off is noticed at its own time.
    cluster.wait("nothing to be left", |_| cluster.controller(1) == ["pgherd"]).await;
    // Nothing of it is in the way of one that is right.
    let program = other(folder.path());
    let of_program = digest(&program).unwrap();
    drop(cluster.give((1, &of_program), open(&program)).await);
    runs(&cluster, 1, &of_program).await;
    assert_eq!(cluster.postmaster(1), postmaster);
}
