//! What happens to the network, and to the API server.
//!
//! Never compares clocks of two machines: all of a testbed have one.

use super::cluster::Commits;
use super::figures::Round;
use super::stage::Stage;
use super::writer::{Seat, Writer};
use crate::testbed::Machine;
use crate::testbed::network::Ways;
use crate::wait;
use anyhow::Result;
use std::time::Duration;

impl Stage<'_> {
    /// For longer than Kubernetes takes to give a silent node up.
    pub(super) fn cut_from_api(&self) -> Result<Round> {
        let cast = self.cast()?;
        let testbed = self.place().testbed()?;
        let node = Machine::Node(self.cluster.node_of(&cast.primary)?);
        let mut round = self.round(
            &cast,
            |_| {
                testbed.cut(node, Machine::ControlPlane, Ways::Both)?;
                wait::pass(self.away)?;
                testbed.heal()
            },
            || Ok(()),
        )?;
        let now = self.cluster.primary()?;
        round.notes.push(format!("{now} is primary, {} was", cast.primary));
        Ok(round)
    }

    pub(super) fn api_away(&self) -> Result<Round> {
        let cast = self.cast()?;
        let testbed = self.place().testbed()?;
        self.round(
            &cast,
            |_| {
                testbed.stop_api()?;
                wait::pass(self.away)?;
                testbed.start_api()
            },
            || Ok(()),
        )
    }

    /// A session is open on the primary's own node: it shows until when that one took writes.
    pub(super) fn isolated(&self) -> Result<Round> {
        let cast = self.cast()?;
        let testbed = self.place().testbed()?;
        let node = self.cluster.node_of(&cast.primary)?;
        let address = self.cluster.address_of(&cast.primary)?;
        let session = Writer::start(&self.cluster, Seat::Inside(node, address))?;
        let round = self.round(
            &cast,
            |_| {
                testbed.isolate(Machine::Node(node))?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || testbed.heal(),
        )?;
        self.compare(round, session)
    }

    /// Whether a session with the old primary was told of rows after the new one took some.
    pub(super) fn compare(&self, mut round: Round, session: Writer<'_>) -> Result<Round> {
        let (last, after) = session.acknowledged_after(round.until)?;
        let seconds = |from: u64, to: u64| Duration::from_millis(to.abs_diff(from)).as_secs_f64();
        if last <= round.until {
            let earlier = seconds(last, round.until);
            round.notes.push(format!(
                "the old primary's last row was {earlier:.2} s before the new one's first"
            ));
            return Ok(round);
        }
        let what = format!(
            "the old primary acknowledged {after} rows until {:.2} s after the new one's first",
            seconds(round.until, last)
        );
        match self.commits {
            // The row that was under way may have been confirmed by a standby in time, and its
            // answer held up with the machine. Then the new primary has it.
            Commits::Required if after == 1 => {
                let kept = session.end()?;
                if kept.lost == 0 && !kept.wrong {
                    round.notes.push(format!("{what}: it was under way before, and is there"));
                } else {
                    round.broken.push(format!("{what}, and it is lost"));
                }
            }
            Commits::Required => round.broken.push(what),
            Commits::Asynchronous => round.notes.push(what),
        }
        Ok(round)
    }
}
