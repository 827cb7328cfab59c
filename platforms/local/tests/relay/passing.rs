//! An undisturbed relay is a wire.
//!
//! Never notices what the bytes are.

use super::fixtures::*;
use pgherd_local::relay::Relay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn words_go_both_ways_on_many_connections() {
    let line = Line::new().await;
    let mut pairs = Vec::new();
    for _ in 0..50 {
        pairs.push(line.connect().await);
    }
    for (at, (near, far)) in pairs.iter_mut().enumerate() {
        let (question, answer) = (format!("question {at}"), format!("answer {at}"));
        say(near, &question).await;
        hear(far, &question).await;
        say(far, &answer).await;
        hear(near, &answer).await;
    }
    assert_eq!(line.relay.connections(), 50);
    drop(pairs);
    line.has_connections(0).await;
}

#[tokio::test]
async fn a_large_transfer_arrives_unchanged_both_ways_at_once() {
    let line = Line::new().await;
    let (near, far) = line.connect().await;
    let content: Vec<u8> =
        (0..20_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    let (mut near_out, mut near_in) = near.into_split();
    let (mut far_out, mut far_in) = far.into_split();
    let (mut there, mut back) = (Vec::new(), Vec::new());
    let send_there = async {
        near_in.write_all(&content).await.unwrap();
        near_in.shutdown().await.unwrap();
    };
    let send_back = async {
        far_in.write_all(&content).await.unwrap();
        far_in.shutdown().await.unwrap();
    };
    let exchange = async {
        tokio::join!(
            send_there,
            send_back,
            near_out.read_to_end(&mut back),
            far_out.read_to_end(&mut there)
        )
    };
    let ((), (), received_back, received_there) = soon("the transfer", exchange).await;
    assert_eq!(received_back.unwrap() + received_there.unwrap(), 2 * content.len());
    assert!(there == content && back == content);
    line.has_connections(0).await;
}

#[tokio::test]
async fn a_half_close_is_passed_on_and_the_other_half_lives() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    say(&mut near, "last word").await;
    near.shutdown().await.unwrap();
    hear(&mut far, "last word").await;
    hears_the_end(&mut far).await;
    say(&mut far, "answer").await;
    hear(&mut near, "answer").await;
    drop(far);
    hears_the_end(&mut near).await;
    line.has_connections(0).await;
}

#[tokio::test]
async fn a_reset_is_passed_on_as_one() {
    let line = Line::new().await;
    let (near, mut far) = line.connect().await;
    break_off(near);
    is_reset(&mut far).await;
    let (mut near, far) = line.connect().await;
    break_off(far);
    is_reset(&mut near).await;
    line.has_connections(0).await;
}

#[tokio::test]
async fn callers_beyond_the_limit_are_reset_and_freed_places_are_given() {
    let line = Line::limited(2).await;
    let (_first, _) = line.connect().await;
    let second = line.connect().await;
    is_reset(&mut line.dial().await).await;
    drop(second);
    line.has_connections(1).await;
    let (mut near, mut far) = line.connect().await;
    say(&mut near, "word").await;
    hear(&mut far, "word").await;
}

#[tokio::test]
async fn a_target_that_is_down_resets_the_caller() {
    let Line { relay, target } = Line::new().await;
    let address = target.local_addr().unwrap();
    drop(target);
    is_reset(&mut dial(relay.address()).await).await;
    // And it may come back.
    let line = Line { relay, target: TcpListener::bind(address).await.unwrap() };
    line.connect().await;
}

#[tokio::test]
async fn a_dropped_relay_closes_its_connections_and_its_port() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    let address = line.relay.address();
    drop(line.relay);
    hears_the_end(&mut near).await;
    hears_the_end(&mut far).await;
    assert!(TcpStream::connect(address).await.is_err());
    let again = Relay::start(address, line.target.local_addr().unwrap(), 1).unwrap();
    assert_eq!(again.address(), address);
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let line = Line::new().await;
    let taken = line.target.local_addr().unwrap();
    let refused = Relay::start(taken, taken, 1).unwrap_err();
    assert_eq!(refused.to_string(), format!("listening on {taken} for connections to {taken}"));
}
