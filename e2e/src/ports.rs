//! Finds free ports on the loopback interface.
//!
//! Never in the range that Linux takes for outgoing connections: a server that comes back must find
//! its port where it left it.

use anyhow::{Result, bail};
use std::net::{Ipv4Addr, TcpListener};

const FIRST: u16 = 20_000;
const LAST: u16 = 28_000;
const STEP: u16 = 16;

/// The first of `count` free ports in a row, at most 16.
pub fn free(count: u16) -> Result<u16> {
    // Two proofs that start at once look in different places first.
    let blocks = (LAST - FIRST) / STEP;
    let offset = u16::try_from(std::process::id() % u32::from(blocks)).unwrap_or_default();
    let first = |block: u16| FIRST + (block + offset) % blocks * STEP;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let all_free = |first: &u16| (*first..*first + count.min(STEP)).all(is_free);
    match (0..blocks).map(first).find(all_free) {
        Some(first) => Ok(first),
        None => bail!("no {count} free ports in a row from {FIRST} to {LAST}"),
    }
}
