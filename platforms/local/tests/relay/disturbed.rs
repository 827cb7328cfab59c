//! What is held, what still flows, and what happens when the disturbance ends.
//!
//! Never takes silence for a proof by itself: what was silent must speak after healing.

use super::fixtures::*;
use pgherd_local::relay::{Flow, Traffic};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const DELAY: Duration = Duration::from_millis(300);
const WORDS: usize = 500;

#[tokio::test]
async fn a_cut_holds_one_direction_and_the_other_still_flows() {
    for (cut, to_far) in [(CUT_THERE, true), (CUT_BACK, false)] {
        let line = Line::new().await;
        let (mut near, mut far) = line.connect().await;
        say(&mut near, "before").await;
        hear(&mut far, "before").await;
        line.relay.set(cut);
        let (held, flowing) = if to_far { (&mut near, &mut far) } else { (&mut far, &mut near) };
        say(held, "one ").await;
        say(flowing, "open").await;
        hear(held, "open").await;
        say(held, "two").await;
        hears_nothing(flowing).await;
        line.relay.set(PASS);
        hear(flowing, "one two").await;
    }
}

#[tokio::test]
async fn a_connection_made_during_a_cut_is_dead_until_healing() {
    for cut in [CUT, CUT_THERE, CUT_BACK] {
        let line = Line::new().await;
        line.relay.set(cut);
        let mut near = line.dial().await;
        say(&mut near, "hello").await;
        line.is_not_dialled().await;
        hears_nothing(&mut near).await;
        line.relay.set(PASS);
        let mut far = line.accept().await;
        hear(&mut far, "hello").await;
        say(&mut far, "welcome").await;
        hear(&mut near, "welcome").await;
    }
}

#[tokio::test]
async fn who_gives_up_during_a_cut_frees_a_place_and_the_target_never_hears() {
    let line = Line::new().await;
    line.relay.set(CUT);
    for _ in 0..20 {
        let mut near = line.dial().await;
        say(&mut near, "lost").await;
        line.has_connections(1).await;
        drop(near);
        line.has_connections(0).await;
    }
    line.relay.set(PASS);
    line.is_not_dialled().await;
    line.connect().await;
}

#[tokio::test]
async fn a_death_is_news_that_travels_and_so_is_held() {
    // Ended in order, and broken off.
    for breaks_off in [false, true] {
        let line = Line::new().await;
        let (mut near, mut far) = line.connect().await;
        line.relay.set(CUT_THERE);
        say(&mut near, "last word").await;
        if breaks_off {
            break_off(near);
        } else {
            drop(near);
        }
        // What the survivor says meets a dead end, and the news of that cannot come back.
        for _ in 0..3 {
            say(&mut far, "anybody there?").await;
            hears_nothing(&mut far).await;
        }
        line.relay.set(PASS);
        is_reset_at_last(&mut far).await;
        line.has_connections(0).await;
    }
}

#[tokio::test]
async fn a_survivor_that_gives_up_frees_the_place_of_a_dead_one() {
    let line = Line::new().await;
    let (near, mut far) = line.connect().await;
    line.relay.set(CUT_THERE);
    break_off(near);
    say(&mut far, "anybody there?").await;
    hears_nothing(&mut far).await;
    drop(far);
    line.has_connections(0).await;
}

#[tokio::test]
async fn a_cut_holds_the_end_of_a_stream_too() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    line.relay.set(CUT_THERE);
    say(&mut near, "last word").await;
    near.shutdown().await.unwrap();
    hears_nothing(&mut far).await;
    line.relay.set(PASS);
    hear(&mut far, "last word").await;
    hears_the_end(&mut far).await;
}

