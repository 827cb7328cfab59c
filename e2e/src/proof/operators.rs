//! The operators die at random moments while a cluster is created, scaled and deleted.
//!
//! Never helps: what was begun has to be ended by whoever comes next.

use super::cluster::{self, Cluster, Commits, HEALED_WITHIN, Operator};
use super::figures::Round;
use super::place::{OPERATORS, Place, SYSTEM};
use crate::client::now_milliseconds;
use crate::seed::Seeded;
use crate::wait;
use anyhow::{Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};

const NAME: &str = "often";
/// What is asked for in turn, and within which time of it the operators die.
const CHANGES: [(Change, Duration); 4] = [
    (Change::Create, Duration::from_secs(20)),
    (Change::Scale(3), Duration::from_secs(10)),
    (Change::Scale(2), Duration::from_secs(6)),
    (Change::Delete, Duration::from_secs(4)),
];

#[derive(Debug, Clone, Copy)]
enum Change {
    Create,
    Scale(u32),
    Delete,
}

/// So many moments, one after another.
pub(super) fn kill(place: &Place, moments: u32, note: &mut impl FnMut(Round)) -> Result<()> {
    let mut random = Seeded::new(now_milliseconds());
    let cluster = Cluster { place, name: NAME };
    let in_turn = CHANGES.iter().cycle().zip(0..moments);
    let mut exists = false;
    for ((change, longest), _) in in_turn {
        wait::go_on()?;
        let moment = random.between(Duration::ZERO, *longest);
        note(one(&cluster, *change, moment).with_context(|| format!("{change:?}, {moment:?}"))?);
        exists = !matches!(change, Change::Delete);
    }
    if exists { cluster.delete() } else { Ok(()) }
}

fn one(cluster: &Cluster<'_>, change: Change, moment: Duration) -> Result<Round> {
    let place = cluster.place;
    let began = Instant::now();
    match change {
        Change::Create => {
            place.apply(&cluster::manifest(NAME, 2, Commits::Asynchronous))?;
        }
        Change::Scale(instances) => {
            cluster.change(&json!({"instances": instances}))?;
        }
        Change::Delete => {
            place.kubectl(&["delete", "cluster", NAME, "--wait=false"])?;
        }
    }
    wait::pass(moment)?;
    let kill = ["--namespace", SYSTEM, "delete", "pods", "--selector", OPERATORS];
    let at_once = ["--grace-period=0", "--force"];
    place.kubectl(&[&kill[..], &at_once].concat())?;
    match change {
        Change::Create | Change::Scale(_) => {
            cluster.wait_whole(Operator::Present, HEALED_WITHIN)?;
        }
        Change::Delete => cluster.wait_gone()?,
    }
    let seconds = began.elapsed().as_secs_f64();
    let note = format!("{change:?}: operators killed after {:.1} s", moment.as_secs_f64());
    Ok(Round { seconds: Some(seconds), notes: vec![note], ..Round::default() })
}
