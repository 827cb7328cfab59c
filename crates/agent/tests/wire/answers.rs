//! Questions, answers, refusals and deadlines between certified peers.
//!
//! Never looks inside: what counts is what an asker is told.

use super::fixtures::*;
use pgherd_agent::http::client::CallError;
use pgherd_agent::http::refusal::{Kind, Outcome, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::Bounds;
use pgherd_agent::tls::peer::Peer;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_answerer_is_told_who_asks_and_the_connection_is_kept() {
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let wire = Wire::to(server.address).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint_at(wire.address);
    for word in ["one", "two", "three"] {
        let expected = Heard { caller: "db-2".to_owned(), word: word.to_owned() };
        assert_eq!(say(&client, &to, word).await, expected);
    }
    assert_eq!(wire.connections(), 1);
}

#[tokio::test]
async fn a_held_connection_is_given_up_and_the_next_question_gets_a_new_one() {
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let wire = Wire::to(server.address).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint_at(wire.address);
    say(&client, &to, "before").await;

    wire.hold.send_replace(true);
    let unanswered: Result<Heard, _> = client.call(&to, "echo", "lost", SOON).await;
    let error = unanswered.unwrap_err();
    assert!(matches!(error, CallError::AnswerLate { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    let unconnected: Result<Heard, _> = client.call(&to, "echo", "lost", SOON).await;
    let error = unconnected.unwrap_err();
    assert!(matches!(error, CallError::ConnectLate { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NothingHappened);

    wire.hold.send_replace(false);
    assert_eq!(say(&client, &to, "after").await.word, "after");
    assert_eq!(wire.connections(), 3);
}

#[tokio::test]
async fn a_question_does_not_wait_for_another_one() {
    let cluster = Cluster::new();
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let routes = echo().call("wait", move |_: Peer, (): ()| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Refusal>("done".to_owned())
        }
    });
    let server = cluster.serve(&instance("db-1"), routes, Bounds::default()).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint();
    let slow = client.call::<_, String>(&to, "wait", &(), PATIENCE);
    let quick = async {
        say(&client, &to, "quick").await;
        release.add_permits(1);
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!(slow.unwrap(), "done");
}

#[tokio::test]
async fn a_dropped_question_closes_its_connection() {
    let cluster = Cluster::new();
    let routes = echo().call("never", |_: Peer, (): ()| std::future::pending::<Result<(), _>>());
    let server = cluster.serve(&instance("db-1"), routes, Bounds::default()).await;
    let wire = Wire::to(server.address).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint_at(wire.address);
    say(&client, &to, "before").await;
    let dropped = client.call::<_, ()>(&to, "never", &(), PATIENCE);
    assert!(timeout(SOON, dropped).await.is_err());
    say(&client, &to, "after").await;
    assert_eq!(wire.connections(), 2);
}

#[tokio::test]
async fn refusals_arrive_with_their_reason() {
    let cluster = Cluster::new();
    let routes = echo()
        .call("stale", |_: Peer, (): ()| async {
            Err::<(), _>(Refusal::new(Kind::Conflict, "epoch 4 is over, this is epoch 5"))
        })
        .call("never", |_: Peer, (): ()| std::future::pending::<Result<(), _>>());
    let bounds = Bounds { body: 100, answer: SOON, ..Bounds::default() };
    let server = cluster.serve(&instance("db-1"), routes, bounds).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint();
    let mut told = Vec::new();
    let long = "x".repeat(200);
    for (name, question) in [
        ("stale", serde_json::json!(null)),
        ("nothing", serde_json::json!(null)),
        ("echo", serde_json::json!(7)),
        ("echo", serde_json::json!(long)),
        ("never", serde_json::json!(null)),
    ] {
        let answer: Result<Heard, _> = client.call(&to, name, &question, PATIENCE).await;
        let CallError::Refused { source, .. } = answer.unwrap_err() else {
            panic!("{name} was not refused");
        };
        told.push(format!("{:?}, {:?}: {source}", source.refusal, source.outcome()));
    }
    expect_test::expect![[r#"
        Conflict, NothingHappened: epoch 4 is over, this is epoch 5
        Absent, NothingHappened: nothing is answered at "/v1/nothing"
        Malformed, NothingHappened: echo: invalid type: integer `7`, expected a string at line 1 column 1
        TooLarge, NothingHappened: more than 100 bytes were sent
        Late, Unknown: no answer within 1s"#]]
    .assert_eq(&told.join("\n"));
}

#[tokio::test]
async fn an_answer_of_another_shape_is_an_error_and_not_a_guess() {
    #[derive(Debug, Deserialize)]
    struct Other {
        #[expect(dead_code, reason = "only its absence counts")]
        other: u64,
    }
    let cluster = Cluster::new();
    let server = cluster.serve(&instance("db-1"), echo(), Bounds::default()).await;
    let client = cluster.client(&instance("db-2"));
    let answer: Result<Other, _> = client.call(&server.endpoint(), "echo", "word", PATIENCE).await;
    assert!(matches!(answer, Err(CallError::Decode { .. })));
}

#[tokio::test]
async fn silent_callers_and_idle_connections_are_closed() {
    let cluster = Cluster::new();
    let bounds = Bounds { handshake: SOON, idle: SOON, ..Bounds::default() };
    let server = cluster.serve(&instance("db-1"), echo(), bounds).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let ended = timeout(PATIENCE, silent.read_u8()).await.expect("the server keeps it");
    assert!(ended.is_err());

    let wire = Wire::to(server.address).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint_at(wire.address);
    say(&client, &to, "one").await;
    let mut hang_ups = wire.hang_ups.subscribe();
    let closed = timeout(PATIENCE, hang_ups.wait_for(|count| *count == 1)).await;
    closed.expect("the server keeps it").unwrap();
    say(&client, &to, "two").await;
    assert_eq!(wire.connections(), 2);
}

#[tokio::test]
async fn callers_beyond_the_bound_are_turned_away_and_come_back_later() {
    let cluster = Cluster::new();
    let bounds = Bounds { connections: 2, ..Bounds::default() };
    let server = cluster.serve(&instance("db-1"), echo(), bounds).await;
    let to = server.endpoint();
    let [first, second, third] =
        ["db-2", "db-3", "db-4"].map(|name| cluster.client(&instance(name)));
    say(&first, &to, "one").await;
    say(&second, &to, "two").await;
    let refused: Result<Heard, _> = third.call(&to, "echo", "three", PATIENCE).await;
    assert_eq!(refused.unwrap_err().outcome(), Outcome::NothingHappened);
    say(&first, &to, "still there").await;

    drop(second);
    let admitted = async {
        while third.call::<_, Heard>(&to, "echo", "three", PATIENCE).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, admitted).await.expect("the freed place was not given");
}

#[tokio::test]
async fn a_stopping_server_finishes_its_answers_and_takes_no_more() {
    let cluster = Cluster::new();
    let (started, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (entered, gate) = (Arc::clone(&started), Arc::clone(&release));
    let routes = Routes::default().call("wait", move |_: Peer, (): ()| {
        entered.add_permits(1);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Refusal>("done".to_owned())
        }
    });
    let bounds = Bounds { stop: PATIENCE, ..Bounds::default() };
    let mut server = cluster.serve(&instance("db-1"), routes, bounds).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint();
    let asking = client.call::<_, String>(&to, "wait", &(), PATIENCE);
    let stopping = async {
        started.acquire().await.unwrap().forget();
        server.ask_to_stop();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        release.add_permits(1);
        server.ended().await;
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert_eq!(answer.unwrap(), "done");
    let refused: Result<String, _> = client.call(&to, "wait", &(), PATIENCE).await;
    assert!(matches!(refused, Err(CallError::Connect { .. })));
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_answers_without_end() {
    let cluster = Cluster::new();
    let started = Arc::new(Semaphore::new(0));
    let entered = Arc::clone(&started);
    let routes = Routes::default().call("never", move |_: Peer, (): ()| {
        entered.add_permits(1);
        std::future::pending::<Result<(), _>>()
    });
    let bounds = Bounds { stop: SOON, ..Bounds::default() };
    let mut server = cluster.serve(&instance("db-1"), routes, bounds).await;
    let client = cluster.client(&instance("db-2"));
    let to = server.endpoint();
    let asking = client.call::<_, ()>(&to, "never", &(), PATIENCE);
    let stopping = async {
        started.acquire().await.unwrap().forget();
        server.ask_to_stop();
        server.ended().await;
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert!(matches!(answer, Err(CallError::Exchange { .. })));
}
