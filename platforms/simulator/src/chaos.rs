//! Draws a schedule of faults from a seed.
//!
//! Never draws from every kind at once: each seed has a few favourites, so that the same trouble
//! comes often and close together.

use crate::clock::{MILLISECOND, SECOND};
use crate::faults::{Fault, Mark, TaskKind, What, When, Who};
use crate::names::{NodeId, NodeSet};
use crate::rng::Rng;
use crate::world::Config;
use pgherd_core::intent::Durability;
use pgherd_core::seen::Change;
use pgherd_core::units::Bytes;

/// Whether machines and processes may stand still for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezes {
    Never,
    Sometimes,
}

/// When the first fault may strike: the cluster stands by then.
const FIRST: u64 = 9 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cut,
    Isolate,
    Loss,
    Store,
    StoreEdited,
    Agent,
    Container,
    Node,
    Everything,
    Volume,
    Server,
    Sickness,
    Weakness,
    Calendar,
    Switchover,
    Scale,
    Wish,
    Freeze,
}

const KINDS: [Kind; 17] = [
    Kind::Cut,
    Kind::Isolate,
    Kind::Loss,
    Kind::Store,
    Kind::StoreEdited,
    Kind::Agent,
    Kind::Container,
    Kind::Node,
    Kind::Everything,
    Kind::Volume,
    Kind::Server,
    Kind::Sickness,
    Kind::Weakness,
    Kind::Calendar,
    Kind::Switchover,
    Kind::Scale,
    Kind::Wish,
];

struct Draw<'a> {
    rng: Rng,
    config: &'a Config,
}

/// The faults of a seed, in no particular order.
pub fn schedule(config: &Config, freezes: Freezes) -> Vec<Fault> {
    let mut draw = Draw { rng: Rng::new(config.seed, 10), config };
    let mut favourites: Vec<Kind> = Vec::new();
    for _ in 0..draw.rng.between(2, 8) {
        favourites.extend(draw.rng.pick(&KINDS));
    }
    if freezes == Freezes::Sometimes {
        favourites.extend([Kind::Freeze, Kind::Freeze]);
    }
    let count = draw.rng.between(4, 26);
    (0..count).filter_map(|_| draw.fault(&favourites)).collect()
}

