//! A named, directed schedule: what happens when, and what must be true of it always, eventually
//! and sometimes.
//!
//! Never depends on luck alone: it is played with several seeds, and must hold in each of them.

use crate::checker::Violation;
use crate::clock::{Moment, SECOND};
use crate::faults::{Fault, When};
use crate::names::SLOTS;
use crate::run::Played;
use crate::world::{Clocks, Config, Traced, World};
use pgherd_core::intent::Durability;
use pgherd_core::names::NameError;
use pgherd_core::rules::{Rule, break_rule};
use pgherd_core::timers::Timers;
use pgherd_core::units::Bytes;
use std::time::Duration;
use watch::Watch;
use words::{Act, Cue, Property};

pub mod properties;
pub mod watch;
pub mod words;

/// The seeds that every scenario is played with.
pub const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
/// When the first act may come: the cluster stands by then.
pub const STANDS: Moment = 9 * SECOND;

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    config: Config,
    faults: Vec<Fault>,
    always: Vec<Property>,
    /// Each within so much time of the first act.
    eventually: Vec<(Property, u64)>,
    sometimes: Vec<Property>,
}

/// What a scenario came to with one seed.
#[derive(Debug)]
pub struct Told {
    pub played: Played,
    /// Which of what must sometimes be true was so at some moment, in the order of the scenario.
    pub reached: Vec<Reached>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub what: String,
    pub at: Option<Moment>,
}

/// A cluster of instances by their letters, of which the starred one is first: `a* b c`. It is
/// asynchronous, its clocks are true, and its network loses nothing, unless told otherwise.
pub fn scenario(cluster: &str) -> Scenario {
    let letters: Vec<&str> = cluster.split_whitespace().collect();
    let first = letters.iter().find_map(|letter| letter.strip_suffix('*')).unwrap_or("a");
    let config = Config {
        seed: 0,
        instances: u8::try_from(letters.len()).unwrap_or(SLOTS),
        first: words::node(first),
        durability: Durability::Asynchronous { max_lag: Bytes(1 << 20) },
        timers: Timers::STANDARD,
        failover_delay: Duration::ZERO,
        quiet_at: 45 * SECOND,
        ends_at: 90 * SECOND,
        traced: Traced::No,
        clocks: Clocks::Given([0; SLOTS as usize]),
    };
    Scenario {
        name: "",
        config,
        faults: Vec::new(),
        always: Vec::new(),
        eventually: Vec::new(),
        sometimes: Vec::new(),
    }
}

impl Scenario {
    pub fn required(mut self, acks: usize) -> Self {
        self.config.durability = Durability::Required { acks };
        self
    }

    pub fn preferred(mut self, acks: usize) -> Self {
        self.config.durability = Durability::Preferred { acks };
        self
    }

    pub fn asynchronous(mut self, max_lag: u64) -> Self {
        self.config.durability = Durability::Asynchronous { max_lag: Bytes(max_lag) };
        self
    }

    pub fn timers(mut self, timers: Timers) -> Self {
        self.config.timers = timers;
        self
    }

    /// The clock of this instance is so many millionths too fast.
    pub fn drift(mut self, who: &str, millionths: i64) -> Self {
        if let Clocks::Given(drifts) = &mut self.config.clocks
            && let Some(drift) = drifts.get_mut(usize::from(words::node(who).0))
        {
            *drift = millionths;
        }
        self
    }

    /// Acts end, at the latest, at this moment; what must come true in the end has 45 s from then.
    pub fn until(mut self, moment: Moment) -> Self {
        self.config.quiet_at = moment;
        self.config.ends_at = moment + 45 * SECOND;
        self
    }

    pub fn at(mut self, moment: Moment, act: Act) -> Self {
        self.faults.push(act.when(When::At(moment)));
        self
    }

    /// The act comes when something happens, rather than at a given moment.
    pub fn upon(mut self, cue: Cue, act: Act) -> Self {
        self.faults.push(act.when(cue.when()));
        self
    }

    pub fn always(mut self, property: Property) -> Self {
        self.always.push(property);
        self
    }

    /// True at some moment within so much time of the first act.
    pub fn eventually(mut self, property: Property, within: u64) -> Self {
        self.eventually.push((property, within));
        self
    }

    /// True at some moment with at least one of the seeds: the schedule reaches what it is about.
    pub fn sometimes(mut self, property: Property) -> Self {
        self.sometimes.push(property);
        self
    }

    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Whether it says what holds in the end, and what it is about. That the invariants always
    /// hold goes without saying.
    pub fn is_complete(&self) -> bool {
        !self.eventually.is_empty() && !self.sometimes.is_empty() && !self.faults.is_empty()
    }

    /// Plays it with one seed, with or without one rule of the protocol.
    pub fn play(&self, seed: u64, mutant: Option<Rule>, traced: Traced) -> Result<Told, NameError> {
        break_rule(mutant);
        let config = Config { seed, traced, ..self.config.clone() };
        let mut world = World::new(config)?;
        world.network.calm_down();
        world.marks = Some(Vec::new());
        world.expect(&self.faults);
        let mut watch = Watch::new(&self.always, &self.eventually, &self.sometimes);
        while world.step() {
            watch.look(&mut world);
        }
        watch.end(&mut world);
        world.finish();
        break_rule(None);
        Ok(Told { reached: watch.reached(), played: Played::of(world) })
    }

    /// The first seed with which something is broken, and what.
    pub fn first_violation(&self, mutant: Option<Rule>) -> Option<(u64, Violation)> {
        SEEDS.into_iter().find_map(|seed| {
            let told = self.play(seed, mutant, Traced::No).ok()?;
            Some((seed, told.played.violation?))
        })
    }

    /// What has to be sometimes true and was so with none of the seeds.
    pub fn never_reached(&self) -> Vec<String> {
        let mut missing: Option<Vec<String>> = None;
        for seed in SEEDS {
            let Ok(told) = self.play(seed, None, Traced::No) else { continue };
            let not = told.reached.into_iter().filter(|one| one.at.is_none());
            let not: Vec<String> = not.map(|one| one.what).collect();
            let still = missing.take().unwrap_or_else(|| not.clone());
            let left: Vec<String> = still.into_iter().filter(|what| not.contains(what)).collect();
            if left.is_empty() {
                return left;
            }
            missing = Some(left);
        }
        missing.unwrap_or_default()
    }
}
