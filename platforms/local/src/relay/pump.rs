//! Moves the bytes of one direction of one connection.
//!
//! Never delivers a byte while the direction is cut, and never reads more than it may hold.

use super::pool::{BUFFER, Pool};
use super::{Direction, Flow, Traffic};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// The bytes that may be on their way in a delayed direction.
const MOST_DELAYED: usize = 1 << 20;
const MOST_PARCELS: usize = 4096;
// About 2 MiB: then other connections get their turn.
const STEPS_IN_A_ROW: u32 = 16;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The end that is written to is dead.
    Reader,
    /// The end that is read from is dead.
    Writer,
    /// The network says so.
    Reset,
    /// There is no network any more.
    Gone,
}

pub(super) struct Pump<'a> {
    pub(super) direction: Direction,
    pub(super) from: &'a TcpStream,
    pub(super) to: &'a TcpStream,
    pub(super) traffic: watch::Receiver<Traffic>,
    pub(super) pool: &'a Pool,
}

/// Bytes on their way, or the end of them.
struct Parcel {
    due: Instant,
    content: Vec<u8>,
    length: usize,
    delivered: usize,
}

#[derive(Default)]
struct Underway {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    is_ended: bool,
}

/// What a step is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// It did something; there may be more to do.
    Nothing,
    /// The reader takes no more.
    Room,
    /// The first parcel's time.
    Due(Instant),
    /// Nothing is under way.
    Bytes,
}

impl Pump<'_> {
    /// Until the writer's end of stream was delivered to the reader.
    pub(super) async fn run(mut self) -> Result<(), Broken> {
        let mut underway = Underway::default();
        let mut steps = 0_u32;
        loop {
            let flow = self.traffic.borrow_and_update().toward(self.direction);
            let delay = match flow {
                Flow::Pass => Duration::ZERO,
                Flow::Delay(delay) => delay,
                Flow::Cut => {
                    self.changed().await?;
                    continue;
                }
                Flow::Reset => return Err(Broken::Reset),
            };
            let wait = self.deliver(&mut underway, flow)?;
            if underway.is_ended && underway.parcels.is_empty() {
                return Ok(());
            }
            let has_read = self.collect(&mut underway, delay)?;
            if wait == Wait::Nothing || has_read {
                steps += 1;
                if steps.is_multiple_of(STEPS_IN_A_ROW) {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            self.wait(wait, &underway, delay).await?;
        }
    }

    /// Writes what is due.
    fn deliver(&self, underway: &mut Underway, flow: Flow) -> Result<Wait, Broken> {
        let mut wait = Wait::Bytes;
        while let Some(parcel) = underway.parcels.front_mut() {
            // A shorter delay, or none, also holds for what is under way.
            if flow != Flow::Pass && parcel.due > Instant::now() {
                return Ok(Wait::Due(parcel.due));
            }
            if parcel.length == 0 {
                end(self.to).map_err(|_| Broken::Reader)?;
            } else {
                let rest = parcel.content.get(parcel.delivered..parcel.length).unwrap_or_default();
                match self.to.try_write(rest) {
                    Ok(count) => parcel.delivered += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Wait::Room);
                    }
                    Err(_) => return Err(Broken::Reader),
                }
                if parcel.delivered < parcel.length {
                    continue;
                }
            }
            if let Some(done) = underway.parcels.pop_front() {
                underway.bytes -= done.length;
                self.pool.give_back(done.content);
            }
            wait = Wait::Nothing;
        }
        Ok(wait)
    }

    /// Reads once, if there is room for it.
    fn collect(&self, underway: &mut Underway, delay: Duration) -> Result<bool, Broken> {
        if !underway.takes_more(delay) {
            return Ok(false);
        }
        let mut content = self.pool.lend();
        let length = match self.from.try_read(&mut content) {
            Ok(length) => length,
            Err(error) => {
                self.pool.give_back(content);
                let is_empty = error.kind() == io::ErrorKind::WouldBlock;
                return if is_empty { Ok(false) } else { Err(Broken::Writer) };
            }
        };
        underway.is_ended = length == 0;
        underway.bytes += length;
        let after_the_last = underway.parcels.back().map(|last| last.due);
        let due = Instant::now() + delay;
        let due = after_the_last.map_or(due, |last| last.max(due));
        // A small message under way must not keep a large buffer from the others.
        if length < BUFFER / 4 && delay > Duration::ZERO {
            let small = content.get(..length).unwrap_or_default().to_vec();
            self.pool.give_back(std::mem::replace(&mut content, small));
        }
        underway.parcels.push_back(Parcel { due, content, length, delivered: 0 });
        Ok(true)
    }

    async fn wait(
        &mut self,
        wait: Wait,
        underway: &Underway,
        delay: Duration,
    ) -> Result<(), Broken> {
        let (from, to) = (self.from, self.to);
        let due = match wait {
            Wait::Due(due) => due,
            Wait::Nothing | Wait::Room | Wait::Bytes => Instant::now(),
        };
        tokio::select! {
            changed = self.traffic.changed() => changed.map_err(|_| Broken::Gone),
            // What is wrong with a socket is told by the next attempt to use it.
            _ = from.readable(), if underway.takes_more(delay) => Ok(()),
            _ = to.writable(), if wait == Wait::Room => Ok(()),
            () = tokio::time::sleep_until(due), if matches!(wait, Wait::Due(_)) => Ok(()),
        }
    }

    async fn changed(&mut self) -> Result<(), Broken> {
        self.traffic.changed().await.map_err(|_| Broken::Gone)
    }
}

impl Underway {
    fn takes_more(&self, delay: Duration) -> bool {
        let has_room = if delay.is_zero() {
            self.parcels.is_empty()
        } else {
            self.bytes < MOST_DELAYED && self.parcels.len() < MOST_PARCELS
        };
        has_room && !self.is_ended
    }
}

fn end(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::shutdown(stream, rustix::net::Shutdown::Write)?)
}