impl Draw<'_> {
    fn fault(&mut self, favourites: &[Kind]) -> Option<Fault> {
        if self.rng.chance(180) {
            return Some(self.ambush());
        }
        let kind = *self.rng.pick(favourites)?;
        let at = self.moment();
        let who = self.who();
        let lasts = self.duration();
        let what = self.what(kind);
        Some(Fault::at(at, who, what, lasts))
    }

    fn moment(&mut self) -> u64 {
        self.rng.between(FIRST, self.config.quiet_at)
    }

    fn duration(&mut self) -> u64 {
        match self.rng.below(10) {
            0..=3 => self.rng.between(20 * MILLISECOND, SECOND),
            4..=6 => self.rng.between(SECOND, 5 * SECOND),
            _ => self.rng.between(5 * SECOND, 22 * SECOND),
        }
    }

    fn who(&mut self) -> Who {
        match self.rng.below(10) {
            0..=4 => Who::Holder,
            5..=8 => Who::Other(u8::try_from(self.rng.below(4)).unwrap_or(0)),
            _ => Who::Node(self.node()),
        }
    }

    fn node(&mut self) -> NodeId {
        NodeId(u8::try_from(self.rng.below(u64::from(self.config.instances))).unwrap_or(0))
    }

    /// A fault that waits for the worst moment.
    fn ambush(&mut self) -> Fault {
        use TaskKind as T;
        let tasks = [
            T::Start,
            T::Seal,
            T::Follow,
            T::Promote,
            T::Obey,
            T::OpenGate,
            T::Checkpoint,
            T::Stop,
            T::ScanEnd,
            T::FetchTail,
            T::Rewind,
            T::Clone,
        ];
        let changes = [
            Change::Claim,
            Change::Retake,
            Change::Bump,
            Change::Restore,
            Change::Amend,
            Change::HandOver,
            Change::AbortHandOver,
            Change::Vacate,
        ];
        let task = self.rng.pick(&tasks).copied().unwrap_or(T::Promote);
        let change = self.rng.pick(&changes).copied().unwrap_or(Change::Claim);
        let marks = [
            Mark::Begins(task),
            Mark::Ends(task),
            Mark::Sends(change),
            Mark::Applied(change),
            Mark::Sends(Change::Claim),
            Mark::Persists,
            Mark::SealsAnother,
            Mark::AnnouncesRelease,
            Mark::Fences,
        ];
        let mark = self.rng.pick(&marks).copied().unwrap_or(Mark::Fences);
        let when = When::Upon {
            mark,
            by: None,
            nth: u32::try_from(self.rng.between(1, 4)).unwrap_or(1),
            from: self.moment(),
            then: self.rng.below(20 * MILLISECOND) * self.rng.below(4),
        };
        let what = match self.rng.below(10) {
            0 => What::AgentCrash,
            1 => What::AgentCrashAfter(u32::try_from(self.rng.below(4)).unwrap_or(0)),
            2 => What::ContainerKill,
            3 => What::NodeLoss,
            4 => What::Isolate,
            5 => What::StoreAnswersCut,
            6 => What::StoreCut,
            7 => What::PostmasterKill,
            8 => What::BackendCrash,
            _ => What::CutTo(self.node()),
        };
        let who = match self.rng.below(4) {
            0..=1 => Who::Actor,
            2 => Who::Holder,
            _ => Who::Other(0),
        };
        Fault { when, who, what, lasts: self.duration() }
    }

    fn what(&mut self, kind: Kind) -> What {
        let node = self.node();
        match kind {
            Kind::Cut => self.one_of(&[What::CutTo(node), What::CutBoth(node)]),
            Kind::Isolate => self.one_of(&[What::Isolate, What::Isolate, What::CutBoth(node)]),
            Kind::Loss => {
                let permille = self.rng.between(20, 700);
                let delay = self.rng.between(20, 900) * MILLISECOND;
                self.one_of(&[What::Lose(permille), What::Delay(delay)])
            }
            Kind::Store => self.one_of(&[
                What::StoreDown,
                What::StoreGrey,
                What::StoreCut,
                What::StoreAsksCut,
                What::StoreAnswersCut,
            ]),
            Kind::StoreEdited => {
                let back = usize::try_from(self.rng.between(1, 8)).unwrap_or(1);
                self.one_of(&[What::StoreDeleted, What::StoreRestored { back }, What::StoreTouched])
            }
            Kind::Agent => {
                let steps = u32::try_from(self.rng.below(60)).unwrap_or(0);
                self.one_of(&[
                    What::AgentCrash,
                    What::AgentCrashAfter(steps),
                    What::AgentReexecutes,
                ])
            }
            Kind::Container => What::ContainerKill,
            Kind::Node => What::NodeLoss,
            Kind::Everything => self.one_of(&[What::AllLost, What::NodeLoss, What::ContainerKill]),
            Kind::Volume => self.one_of(&[What::VolumeReplaced, What::NodeLoss]),
            Kind::Server => self.one_of(&[What::PostmasterKill, What::BackendCrash]),
            Kind::Sickness => self.one_of(&[What::Hang, What::DiskFull, What::StopServer]),
            Kind::Weakness => self.one_of(&[
                What::ReplayBacklog,
                What::SlowReload,
                What::WalGone,
                What::RewindFails,
            ]),
            Kind::Calendar => What::CalendarStep(self.duration()),
            Kind::Switchover => {
                self.one_of(&[What::Switchover(None), What::Switchover(Some(node))])
            }
            Kind::Scale => self.one_of(&[What::ScaleUp, What::ScaleDown(node)]),
            Kind::Wish => self.wish(),
            Kind::Freeze => {
                let permille = self.rng.between(300, 990);
                self.one_of(&[
                    What::FreezeMachine,
                    What::FreezeClock,
                    What::StopAgent,
                    What::StopBoth,
                    What::Throttle(permille),
                ])
            }
        }
    }

    fn wish(&mut self) -> What {
        let set: NodeSet = [self.node(), self.node()].into_iter().collect();
        let durability = match self.rng.below(4) {
            0 => Durability::Asynchronous { max_lag: Bytes(1 << 20) },
            1 => Durability::Preferred { acks: 1 },
            _ => self.config.durability,
        };
        self.one_of(&[
            What::Pause,
            What::Fence,
            What::Leave,
            What::Durability(durability),
            What::StopAll,
            What::Restart(set),
            What::Reconfigure,
        ])
    }

    fn one_of(&mut self, choices: &[What]) -> What {
        self.rng.pick(choices).copied().unwrap_or(What::AgentCrash)
    }
}
