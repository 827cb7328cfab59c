//! Asks Patroni and etcd over HTTP, one short question at a time.
//!
//! Never waits long: who does not answer at once is not steady.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(2);
const LONGEST_ANSWER: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    members: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    role: String,
    state: String,
    #[serde(default)]
    timeline: Option<u32>,
}

impl Cluster {
    /// The one that leads and runs.
    pub(super) fn leader(&self) -> Option<String> {
        let mut leaders = self.members.iter().filter(|one| one.role == "leader" && one.runs());
        leaders.next().map(|leader| leader.name.clone())
    }

    /// All members run on one timeline, and as many as asked for may take over without loss.
    pub(super) fn is_complete(&self, count: usize, synchronous: usize) -> bool {
        let may_take_over = self.members.iter().filter(|one| one.role == "sync_standby");
        if may_take_over.count() != synchronous {
            return false;
        }
        let timeline = self.members.first().and_then(|one| one.timeline);
        self.members.len() == count
            && timeline.is_some()
            && self.members.iter().all(|one| one.runs() && one.timeline == timeline)
    }
}

impl Listed {
    fn runs(&self) -> bool {
        ["running", "streaming"].contains(&self.state.as_str())
    }
}

/// What the member at this port says of all members.
pub(super) fn cluster(port: u16) -> Result<Cluster> {
    Ok(serde_json::from_str(&get(port, "/cluster")?)?)
}

pub(super) fn is_healthy(port: u16) -> bool {
    get(port, "/health").is_ok_and(|said| said.contains("true"))
}

fn get(port: u16, path: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut said = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut said)?;
    let (head, body) = said.split_once("\r\n\r\n").context("half an answer")?;
    if !head.lines().next().unwrap_or_default().contains(" 200 ") {
        bail!("{path} was answered with {head}");
    }
    Ok(body.to_owned())
}
