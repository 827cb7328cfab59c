//! A whole cluster that scenarios happen to, one after another, each with a client of its own.
//!
//! Never begins a round before the cluster is whole, and never ends one before it is whole again.

use super::cluster::{self, Cluster, Commits, HEALED_WITHIN, Operator, UP_WITHIN};
use super::figures::Round;
use super::place::Place;
use super::writer::{Seat, Writer};
use crate::client::now_milliseconds;
use anyhow::Result;
use pgherd_core::units::Epoch;
use std::time::{Duration, Instant};

const NAME: &str = "app-db";
/// A later pause than this is told beside the one of the fault.
const WORTH_TELLING: Duration = Duration::from_millis(300);

pub(super) struct Stage<'a> {
    pub(super) cluster: Cluster<'a>,
    pub(super) commits: Commits,
    /// How long the API server is away when it is.
    pub(super) away: Duration,
}

/// Who is where when a round begins.
pub(super) struct Cast {
    pub(super) primary: String,
    pub(super) epoch: Epoch,
    pub(super) seat: Seat,
    pub(super) operator: Operator,
}

impl<'a> Stage<'a> {
    /// Makes the cluster.
    pub(super) fn set(place: &'a Place, commits: Commits, away: Duration) -> Result<Self> {
        place.apply(&cluster::manifest(NAME, 3, commits))?;
        let cluster = Cluster { place, name: NAME };
        cluster.wait_whole(Operator::Present, UP_WITHIN)?;
        Ok(Self { cluster, commits, away })
    }

    pub(super) fn place(&self) -> &'a Place {
        self.cluster.place
    }

    /// Who is where now: on a testbed, each instance on a node of its own, and the client where
    /// nothing will happen.
    pub(super) fn cast(&self) -> Result<Cast> {
        if self.place().has_testbed() {
            self.cluster.spread()?;
        }
        let epoch = self.cluster.epoch()?;
        let primary = self.cluster.primary()?;
        let node = self.place().has_testbed().then(|| self.cluster.node_beside(&primary));
        let seat = Seat::Pod(node.transpose()?);
        Ok(Cast { primary, epoch, seat, operator: Operator::Present })
    }

    /// One round: rows flow, something hurts, rows flow again, what was hurt is repaired, and the
    /// cluster is whole again. `hurt` returns once rows that flow mean that it is over.
    pub(super) fn round(
        &self,
        cast: &Cast,
        hurt: impl FnOnce(&Writer<'a>) -> Result<()>,
        repair: impl FnOnce() -> Result<()>,
    ) -> Result<Round> {
        let writer = Writer::start(&self.cluster, cast.seat)?;
        let (failed_before, _) = writer.counts();
        let since = now_milliseconds();
        hurt(&writer)?;
        writer.settle(now_milliseconds())?;
        let pause = writer.pause(since)?;
        let repaired = (now_milliseconds(), Instant::now());
        repair()?;
        self.cluster.wait_whole(cast.operator, HEALED_WITHIN)?;
        let whole_after = repaired.1.elapsed();
        writer.settle(0)?;
        let later = writer.pause(repaired.0)?;
        let (failed, _) = writer.counts();
        let verdict = writer.end()?;
        let mut round = Round {
            seconds: Some(pause.length.as_secs_f64()),
            until: pause.until,
            acknowledged: verdict.acknowledged,
            unknown: verdict.unknown,
            lost: verdict.lost,
            failed: failed.saturating_sub(failed_before),
            ..Round::default()
        };
        let whole = format!("whole {:.1} s after rows flowed", whole_after.as_secs_f64());
        round.notes.push(format!("{}: {whole}", cast.primary));
        if later.length > WORTH_TELLING {
            let seconds = later.length.as_secs_f64();
            round.notes.push(format!("a later pause of {seconds:.2} s, until it was whole"));
        }
        if verdict.wrong {
            round.broken.push("rows are there twice, or were never sent".to_owned());
        }
        if verdict.lost > 0 {
            let Round { lost, acknowledged, .. } = round;
            let what = format!("{lost} of {acknowledged} acknowledged rows are lost");
            match self.commits {
                Commits::Required => round.broken.push(what),
                Commits::Asynchronous => round.notes.push(what),
            }
        }
        Ok(round)
    }
}
