//! Says to other clusters on this machine which ports are spoken for, also while nothing listens.
//!
//! Never outlives its process: a claim is a name in Linux's abstract namespace (unix(7)), which ends
//! with the socket, and is per network namespace, like the ports.

use crate::ports::{Ports, PortsError};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Another `up` chooses its ports and starts its supervisor in far less.
const TURN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A name that nobody else has for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    _socket: UnixListener,
}

impl Claim {
    /// `None` while another process has it.
    fn take(name: &str) -> io::Result<Option<Self>> {
        let address = SocketAddr::from_abstract_name(format!("pgherd/{name}"))?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Some(Self { _socket: socket })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// All ports of a cluster that is up.
#[derive(Debug)]
pub struct Claims {
    _all: Vec<Claim>,
}

impl Claims {
    /// Refused with the first port that another cluster has claimed.
    pub fn take(ports: Ports) -> Result<Self, PortsError> {
        let claimed = |port| {
            let taken = Claim::take(&port_name(port));
            let taken = taken.map_err(|source| PortsError::Claim { port, source })?;
            taken.ok_or(PortsError::Claimed { port })
        };
        ports.claimed().map(claimed).collect::<Result<_, _>>().map(|all| Self { _all: all })
    }
}

/// Whether a cluster that is up has claimed it. What cannot be asked is claimed by nobody.
pub fn is_claimed(port: u16) -> bool {
    matches!(Claim::take(&port_name(port)), Ok(None))
}

fn port_name(port: u16) -> String {
    format!("port/{port}")
}

/// The turn to choose ports, of one `up` at a time: it ends when the supervisor has claimed them.
/// `None` if others took too long; then two may choose the same, and one of them is refused.
pub async fn turn() -> Option<Claim> {
    let end = Instant::now() + TURN;
    loop {
        match Claim::take("turn") {
            Ok(None) if Instant::now() < end => sleep(PAUSE).await,
            other => return other.ok().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports;

    #[tokio::test(flavor = "current_thread")]
    async fn a_claim_is_of_one_and_ends_with_it() {
        // Clusters may live on this machine, and more may be coming up.
        let turn = turn().await;
        let base = ports::accept_base(47_001, &[], &[], ports::is_free).unwrap();
        let ports = ports::choose_block(base, &[], ports::is_free).unwrap();
        let held = Claims::take(ports).unwrap();
        drop(turn);
        assert!(is_claimed(47_001) && is_claimed(47_009) && is_claimed(ports.record()));
        assert!(!ports::is_free(47_001));
        let refused = Claims::take(ports).unwrap_err();
        assert!(matches!(refused, PortsError::Claimed { port: 47_001 }), "{refused}");
        drop(held);
        assert!(!is_claimed(47_001) && ports::is_free(47_001));
    }
}
