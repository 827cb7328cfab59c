//! Who is believed, who is not, and what happens when certificates change.
//!
//! Never trusts an address: only certificates decide.

use super::fixtures::*;
use pgherd_agent::durable::Access;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_agent::http::refusal::Outcome;
use pgherd_agent::http::server::Bounds;
use pgherd_agent::tls::authority::VALIDITY;
use pgherd_agent::tls::holder::Holder;
use pgherd_agent::tls::identity::Identity;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

async fn try_to_say(client: &Client, to: &Endpoint) -> Result<Heard, CallError> {
    client.call(to, "echo", "word", PATIENCE).await
}

#[tokio::test]
async fn another_clusters_members_are_strangers_in_both_directions() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let server = ours.serve(&instance("db-1"), echo(), Bounds::default()).await;
    // Same names, other authority; once as caller, once as callee.
    let stranger = theirs.client(&instance("db-2"));
    let refused = try_to_say(&stranger, &server.endpoint()).await.unwrap_err();
    assert!(matches!(refused, CallError::Connect { .. }), "{refused}");
    assert_eq!(refused.outcome(), Outcome::NothingHappened);

    // A caller that trusts us, but whom we do not.
    let files = theirs.issue(&instance("db-2"), SystemTime::now());
    std::fs::write(&files.authority, ours.authority.certificate()).unwrap();
    let intruder = Client::certified(Arc::new(Identity::open(files).unwrap()));
    let refused = try_to_say(&intruder, &server.endpoint()).await.unwrap_err();
    assert!(matches!(refused, CallError::Exchange { .. }), "{refused}");
}

#[tokio::test]
async fn an_answer_must_come_from_whom_it_was_asked_of() {
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let client = cluster.client(&instance("db-2"));
    for other in [instance("db-3"), Holder::Record, Holder::Supervisor] {
        let to = Endpoint::Certified { holder: other, address: server.address };
        let refused = try_to_say(&client, &to).await.unwrap_err();
        assert!(matches!(refused, CallError::Connect { .. }), "{refused}");
    }
    try_to_say(&client, &server.endpoint()).await.unwrap();
}

#[tokio::test]
async fn the_replication_login_is_no_peer() {
    let cluster = Cluster::new();
    let files = cluster.issue(&Holder::Replication, SystemTime::now());
    assert!(Identity::open(files.clone()).is_err());

    // Presented all the same, by a program that is not ours.
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let mut tool = std::process::Command::new("openssl");
    tool.args(["s_client", "-quiet", "-verify_return_error", "-connect"])
        .arg(server.address.to_string())
        .arg("-cert")
        .arg(&files.certificate)
        .arg("-key")
        .arg(&files.key)
        .arg("-CAfile")
        .arg(&files.authority)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let Ok(mut tool) = tool.spawn() else { return };
    let ended = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let question = b"POST /v1/echo HTTP/1.1\r\nhost: db-1\r\ncontent-length: 4\r\n\r\n\"hi\"";
        // The server may have hung up already.
        let _sent = tool.stdin.as_mut().unwrap().write_all(question).is_ok();
        tool.wait_with_output().unwrap()
    });
    let output = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[tokio::test]
async fn a_certificate_that_ran_out_is_worth_nothing() {
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let long_ago = SystemTime::now() - VALIDITY - Duration::from_secs(1);
    let files = cluster.issue(&instance("db-2"), long_ago);
    let client = Client::certified(Arc::new(Identity::open(files).unwrap()));
    let refused = try_to_say(&client, &server.endpoint()).await.unwrap_err();
    assert!(matches!(refused, CallError::Exchange { .. }), "{refused}");
}

#[tokio::test]
async fn renewed_certificates_are_taken_up_and_connections_live_on() {
    let cluster = Cluster::new();
    let me = instance("db-2");
    let long_ago = SystemTime::now() - VALIDITY - Duration::from_secs(1);
    let identity = Arc::new(Identity::open(cluster.issue(&me, SystemTime::now())).unwrap());
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let wire = Wire::to(server.address).await;
    let to = server.endpoint_at(wire.address);
    let client = Client::certified(Arc::clone(&identity));
    try_to_say(&client, &to).await.unwrap();

    // Renewed to one that no longer works: only a new connection notices.
    cluster.issue(&me, long_ago);
    try_to_say(&client, &to).await.unwrap();
    assert_eq!(wire.connections(), 1);
    let newcomer = Client::certified(Arc::clone(&identity));
    assert!(try_to_say(&newcomer, &to).await.is_err());

    // And back.
    cluster.issue(&me, SystemTime::now());
    try_to_say(&newcomer, &to).await.unwrap();

    // Half a pair is not taken up.
    let half = cluster.authority.issue(&me, SystemTime::now()).unwrap();
    std::fs::write(cluster.files(&me).certificate, &half.certificate).unwrap();
    try_to_say(&Client::certified(Arc::clone(&identity)), &to).await.unwrap();
    std::fs::write(cluster.files(&me).key, &half.key).unwrap();
    try_to_say(&Client::certified(identity), &to).await.unwrap();
}

#[tokio::test]
async fn a_server_takes_up_its_renewed_certificate() {
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let client = cluster.client(&instance("db-2"));
    try_to_say(&client, &server.endpoint()).await.unwrap();
    // Another authority takes over: the server and a newcomer are told, the client is not.
    let successor = Cluster::new();
    let parts = successor.authority.issue(&instance("db-1"), SystemTime::now()).unwrap();
    cluster.files(&instance("db-1")).write(&parts, Access::PRIVATE).unwrap();
    let newcomer = successor.client(&instance("db-3"));
    try_to_say(&newcomer, &server.endpoint()).await.unwrap();
    try_to_say(&client, &server.endpoint()).await.unwrap();
    assert!(try_to_say(&cluster.client(&instance("db-2")), &server.endpoint()).await.is_err());
}

#[tokio::test]
async fn a_client_without_certificate_asks_nobody_far_away() {
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let refused = try_to_say(&Client::local(), &server.endpoint()).await.unwrap_err();
    assert!(matches!(refused, CallError::Uncertified { .. }));
}
