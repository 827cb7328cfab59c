//! Carries one connection from its caller's dial to its end.
//!
//! Never tells one end of the other's death while that news could not travel.

use super::pool::Pool;
use super::pump::{Broken, Pump};
use super::{Direction, Flow, Traffic, door};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(super) async fn carry(
    caller: TcpStream,
    target: SocketAddr,
    mut traffic: watch::Receiver<Traffic>,
    pool: Arc<Pool>,
) {
    match establish(&caller, target, &mut traffic).await {
        Some(dialled) => converse(caller, dialled, traffic, &pool).await,
        None => reset(caller),
    }
}

/// Ends a connection with a reset, as when a host says that it knows of none.
pub(super) fn reset(stream: TcpStream) {
    // Without the option the peer sees an ordinary end, which is the best that is left.
    let _ordinary = stream.set_zero_linger().is_err();
    drop(stream);
}

/// Dials the target once a handshake could have crossed both ways; `None` when the caller gave up
/// first or the target refused.
async fn establish(
    caller: &TcpStream,
    target: SocketAddr,
    traffic: &mut watch::Receiver<Traffic>,
) -> Option<TcpStream> {
    caller.set_nodelay(true).ok()?;
    loop {
        let now = *traffic.borrow_and_update();
        let crossing =
            [now.there, now.back].into_iter().try_fold(Duration::ZERO, |sum, flow| match flow {
                Flow::Pass => Some(sum),
                Flow::Delay(delay) => Some(sum + delay),
                Flow::Cut | Flow::Reset => None,
            });
        if now.is_reset() {
            return None;
        }
        tokio::select! {
            changed = traffic.changed() => changed.ok()?,
            () = hang_up(caller) => return None,
            () = tokio::time::sleep(crossing.unwrap_or_default()), if crossing.is_some() => {
                return door::dial(target).await.ok();
            }
        }
    }
}

async fn converse(
    caller: TcpStream,
    dialled: TcpStream,
    traffic: watch::Receiver<Traffic>,
    pool: &Pool,
) {
    let pump = |direction| {
        let (from, to) = match direction {
            Direction::There => (&caller, &dialled),
            Direction::Back => (&dialled, &caller),
        };
        Pump { direction, from, to, traffic: traffic.clone(), pool }.run()
    };
    let ended = tokio::try_join!(
        async { pump(Direction::There).await.map_err(|why| (Direction::There, why)) },
        async { pump(Direction::Back).await.map_err(|why| (Direction::Back, why)) },
    );
    // The way the news of a death goes: from the dead end to the other.
    let news = match ended {
        Ok(((), ())) | Err((_, Broken::Gone)) => return,
        Err((_, Broken::Reset)) => {
            reset(caller);
            reset(dialled);
            return;
        }
        Err((direction, Broken::Writer)) => direction,
        Err((Direction::There, Broken::Reader)) => Direction::Back,
        Err((Direction::Back, Broken::Reader)) => Direction::There,
    };
    let survivor = match news {
        Direction::There => dialled,
        Direction::Back => caller,
    };
    tokio::select! {
        () = crossed(traffic, news) => {}
        () = hang_up(&survivor) => {}
    }
    reset(survivor);
}

/// Until something could cross in that direction.
async fn crossed(mut traffic: watch::Receiver<Traffic>, direction: Direction) {
    loop {
        let now = *traffic.borrow_and_update();
        match now.toward(direction) {
            Flow::Pass | Flow::Reset => return,
            Flow::Delay(delay) => return tokio::time::sleep(delay).await,
            Flow::Cut => {
                if traffic.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Until the peer of `stream` closed it, or its side of it; unread bytes do not matter.
async fn hang_up(stream: &TcpStream) {
    // This interest wakes on the end of a stream, but not on bytes to read. A broken socket also
    // counts as one that nobody waits at.
    let _closed = stream.ready(Interest::PRIORITY).await.is_ok();
}
