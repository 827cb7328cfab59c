//! Runs one world from its birth to its end, and says what came of it.
//!
//! Never keeps a world: a result is small.

use crate::chaos::{Freezes, schedule};
use crate::checker::Violation;
use crate::clock::SECOND;
use crate::faults::Fault;
use crate::figures::Figures;
use crate::names::NodeId;
use crate::rng::Rng;
use crate::world::{Clocks, Config, Traced, World};
use pgherd_core::intent::Durability;
use pgherd_core::names::NameError;
use pgherd_core::rules::{Rule, break_rule};
use pgherd_core::timers::Timers;
use pgherd_core::units::Bytes;
use std::time::Duration;

/// What kind of cluster a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    pub instances: u8,
    pub durability: Durability,
    pub freezes: Freezes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    pub violation: Option<Violation>,
    pub figures: Figures,
    pub fingerprint: u64,
    pub trace: Vec<String>,
}

impl Played {
    pub fn of(world: World) -> Self {
        Self {
            violation: world.checker.violation,
            figures: world.figures,
            fingerprint: world.fingerprint,
            trace: world.trace.lines,
        }
    }
}

/// A schedule and the world it plays in: everything that is needed to see it again.
#[derive(Debug, Clone)]
pub struct Play {
    pub config: Config,
    pub faults: Vec<Fault>,
    pub mutant: Option<Rule>,
}

impl Setup {
    /// The setup that a seed stands for when nothing else is asked for.
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 11);
        let instances = rng.pick(&[1, 2, 2, 3, 3, 3, 3, 3, 5, 5]).copied().unwrap_or(3);
        let acks = if instances == 5 && rng.chance(500) { 2 } else { 1 };
        let max_lag = Bytes(1 << 20);
        let durability = match (instances, rng.below(5)) {
            (1, 0..=2) => Durability::Preferred { acks: 1 },
            (_, 0 | 1) if instances > 1 => Durability::Required { acks },
            (_, 2 | 3) => Durability::Preferred { acks },
            _ => Durability::Asynchronous { max_lag },
        };
        let freezes = if rng.chance(300) { Freezes::Sometimes } else { Freezes::Never };
        Self { instances, durability, freezes }
    }
}

impl Play {
    /// The schedule that a seed draws for a setup.
    pub fn drawn(seed: u64, setup: Setup) -> Self {
        let mut rng = Rng::new(seed, 12);
        let timers =
            if setup.instances > 2 && rng.chance(150) { Timers::FAST } else { Timers::STANDARD };
        let config = Config {
            seed,
            instances: setup.instances,
            first: NodeId(0),
            durability: setup.durability,
            timers,
            failover_delay: Duration::ZERO,
            quiet_at: 70 * SECOND,
            ends_at: 120 * SECOND,
            traced: Traced::No,
            clocks: Clocks::Drifting,
        };
        let faults = schedule(&config, setup.freezes);
        Self { config, faults, mutant: None }
    }

    pub fn traced(mut self) -> Self {
        self.config.traced = Traced::Yes;
        self
    }

    pub fn run(&self) -> Result<Played, NameError> {
        Ok(Played::of(self.world()?))
    }

    fn world(&self) -> Result<World, NameError> {
        break_rule(self.mutant);
        let mut world = World::new(self.config.clone())?;
        world.expect(&self.faults);
        world.run();
        break_rule(None);
        Ok(world)
    }
}
