//! Fetching a file from a peer, and sending it one: whole, or an error.
//!
//! Never takes a part for the whole.

use super::fixtures::*;
use pgherd_agent::http::client::CallError;
use pgherd_agent::http::file::{Opened, Received};
use pgherd_agent::http::refusal::{Kind, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::Bounds;
use pgherd_agent::tls::peer::Peer;
use std::fs::File;
use std::path::{Path, PathBuf};

const SEGMENT: usize = 16 << 20;

fn segments(folder: &Path) -> Routes {
    let folder = PathBuf::from(folder);
    echo().file("wal", move |_: Peer, name: String| {
        let opened = File::open(folder.join(&name)).and_then(Opened::whole);
        async move { opened.map_err(|_| Refusal::new(Kind::Absent, format!("no segment {name}"))) }
    })
}

#[tokio::test]
async fn a_file_arrives_whole_and_the_connection_is_kept() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..SEGMENT).map(|at| at.to_le_bytes()[at % 3]).collect();
    std::fs::write(folder.path().join("000000010000000000000001"), &content).unwrap();
    std::fs::write(folder.path().join("00000002.history"), "").unwrap();
    let server = cluster.serve(&instance("db-1"), segments(folder.path()), Bounds::default()).await;
    let wire = Wire::to(server.address).await;
    let to = server.endpoint_at(wire.address);
    let client = cluster.client(&instance("db-2"));
    for (name, expected) in [
        ("wal/000000010000000000000001", content.as_slice()),
        ("wal/00000002.history", &[]),
        ("wal/000000010000000000000001", &content),
    ] {
        let mut sink = Vec::new();
        let limit = SEGMENT as u64;
        let received = client.download((&to, name), limit, PATIENCE, &mut sink).await.unwrap();
        assert_eq!(received, expected.len() as u64);
        assert!(sink == expected, "{name} differs");
    }
    say(&client, &to, "after").await;
    assert_eq!(wire.connections(), 1);
}

#[tokio::test]
async fn absent_oversized_and_outside_files_are_refused() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large"), vec![0; 1001]).unwrap();
    let server = cluster.serve(&instance("db-1"), segments(folder.path()), Bounds::default()).await;
    let to = server.endpoint();
    let client = cluster.client(&instance("db-2"));
    let mut told = Vec::new();
    for name in ["wal/absent", "wal/large", "wal/..", "wal/%2e%2e", "wal/", "wal", "echo/x"] {
        let mut sink = Vec::new();
        let error = client.download((&to, name), 1000, PATIENCE, &mut sink).await.unwrap_err();
        assert!(sink.is_empty(), "{name}");
        told.push(match error {
            CallError::Refused { source, .. } => format!("{name}: {source}"),
            CallError::TooLarge { limit, .. } => format!("{name}: more than {limit}"),
            other => panic!("{other}"),
        });
    }
    expect_test::expect![[r#"
        wal/absent: no segment absent
        wal/large: more than 1000
        wal/..: ".." is not a file's name
        wal/%2e%2e: "%2e%2e" is not a file's name
        wal/: "" is not a file's name
        wal: nothing is answered at "/v1/wal"
        echo/x: nothing is answered at "/v1/echo/x""#]]
    .assert_eq(&told.join("\n"));
}

#[tokio::test]
async fn a_file_that_shrinks_on_its_way_is_an_error() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segment");
    std::fs::write(&path, vec![7; 1000]).unwrap();
    let routes = Routes::default().file("wal", move |_: Peer, _| {
        let opened = Opened::whole(File::open(&path).unwrap()).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(500).unwrap();
        async move { Ok::<_, Refusal>(opened) }
    });
    let server = cluster.serve(&instance("db-1"), routes, Bounds::default()).await;
    let client = cluster.client(&instance("db-2"));
    let mut sink = Vec::new();
    let to = server.endpoint();
    let error = client.download((&to, "wal/segment"), 1000, PATIENCE, &mut sink).await.unwrap_err();
    assert!(matches!(error, CallError::Exchange { .. }), "{error}");
}

fn storage(folder: &Path) -> Routes {
    let folder = PathBuf::from(folder);
    echo().take("program", move |_: Peer, name: String, sent: Received| {
        let path = folder.join(name);
        async move {
            let mut file = tokio::fs::File::create(path).await.unwrap();
            sent.into(&mut file, SEGMENT as u64).await.map(drop)
        }
    })
}

#[tokio::test]
async fn a_file_that_is_sent_arrives_whole_or_is_refused() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let server = cluster.serve(&instance("db-1"), storage(folder.path()), Bounds::default()).await;
    let (to, client) = (server.endpoint(), cluster.client(&instance("db-2")));
    let source = folder.path().join("source");
    let open = || File::open(&source).and_then(Opened::whole).unwrap();
    for length in [0, 1, SEGMENT] {
        let content: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[at % 3]).collect();
        std::fs::write(&source, &content).unwrap();
        client.upload((&to, "program/sent"), open(), PATIENCE).await.unwrap();
        assert!(std::fs::read(folder.path().join("sent")).unwrap() == content, "{length}");
    }
    let refusals = ["program/../x", "nothing/x", "program"].map(|name| {
        std::fs::write(&source, "little").unwrap();
        (name, open())
    });
    let mut told = Vec::new();
    for (name, file) in refusals {
        let error = client.upload((&to, name), file, PATIENCE).await.unwrap_err();
        let CallError::Refused { source, .. } = error else { panic!("{error}") };
        told.push(format!("{name}: {source}"));
    }
    expect_test::expect![[r#"
        program/../x: "../x" is not a file's name
        nothing/x: nothing is answered at "/v1/nothing/x"
        program: nothing is answered at "/v1/program""#]]
    .assert_eq(&told.join("\n"));
    File::create(&source).unwrap().set_len(SEGMENT as u64 + 1).unwrap();
    client.upload((&to, "program/large"), open(), PATIENCE).await.unwrap_err();
    assert_eq!(say(&client, &to, "after").await.word, "after");
}
