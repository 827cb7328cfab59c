//! What people are told when a store cannot be used.
//!
//! Never only that it failed.

use super::contract::chain;
use super::servers::{self, ACCESS_KEY, SECRET_KEY, Server};
use bytes::Bytes;
use pgherd_backup::credentials::Credentials;
use pgherd_backup::destination::{Destination, Place, Prefix, ServerName};
use pgherd_backup::layout::{Key, Layout, OwnObject};
use pgherd_backup::store::{Patience, Store};
use std::net::TcpListener;
use std::time::Duration;

fn key() -> Key {
    let server = ServerName::parse("app-db").unwrap();
    Layout::new(&Prefix::default(), &server).own(OwnObject::Probe)
}

/// What is said about writing there. A busy machine may take its time.
async fn said(destination: &Destination, credentials: &Credentials) -> String {
    said_within(Duration::from_mins(1), destination, credentials).await
}

async fn said_within(
    request: Duration,
    destination: &Destination,
    credentials: &Credentials,
) -> String {
    let patience =
        Patience { connect: request, request, retries: 1, give_up: Duration::from_secs(3) };
    let written = match Store::open(destination, credentials, patience) {
        Ok(store) => store.replace(&key(), Bytes::from_static(b"x")).await,
        Err(error) => Err(error),
    };
    chain(&written.unwrap_err())
}

fn holds(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(!said.contains(SECRET_KEY), "{said}");
}

#[tokio::test]
async fn wrong_keys_are_told_apart() {
    let server = Server::s3s();
    let said_with =
        async |access, secret| said(&server.destination, &servers::s3_keys(access, secret)).await;
    holds(&said_with("nobody", SECRET_KEY).await, &["access key is not known"]);
    holds(&said_with(ACCESS_KEY, "wrong").await, &["does not belong to the access key"]);
}

#[tokio::test]
async fn unreachable_silent_and_misspelt_endpoints_are_told_apart() {
    let at = async |url: &str| said(&servers::s3(url, None), &servers::keys()).await;
    let closed = format!("http://127.0.0.1:{}", servers::free_port());
    holds(&at(&closed).await, &["nobody answers", "refused"]);
    holds(&at("http://no-such-host.invalid").await, &["name of the host is not known"]);
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let second = Duration::from_secs(1);
    let said = said_within(second, &servers::s3(&url, None), &servers::keys()).await;
    holds(&said, &["no answer in time"]);
}

#[tokio::test]
async fn certificates_are_checked_and_authorities_are_known_by_the_endpoint() {
    let server = Server::moto_encrypted();
    let trusted = said(&server.destination, &servers::keys()).await;
    holds(&trusted, &["s3://backups", "no such bucket"]);
    let mut destination = server.destination.clone();
    let endpoint = destination.endpoint.as_mut().unwrap();
    endpoint.authorities = None;
    holds(&said(&destination, &servers::keys()).await, &["certificate is not trusted"]);
    let endpoint = destination.endpoint.as_mut().unwrap();
    endpoint.authorities = Some(b"nonsense".to_vec());
    holds(&said(&destination, &servers::keys()).await, &["endpoint's CA cannot be read"]);

    let plain = Server::moto();
    let url = format!("https://{}", plain.authority());
    let said = said(&servers::s3(&url, None), &servers::keys()).await;
    holds(&said, &["does not encrypt"]);
}

#[tokio::test]
async fn folders_that_are_not_there_or_closed_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &std::path::Path| Destination {
        place: Place::Folder(path.to_owned()),
        prefix: Prefix::default(),
        endpoint: None,
    };
    let absent = said(&at(&folder.path().join("absent")), &Credentials::Folder).await;
    holds(&absent, &["no such folder"]);
    let other = said(&at(folder.path()), &servers::keys()).await;
    holds(&other, &["another kind of store"]);
    // A file is in the way: nothing can be created below it, whoever we are.
    std::fs::write(folder.path().join("app-db"), b"").unwrap();
    holds(&said(&at(folder.path()), &Credentials::Folder).await, &["Not a directory"]);
}
