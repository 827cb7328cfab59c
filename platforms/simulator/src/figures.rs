//! What a run amounted to, in numbers.
//!
//! Never part of a decision.

use crate::clock::Moment;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub happenings: u64,
    pub plans: u64,
    pub promotions: u64,
    /// Applied writes of the record.
    pub writes: u64,
    pub commits: u64,
    pub acknowledgements: u64,
    pub last_acknowledged: Moment,
    /// The longest time without any acknowledgement, and when it ended.
    pub longest_silence: u64,
    pub silence_ended: Moment,
    /// How long clients were served without an interruption of more than a second, all in all.
    pub available: u64,
}

/// A shorter pause between two acknowledgements is no outage.
const OUTAGE: u64 = 1_000_000;

impl Figures {
    pub fn acknowledged(&mut self, now: Moment) {
        let silence = now - self.last_acknowledged;
        if silence > self.longest_silence {
            self.longest_silence = silence;
            self.silence_ended = now;
        }
        if silence < OUTAGE {
            self.available += silence;
        }
        self.acknowledgements += 1;
        self.last_acknowledged = now;
    }

    /// The run ends: the last silence counts too.
    pub fn acknowledged_nothing_since(&mut self, now: Moment) {
        let silence = now.saturating_sub(self.last_acknowledged);
        if silence > self.longest_silence {
            self.longest_silence = silence;
            self.silence_ended = now;
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.happenings += other.happenings;
        self.plans += other.plans;
        self.promotions += other.promotions;
        self.writes += other.writes;
        self.commits += other.commits;
        self.acknowledgements += other.acknowledgements;
        self.available += other.available;
    }
}
