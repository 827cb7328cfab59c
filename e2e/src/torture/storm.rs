//! Makes the faults of a schedule happen to a running cluster, and ends them.
//!
//! Never leaves one on: whatever was cut, frozen or killed is healed before anything is judged.

use super::report::{Frozen, Told, Trail};
use super::schedule::{Act, Next, Planned, Target};
use crate::rig::pgherd::{Pgherd, Status};
use crate::seed::Seeded;
use crate::wait;
use anyhow::{Context, Result, bail};
use pgherd_local::ledger::Ledger;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Once all faults have ended. Generous: what is to be proved is that it comes back by itself.
const STEADY_WITHIN: Duration = Duration::from_mins(3);
const QUIET: Duration = Duration::from_secs(1);
const MOST_AT_ONCE: usize = 2;
const LOOK: Duration = Duration::from_millis(20);
const EVERYBODY: &str = "all";

pub(super) struct Storm<'a, Tell> {
    pgherd: &'a Pgherd,
    ledger: &'a Ledger,
    runtime: &'a Handle,
    tell: Tell,
    trail: Trail,
    ongoing: Vec<Ongoing>,
    /// The faults that are told once the cluster is in order again.
    untold: Vec<Told>,
    /// When the first of them began.
    since: Instant,
}

struct Ongoing {
    until: Instant,
    instance: String,
    undo: Undo,
    frozen: Option<usize>,
}

/// What ends a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Start,
    Thaw,
    Heal,
    HealAll,
    Nothing,
}

impl<'a, Tell: FnMut(&Told)> Storm<'a, Tell> {
    pub(super) fn new(
        pgherd: &'a Pgherd,
        ledger: &'a Ledger,
        runtime: &'a Handle,
        tell: Tell,
    ) -> Self {
        let now = Instant::now();
        Self {
            pgherd,
            ledger,
            runtime,
            tell,
            trail: Trail::begin(now),
            ongoing: Vec::new(),
            untold: Vec::new(),
            since: now,
        }
    }

    /// All faults, or as many as begin in time, and then a cluster in order.
    pub(super) fn rage(
        &mut self,
        planned: &[Planned],
        seed: u64,
        until: Option<Instant>,
    ) -> Result<()> {
        self.calm().context("before the first fault")?;
        for (number, one) in (1..).zip(planned) {
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let ended = self.strike(number, *one, seed);
            ended.with_context(|| format!("fault {number} ({one})"))?;
        }
        self.calm().context("after the last fault")
    }

    pub(super) fn trail(self) -> Trail {
        let mut trail = self.trail;
        trail.told.extend(self.untold);
        trail
    }

    fn strike(&mut self, number: u64, planned: Planned, seed: u64) -> Result<()> {
        while self.ongoing.len() >= MOST_AT_ONCE {
            self.end_next()?;
        }
        let status = self.pgherd.status()?;
        let instance = self.choose(&status, planned)?;
        if self.untold.is_empty() {
            self.since = Instant::now();
        }
        let after = self.trail.began.elapsed();
        let frozen = planned.act.freezes().then(|| self.trail.freeze(&instance));
        let done = self.inject(planned, &instance, &status, &mut Seeded::new(seed ^ number));
        let note = done.err().map(|error| format!("{error:#}"));
        let role = if status.primary.as_ref() == Some(&instance) { "primary" } else { "standby" };
        let role = if instance == EVERYBODY { "" } else { role };
        self.untold.push(Told::new((number, after), planned, (&instance, role), note));
        let until = match planned.act {
            // It took its time already.
            Act::Stutter => Instant::now(),
            _ => Instant::now() + planned.lasts,
        };
        self.ongoing.push(Ongoing { until, instance, undo: Undo::of(planned.act), frozen });
        match planned.next {
            Next::Settled => self.calm(),
            Next::Soon(pause) => {
                self.end_all()?;
                wait::pass(pause)
            }
            Next::Meanwhile(pause) => self.pass(pause),
        }
    }

    /// Whom it hits; one that is hit already is spared.
    fn choose(&self, status: &Status, planned: Planned) -> Result<String> {
        if planned.act == Act::RecordOutage || planned.act == Act::Switchover {
            return Ok(EVERYBODY.to_owned());
        }
        let is_free = |name: &&String| self.ongoing.iter().all(|one| one.instance != **name);
        let names = || status.instances.iter().map(|one| &one.name).filter(is_free);
        let standbys = || names().filter(|name| Some(*name) != status.primary.as_ref());
        let wanted = match planned.target {
            Target::Primary => status.primary.as_ref().filter(is_free),
            Target::FirstStandby => standbys().next(),
            Target::LastStandby => standbys().next_back(),
        };
        let chosen = wanted.or_else(|| names().next());
        chosen.cloned().context("every instance is hit already")
    }

