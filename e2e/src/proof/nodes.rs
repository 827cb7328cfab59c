//! What happens to nodes: they lose their power, or stand still.
//!
//! Never the client's own node, but for the scenario in which no node is left.

use super::cluster::{HEALED_WITHIN, Operator};
use super::figures::Round;
use super::stage::{Cast, Stage};
use super::writer::{Seat, Writer};
use crate::client::now_milliseconds;
use crate::seed::Seeded;
use crate::testbed::Node;
use crate::testbed::cgroup::Motion;
use crate::wait;
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// How long no node has power.
const LYING_DEAD: Duration = Duration::from_secs(5);

impl Stage<'_> {
    pub(super) fn node_lost(&self) -> Result<Round> {
        self.lose_node(&self.cast()?)
    }

    pub(super) fn node_lost_alone(&self) -> Result<Round> {
        self.place().scale_operator(0)?;
        let cast = Cast { operator: Operator::Away, ..self.cast()? };
        let round = self.lose_node(&cast)?;
        self.place().scale_operator(2)?;
        self.cluster.wait_whole(Operator::Present, HEALED_WITHIN)?;
        Ok(round)
    }

    pub(super) fn node_lost_with_operator(&self) -> Result<Round> {
        let cast = self.cast()?;
        let node = self.cluster.node_of(&cast.primary)?;
        let others: Vec<String> =
            Node::all().filter(|other| *other != node).map(|other| other.to_string()).collect();
        for other in &others {
            self.place().kubectl(&["cordon", other])?;
        }
        let alone = self.place().scale_operator(0).and_then(|()| self.place().scale_operator(1));
        for other in &others {
            self.place().kubectl(&["uncordon", other])?;
        }
        alone?;
        if self.place().nodes_of_operators()? != [node] {
            bail!("the operator is not on {node}");
        }
        self.cluster.wait_whole(Operator::Present, HEALED_WITHIN)?;
        let round = self.lose_node(&cast)?;
        self.place().scale_operator(2)?;
        Ok(round)
    }

    fn lose_node(&self, cast: &Cast) -> Result<Round> {
        let testbed = self.place().testbed()?;
        let node = self.cluster.node_of(&cast.primary)?;
        self.round(
            cast,
            |_| {
                testbed.crash(node)?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || testbed.start(node),
        )
    }

    /// A session stays open with the primary that stands still: what it is told afterwards shows
    /// whether that one still took writes.
    pub(super) fn frozen(&self) -> Result<Round> {
        let cast = self.cast()?;
        let testbed = self.place().testbed()?;
        let node = self.cluster.node_of(&cast.primary)?;
        let address = self.cluster.address_of(&cast.primary)?;
        let beside = self.cluster.node_beside(&cast.primary)?;
        let session = Writer::start(&self.cluster, Seat::Inside(beside, address))?;
        let round = self.round(
            &cast,
            |_| {
                testbed.set(node, Motion::Frozen)?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || testbed.set(node, Motion::Running),
        )?;
        self.compare(round, session)
    }

    pub(super) fn all_nodes_lost(&self) -> Result<Round> {
        let testbed = self.place().testbed()?;
        let cast = Cast { seat: Seat::Outside, ..self.cast()? };
        let mut order: Vec<Node> = Node::all().collect();
        Seeded::new(now_milliseconds()).shuffle(&mut order);
        let mut round = self.round(
            &cast,
            |_| {
                for node in Node::all() {
                    testbed.crash(node)?;
                }
                wait::pass(LYING_DEAD)?;
                order.iter().try_for_each(|node| testbed.start(*node))
            },
            || Ok(()),
        )?;
        let order: Vec<_> = order.iter().map(Node::to_string).collect();
        let now = self.cluster.primary().context("asking who is primary")?;
        round.notes.push(format!("nodes returned as {}; {now} is primary", order.join(", ")));
        Ok(round)
    }
}
