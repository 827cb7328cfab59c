//! A relay among many callers that come and go while the network changes.
//!
//! Never loses a connection's place, whatever happened to it.

use super::fixtures::*;
use pgherd_local::relay::Flow;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::test]
async fn no_place_is_lost_while_callers_and_the_network_change() {
    let line = Line::new().await;
    let address = line.relay.address();
    let mut tasks = JoinSet::new();
    let target = line.target;
    tasks.spawn(async move {
        let mut answering = JoinSet::new();
        loop {
            let (mut stream, _) = target.accept().await.unwrap();
            answering.spawn(async move {
                let (mut reading, mut writing) = stream.split();
                // A reset connection is one of the things that happen here.
                let _echoed = tokio::io::copy(&mut reading, &mut writing).await.is_ok();
            });
        }
    });
    let mut callers = JoinSet::new();
    for caller in 0..40_u8 {
        callers.spawn(async move {
            for round in 0..10_u8 {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let word = [caller, round].repeat(1000);
                let mut heard = vec![0; word.len()];
                let exchange = async {
                    stream.write_all(&word).await?;
                    stream.read_exact(&mut heard).await
                };
                let patience = Duration::from_millis(u64::from(caller));
                if let Ok(Ok(_)) = tokio::time::timeout(patience, exchange).await {
                    assert_eq!(heard, word);
                }
            }
        });
    }
    let delay = Flow::Delay(Duration::from_millis(3));
    let states = [CUT, PASS, CUT_THERE, both(delay), CUT_BACK, both(Flow::Reset), PASS];
    let mut states = states.into_iter().cycle();
    let churn = async {
        while !callers.is_empty() {
            let next = tokio::time::timeout(Duration::from_millis(5), callers.join_next()).await;
            if let Ok(Some(ended)) = next {
                ended.unwrap();
            }
            line.relay.set(states.next().unwrap());
        }
    };
    soon("all callers to finish", churn).await;
    line.relay.set(PASS);
    let ended = async {
        while line.relay.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("all connections to end", ended).await;
}
