//! Measures how long a client cannot write after a fault, for each product in turn; what backups
//! cost, in `backup`.
//!
//! Never measures two clusters at once, and never asks a product how long it took.

pub mod backup;
mod sheet;
mod table;

use crate::rig::patroni::{Patroni, Timers};
use crate::rig::pgherd::Pgherd;
use crate::rig::{Durability, Fault, Rig, Site};
use crate::wait;
use anyhow::{Context, Result};
use pgherd_local::ledger::{Findings, Ledger, Settings};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

pub use sheet::Sheet;
pub use table::{Summary, Table, summarise};

const STEADY_WITHIN: Duration = Duration::from_mins(5);
const WRITES_WITHIN: Duration = Duration::from_mins(5);
/// Who has not come back then does not come back by itself.
const STUCK_AFTER: Duration = Duration::from_mins(2);
/// Writes flow again when they did so for this long without a stall of a third of it.
const QUIET: Duration = Duration::from_secs(1);

/// Whose cluster is measured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    Pgherd,
    PatroniDefault,
    PatroniFastest,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pgherd => "pgherd",
            Self::PatroniDefault => "Patroni default",
            Self::PatroniFastest => "Patroni fastest",
        })
    }
}

/// What shall be measured.
pub struct Plan {
    pub products: Vec<Product>,
    pub durabilities: Vec<Durability>,
    pub faults: Vec<Fault>,
    pub rounds: u32,
    pub site: Site,
}

/// What one fault cost a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    pub product: Product,
    pub durability: Durability,
    pub fault: Fault,
    pub round: u32,
    /// The longest time without any acknowledgement, in milliseconds.
    pub gap_milliseconds: u64,
    /// The longest time in which some connection had none, in milliseconds.
    pub unluckiest_milliseconds: u64,
    pub acknowledged: u64,
    pub lost: u64,
    pub unknown: u64,
    /// What else was found wrong, in words; empty when nothing was.
    pub wrong: String,
}

/// Measures all of the plan that is not on the sheet yet, and puts it there; `tell` hears of each
/// figure as it is known.
pub fn run(
    plan: &Plan,
    sheet: &mut Sheet,
    runtime: &Handle,
    mut tell: impl FnMut(&Measurement),
) -> Result<()> {
    for product in &plan.products {
        for durability in &plan.durabilities {
            let all = (1..=plan.rounds).flat_map(|n| plan.faults.iter().map(move |f| (n, f)));
            let rest: Vec<_> = all
                .filter(|(round, fault)| !sheet.has((*product, *durability, **fault, *round)))
                .collect();
            if rest.is_empty() {
                continue;
            }
            let mut rig = start(*product, *durability, &plan.site)?;
            for (round, fault) in rest {
                let cost = measure(rig.as_mut(), *fault, runtime);
                let cost = cost
                    .with_context(|| format!("{product} {durability}, round {round}, {fault}"))?;
                let measurement = cost.told(*product, *durability, *fault, round);
                tell(&measurement);
                sheet.add(measurement)?;
            }
        }
    }
    Ok(())
}

fn start(product: Product, durability: Durability, site: &Site) -> Result<Box<dyn Rig>> {
    let patroni = |timers| Patroni::start(timers, durability, site);
    Ok(match product {
        Product::Pgherd => Box::new(Pgherd::start(durability.into(), site)?),
        Product::PatroniDefault => Box::new(patroni(Timers::Default)?),
        Product::PatroniFastest => Box::new(patroni(Timers::Fastest)?),
    })
}

struct Cost {
    gap: Duration,
    unluckiest: Duration,
    findings: Findings,
    is_stuck: bool,
}

/// One fault, from a cluster in order to a cluster in order.
fn measure(rig: &mut dyn Rig, fault: Fault, runtime: &Handle) -> Result<Cost> {
    let folder = tempfile::tempdir()?;
    steady(rig)?;
    let settings = Settings::new(rig.address()?, folder.path().join("book"));
    let ledger = runtime.block_on(Ledger::start(settings, WRITES_WITHIN))?;
    let warm = Instant::now();
    runtime.block_on(ledger.settle(warm, QUIET, WRITES_WITHIN))?;
    let primary = rig.primary()?.context("a steady cluster has a primary")?;

    let hurt = Instant::now();
    rig.hurt(fault, &primary)?;
    let settled = |within| runtime.block_on(ledger.settle(Instant::now(), QUIET, within));
    let is_stuck = settled(STUCK_AFTER).is_err();
    rig.repair()?;
    settled(WRITES_WITHIN)?;
    // Whatever the repair costs clients belongs to the fault too.
    steady(rig)?;
    let gap = ledger.longest_gap(hurt).length();
    let unluckiest = ledger.unluckiest_gap(hurt).length();
    let stopped = runtime.block_on(ledger.stop())?;
    let findings = runtime.block_on(stopped.verify(WRITES_WITHIN))?;
    Ok(Cost { gap, unluckiest, findings, is_stuck })
}

fn steady(rig: &mut dyn Rig) -> Result<()> {
    wait::find_seldom("a steady cluster", STEADY_WITHIN, || Ok(rig.is_steady()?.then_some(())))
}

impl Cost {
    fn told(
        self,
        product: Product,
        durability: Durability,
        fault: Fault,
        round: u32,
    ) -> Measurement {
        let findings = self.findings;
        let mut wrong = Vec::new();
        if self.is_stuck {
            wrong.push(format!(
                "no writes for {STUCK_AFTER:?}, until what was lost was started again"
            ));
        }
        if !findings.is_flawless() {
            wrong.push(findings.to_string());
        }
        Measurement {
            product,
            durability,
            fault,
            round,
            gap_milliseconds: milliseconds(self.gap),
            unluckiest_milliseconds: milliseconds(self.unluckiest),
            acknowledged: findings.acknowledged,
            lost: findings.lost.count,
            unknown: findings.unknown,
            wrong: wrong.join("; "),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
