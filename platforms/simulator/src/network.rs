//! The paths between instances: how long a message takes, and whether it arrives.
//!
//! Never delivers anything itself.

use crate::clock::{MILLISECOND, Moment};
use crate::names::{NodeId, SLOTS};
use crate::rng::Rng;

/// One direction between two instances. Faults are counted, so that they can overlap.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    pub cuts: u8,
    pub cut_since: Moment,
    /// How many requests of a thousand are lost on top of the usual few.
    pub loss_permille: u64,
    pub delay: u64,
    /// On top of all else, always the same.
    pub late: u64,
}

#[derive(Debug, Clone)]
pub struct Network {
    links: Vec<Link>,
    rng: Rng,
    /// How many requests of a thousand are lost on a good day, and how many are slow.
    pub usual_loss_permille: u64,
    pub usual_slow_permille: u64,
}

impl Network {
    pub fn new(rng: Rng) -> Self {
        let count = usize::from(SLOTS) * usize::from(SLOTS);
        Self {
            links: vec![Link::default(); count],
            rng,
            usual_loss_permille: 2,
            usual_slow_permille: 5,
        }
    }

    pub fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(Self::index(from, to)).copied().unwrap_or_default()
    }

    pub fn change(&mut self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(Self::index(from, to)) {
            change(link);
        }
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.link(from, to).cuts > 0
    }

    /// How long a request or reply takes, or nothing when it is lost.
    pub fn message(&mut self, from: NodeId, to: NodeId) -> Option<u64> {
        let link = self.link(from, to);
        let lost = self.rng.chance(self.usual_loss_permille + link.loss_permille);
        (link.cuts == 0 && !lost).then(|| self.delay(link))
    }

    /// How long bytes of an open connection take: they may be late, never lost.
    pub fn stream(&mut self, from: NodeId, to: NodeId) -> u64 {
        let link = self.link(from, to);
        let resent = self.rng.chance(link.loss_permille / 4);
        self.delay(link) + if resent { self.rng.between(200, 800) * MILLISECOND } else { 0 }
    }

    /// From now on nothing is lost or slow.
    pub fn calm_down(&mut self) {
        self.usual_loss_permille = 0;
        self.usual_slow_permille = 0;
    }

    /// Whether a message arrives twice.
    pub fn doubles(&mut self) -> bool {
        self.rng.chance(3)
    }

    fn delay(&mut self, link: Link) -> u64 {
        let usual = if self.rng.chance(self.usual_slow_permille) {
            self.rng.between(50 * MILLISECOND, 1_000 * MILLISECOND)
        } else {
            self.rng.between(MILLISECOND / 5, 4 * MILLISECOND)
        };
        usual + link.late + link.delay / 2 + self.rng.below(link.delay + 1)
    }

    fn index(from: NodeId, to: NodeId) -> usize {
        usize::from(from.0) * usize::from(SLOTS) + usize::from(to.0)
    }
}
