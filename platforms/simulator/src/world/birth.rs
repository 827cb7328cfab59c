//! How a world begins: machines with empty volumes, and a user who wants a cluster.
//!
//! Never begins in the middle: every run initialises its cluster first.

use crate::checker::Checker;
use crate::clock::{LocalClock, MILLISECOND, SECOND};
use crate::figures::Figures;
use crate::happening::Happening;
use crate::liveness::Deadline;
use crate::names::NodeId;
use crate::network::Network;
use crate::node::{Machine, Node, Nodes, Power, Process, Trouble};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::server::stream::Connections;
use crate::store::Store;
use crate::trace::Trace;
use crate::wal::Forest;
use crate::world::{Clocks, Config, Dice, World};
use pgherd_core::intent::Intent;
use pgherd_core::names::{ClusterName, NameError};
use pgherd_core::seen::{Durable, Pending};
use pgherd_core::units::Epoch;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

impl World {
    pub fn new(config: Config) -> Result<Self, NameError> {
        let cluster = ClusterName::parse("db")?;
        let stream = |number| Rng::new(config.seed, number);
        let intent = Rc::new(first_intent(&config, &cluster));
        let mut dice = Dice {
            agent: stream(1),
            server: stream(2),
            store: stream(3),
            client: stream(4),
            fault: stream(5),
        };
        let nodes =
            Nodes::ids().map(|id| first_node(id, &cluster, &config, &intent, &mut dice)).collect();
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            cluster,
            nodes: Nodes(nodes),
            network: Network::new(stream(6)),
            store: Store::default(),
            store_down: 0,
            store_grey: 0,
            forest: Forest::default(),
            connections: Connections::default(),
            intent,
            intents: 0,
            armed: Vec::new(),
            struck: None,
            marks: None,
            checker: Checker::default(),
            trace: Trace::default(),
            figures: Figures::default(),
            dice,
            fingerprint: config.seed,
            config,
        };
        world.begin();
        Ok(world)
    }

    fn begin(&mut self) {
        for id in (0..self.config.instances).map(NodeId) {
            let pause = self.dice.agent.between(MILLISECOND, 500 * MILLISECOND);
            self.start_agent_after(id, pause);
        }
        self.after(SECOND, Happening::Commits);
        for deadline in Deadline::ALL {
            let at = deadline.moment(&self.config);
            self.queue.add(at, Happening::Examines(deadline));
        }
    }

    /// A machine boots: its clock starts anew.
    pub fn boot_machine(&mut self, id: NodeId) {
        let clock = boot_clock(id, &mut self.dice.agent, self.config.clocks, self.now);
        let machine = &mut self.nodes[id].machine;
        machine.power = Power::On;
        machine.clock = clock;
        machine.frozen_until = 0;
        machine.agent_stopped_until = 0;
        machine.server_stopped_until = 0;
        machine.excused_until = 0;
    }
}

fn boot_clock(id: NodeId, rng: &mut Rng, clocks: Clocks, now: u64) -> LocalClock {
    let origin = rng.between(SECOND, 40 * SECOND);
    // The extremes are where the inequality is tight.
    let drift = match (clocks, rng.below(4)) {
        (Clocks::True, _) => 0,
        (Clocks::Given(drifts), _) => drifts.get(usize::from(id.0)).copied().unwrap_or(0),
        (Clocks::Drifting, 0) => -10_000,
        (Clocks::Drifting, 1) => 10_000,
        (Clocks::Drifting, _) => i64::try_from(rng.below(20_001)).unwrap_or(0) - 10_000,
    };
    LocalClock::booted(now, origin, drift)
}

fn first_intent(config: &Config, cluster: &ClusterName) -> Intent {
    Intent {
        cluster: cluster.clone(),
        instances: (0..config.instances).map(|serial| NodeId(serial).name(cluster)).collect(),
        first: Some(config.first.name(cluster)),
        durability: config.durability,
        timers: config.timers,
        failover_delay: config.failover_delay,
        stop_delay: Duration::from_secs(8),
        paused: false,
        fenced: BTreeSet::new(),
        leaving: BTreeSet::new(),
        stopped: false,
        switchover: None,
        restart: None,
        configuration: 1,
    }
}

fn first_node(
    id: NodeId,
    cluster: &ClusterName,
    config: &Config,
    intent: &Rc<Intent>,
    dice: &mut Dice,
) -> Node {
    let exists = id.0 < config.instances;
    Node {
        id,
        name: id.name(cluster),
        machine: Machine {
            power: if exists { Power::On } else { Power::Nowhere },
            clock: boot_clock(id, &mut dice.agent, config.clocks, 0),
            frozen_until: 0,
            agent_stopped_until: 0,
            server_stopped_until: 0,
            excused_until: 0,
            asks_cut: 0,
            answers_cut: 0,
            asks_late: 0,
        },
        agent: None,
        life: 0,
        durable: Durable::default(),
        volume: dice.agent.draw(),
        intent: Rc::clone(intent),
        intent_number: 0,
        task: None,
        runs: 0,
        folder: None,
        copy: None,
        process: Process::None,
        process_id: 0,
        trouble: Trouble::default(),
        configuration: 0,
        pending: Pending::Nothing,
        progress: None,
        redo: 0,
        voted: Epoch(0),
        heard: None,
    }
}
