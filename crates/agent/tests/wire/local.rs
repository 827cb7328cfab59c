//! The same conversation over a unix socket, between processes of one machine.
//!
//! Never answers through a path that others may open.

use super::fixtures::*;
use pgherd_agent::durable::Access;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_agent::http::file::Opened;
use pgherd_agent::http::refusal::Refusal;
use pgherd_agent::http::server::{Bounds, Server};
use pgherd_agent::tls::peer::Peer;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

fn serve(path: &Path) -> Running {
    let server = Server::local(path, Access::PRIVATE, Bounds::default()).unwrap();
    Running::start(server, echo(), instance("db-1"), ANYWHERE)
}

#[tokio::test]
async fn a_local_caller_is_its_user_and_the_socket_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let mut server = serve(&path);
    let facts = std::fs::metadata(&path).unwrap();
    assert_eq!(facts.mode() & 0o7777, 0o600);
    let to = Endpoint::Local { path: path.clone() };
    let client = Client::local();
    let user = rustix::process::getuid().as_raw();
    assert_eq!(say(&client, &to, "word").await.caller, format!("local user {user}"));
    assert_eq!(say(&client, &to, "again").await.word, "again");

    server.ask_to_stop();
    server.ended().await;
    assert!(!path.exists());
    let refused: Result<Heard, _> = client.call(&to, "echo", "word", PATIENCE).await;
    assert!(matches!(refused, Err(CallError::Connect { .. })));
}

#[tokio::test]
async fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _server = serve(&path);
    let second = Server::local(&path, Access::PRIVATE, Bounds::default()).err().unwrap();
    let said = pgherd_agent::chain::chain(&second).to_string();
    assert!(said.ends_with("another process answers there"), "{said}");
    let to = Endpoint::Local { path };
    say(&Client::local(), &to, "word").await;
}

#[tokio::test]
async fn a_file_in_the_way_and_a_path_too_long_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    std::fs::write(&path, "somebody's").unwrap();
    assert!(Server::local(&path, Access::PRIVATE, Bounds::default()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
    let long = folder.path().join("x".repeat(120));
    assert!(Server::local(&long, Access::PRIVATE, Bounds::default()).is_err());
    assert!(!long.exists());
}

#[tokio::test]
async fn a_caller_that_stops_reading_loses_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(16 << 20).unwrap();
    let routes = echo().file("wal", move |_: Peer, _| {
        let opened = File::open(&large).and_then(Opened::whole).unwrap();
        async move { Ok::<_, Refusal>(opened) }
    });
    let stall = Duration::from_millis(100);
    let bounds = Bounds { stall, connections: 1, ..Bounds::default() };
    let server = Server::local(&path, Access::PRIVATE, bounds).unwrap();
    let _server = Running::start(server, routes, instance("db-1"), ANYWHERE);
    let mut frozen = UnixStream::connect(&path).await.unwrap();
    frozen.write_all(b"GET /v1/wal/large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    frozen.readable().await.unwrap();

    let (client, to) = (Client::local(), Endpoint::Local { path });
    let admitted = async {
        while client.call::<_, Heard>(&to, "echo", "word", PATIENCE).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, admitted).await.expect("the place of a frozen caller was not given");
}

#[tokio::test]
async fn words_that_are_no_question_end_the_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let _server = serve(&path);
    let huge = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    for words in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", &huge] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let mut said = Vec::new();
        let conversation = async {
            // The server may hang up before it has read all of it.
            let _sent = stream.write_all(words.as_bytes()).await.is_ok();
            let _read = stream.read_to_end(&mut said).await.is_ok();
        };
        timeout(PATIENCE, conversation).await.expect("the server keeps listening to nonsense");
        assert!(!String::from_utf8_lossy(&said).contains(" 200 "));
    }
    say(&Client::local(), &Endpoint::Local { path }, "word").await;
}