    fn inject(
        &mut self,
        planned: Planned,
        instance: &str,
        status: &Status,
        seeded: &mut Seeded,
    ) -> Result<()> {
        let act =
            |verb: &str, flags: &[&str]| self.pgherd.act(verb, &[&[instance], flags].concat());
        match planned.act {
            Act::KillNode => act("kill", &[]),
            Act::KillPostgres => act("kill", &["--postgres"]),
            Act::KillAgent => act("kill", &["--agent"]),
            Act::FreezeNode => act("freeze", &[]),
            Act::FreezePostgres => act("freeze", &["--postgres"]),
            Act::FreezeAgent => act("freeze", &["--agent"]),
            Act::Stutter => self.stutter(instance, planned.lasts, seeded),
            Act::CutOff => act("partition", &[]),
            Act::CutOutgoing => act("partition", &["--one-way"]),
            Act::CutRecord => act("partition", &["--record-only"]),
            Act::CutPair => {
                let others = status.instances.iter().map(|one| one.name.as_str());
                let mut others = others.filter(|name| *name != instance);
                let primary = status.primary.as_deref().filter(|name| *name != instance);
                let other = primary.or_else(|| others.next()).context("nobody else is there")?;
                act("partition", &["--from", other])
            }
            Act::RecordOutage => {
                let all = status.instances.iter().map(|one| one.name.as_str());
                all.into_iter()
                    .try_for_each(|name| self.pgherd.act("partition", &[name, "--record-only"]))
            }
            Act::Switchover => self.pgherd.act("switchover", &["--no-probe", "--timeout", "30s"]),
        }
    }

    fn stutter(&self, instance: &str, lasts: Duration, seeded: &mut Seeded) -> Result<()> {
        let until = Instant::now() + lasts;
        let moment = |seeded: &mut Seeded| {
            seeded.between(Duration::from_millis(20), Duration::from_millis(400))
        };
        while Instant::now() < until {
            self.pgherd.act("freeze", &[instance, "--agent"])?;
            let passed = wait::pass(moment(seeded));
            self.pgherd.act("thaw", &[instance])?;
            passed?;
            wait::pass(moment(seeded))?;
        }
        Ok(())
    }

    /// Ends what is due while time passes.
    fn pass(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.ongoing.iter().any(|one| one.until <= Instant::now()) {
                self.end_next()?;
            } else {
                wait::pass(LOOK)?;
            }
        }
        Ok(())
    }

    /// Waits for the end of the fault that ends next, and ends it.
    fn end_next(&mut self) -> Result<()> {
        let next = self.ongoing.iter().enumerate().min_by_key(|(_, one)| one.until);
        let Some((index, _)) = next else { return Ok(()) };
        let ending = self.ongoing.swap_remove(index);
        wait::pass(ending.until.saturating_duration_since(Instant::now()))?;
        let instance = ending.instance.as_str();
        match ending.undo {
            Undo::Start => self.pgherd.act("start", &[instance, "--no-wait"]),
            Undo::Thaw => self.pgherd.act("thaw", &[instance]),
            Undo::Heal => self.pgherd.act("heal", &[instance]),
            Undo::HealAll => self.pgherd.act("heal", &[]),
            Undo::Nothing => Ok(()),
        }?;
        if let Some(frozen) = ending.frozen {
            self.trail.thaw(frozen);
        }
        Ok(())
    }

    fn end_all(&mut self) -> Result<()> {
        while !self.ongoing.is_empty() {
            self.end_next()?;
        }
        Ok(())
    }

    /// Ends all faults and waits until the cluster is in order and writes flow.
    fn calm(&mut self) -> Result<()> {
        self.end_all()?;
        let calm = Instant::now();
        let mut missing = None;
        let steady = wait::find_seldom("a cluster in order", STEADY_WITHIN, || {
            missing = self.pgherd.unsteady()?;
            Ok(missing.is_none().then_some(()))
        });
        if let (Err(error), Some(missing)) = (steady, missing) {
            bail!("{error:#}: {missing}");
        }
        let settled = self.ledger.settle(calm, QUIET, STEADY_WITHIN);
        self.runtime.block_on(settled)?;
        let outage = self.ledger.longest_gap(self.since).length();
        let count = self.untold.len();
        for (index, mut told) in self.untold.drain(..).enumerate() {
            if index + 1 == count {
                told.in_order(outage, calm.elapsed().saturating_sub(QUIET));
            }
            (self.tell)(&told);
            self.trail.told.push(told);
        }
        Ok(())
    }
}

impl Undo {
    fn of(act: Act) -> Self {
        match act {
            Act::KillNode => Self::Start,
            Act::FreezeNode | Act::FreezePostgres | Act::FreezeAgent | Act::Stutter => Self::Thaw,
            Act::CutOff | Act::CutOutgoing | Act::CutRecord | Act::CutPair => Self::Heal,
            Act::RecordOutage => Self::HealAll,
            Act::KillPostgres | Act::KillAgent | Act::Switchover => Self::Nothing,
        }
    }
}

impl Trail {
    fn freeze(&mut self, instance: &str) -> usize {
        self.frozen.push(Frozen { instance: instance.to_owned(), from: Instant::now(), to: None });
        self.frozen.len() - 1
    }

    fn thaw(&mut self, index: usize) {
        if let Some(frozen) = self.frozen.get_mut(index) {
            frozen.to = Some(Instant::now());
        }
    }
}