#[tokio::test]
async fn a_cut_takes_no_more_than_the_kernel_holds() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    line.relay.set(CUT);
    let piece = vec![7; 1 << 16];
    let mut taken = 0_usize;
    let fill = async {
        loop {
            match tokio::time::timeout(SILENCE, near.write(&piece)).await {
                Ok(written) => taken += written.unwrap(),
                Err(_) => return,
            }
        }
    };
    soon("the writer to be held up", fill).await;
    // Two socket buffers, at their largest: tcp_wmem and tcp_rmem end at 4 and 6 MiB.
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    line.relay.set(PASS);
    let drain = async {
        let mut left = taken;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            left -= tokio::io::AsyncReadExt::read(&mut far, &mut buffer).await.unwrap();
        }
    };
    soon("all of it to arrive", drain).await;
}

#[tokio::test]
async fn delayed_words_arrive_in_order_and_each_only_this_much_later() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    line.relay.set(Traffic { there: Flow::Delay(DELAY), back: Flow::Pass });
    let start = Instant::now();
    for word in ["one ", "two ", "three "] {
        say(&mut near, word).await;
        tokio::task::yield_now().await;
    }
    hear(&mut far, "one two three ").await;
    assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
    say(&mut far, "back").await;
    hear(&mut near, "back").await;
    let start = Instant::now();
    for _ in 0..WORDS {
        say(&mut near, "pipelined").await;
        tokio::task::yield_now().await;
    }
    // One delay for each, one after the other, would take minutes.
    let all = async {
        for _ in 0..WORDS {
            hear(&mut far, "pipelined").await;
        }
    };
    soon("all words after about one delay", all).await;
    assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_delay_holds_for_dialling_and_for_the_end() {
    let line = Line::new().await;
    line.relay.set(both(Flow::Delay(DELAY)));
    let start = Instant::now();
    let (mut near, mut far) = line.connect().await;
    assert!(start.elapsed() >= DELAY * 2, "{:?}", start.elapsed());
    let start = Instant::now();
    say(&mut near, "last word").await;
    near.shutdown().await.unwrap();
    hear(&mut far, "last word").await;
    hears_the_end(&mut far).await;
    assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
    drop(far);
    hears_the_end(&mut near).await;
    line.has_connections(0).await;
}

#[tokio::test]
async fn what_is_under_way_follows_when_a_delay_ends_or_turns_into_a_cut() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    line.relay.set(both(Flow::Delay(PATIENCE * 100)));
    say(&mut near, "one ").await;
    hears_nothing(&mut far).await;
    line.relay.set(CUT);
    say(&mut near, "two ").await;
    hears_nothing(&mut far).await;
    line.relay.set(PASS);
    say(&mut near, "three").await;
    hear(&mut far, "one two three").await;
}

#[tokio::test]
async fn a_reset_ends_every_connection_and_refuses_new_ones_until_healing() {
    let line = Line::new().await;
    let (mut near, mut far) = line.connect().await;
    line.relay.set(CUT);
    let mut dead = line.dial().await;
    line.has_connections(2).await;
    for _ in 0..2 {
        line.relay.set(Traffic { there: Flow::Reset, back: Flow::Pass });
        line.has_connections(0).await;
        let refused = soon("a refusal", TcpStream::connect(line.relay.address())).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        line.relay.set(PASS);
        let admitted = async {
            loop {
                match TcpStream::connect(line.relay.address()).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let mut near = soon("the door to open", admitted).await;
        say(&mut near, "word").await;
        hear(&mut line.accept().await, "word").await;
    }
    is_reset(&mut near).await;
    is_reset(&mut far).await;
    is_reset(&mut dead).await;
}

/// What was under way may come first.
async fn is_reset_at_last(stream: &mut TcpStream) {
    let until_broken = async {
        let mut buffer = [0; 64];
        loop {
            if let Err(error) = tokio::io::AsyncReadExt::read(stream, &mut buffer).await {
                return error;
            }
            // The end of a stream, which is not the end of the connection: say something.
            if let Err(error) = stream.write_all(b"anybody there?").await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = soon("a reset", until_broken).await;
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}
