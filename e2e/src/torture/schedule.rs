//! Decides which faults happen, to whom, for how long, and which overlap; all from one seed.
//!
//! Never looks at a cluster: whom `the primary` means is found out when the fault happens.

use crate::seed::Seeded;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    KillNode,
    KillPostgres,
    KillAgent,
    FreezeNode,
    FreezePostgres,
    FreezeAgent,
    /// The agent is frozen again and again for a moment, as on a machine that is too busy.
    Stutter,
    /// Nothing passes between it and the others and the record.
    CutOff,
    /// What it sends is lost, what is sent to it arrives.
    CutOutgoing,
    /// It does not reach the record.
    CutRecord,
    /// Nothing passes between it and one other.
    CutPair,
    /// Nobody reaches the record.
    RecordOutage,
    Switchover,
}

impl Act {
    const ALL: [Self; 13] = [
        Self::KillNode,
        Self::KillPostgres,
        Self::KillAgent,
        Self::FreezeNode,
        Self::FreezePostgres,
        Self::FreezeAgent,
        Self::Stutter,
        Self::CutOff,
        Self::CutOutgoing,
        Self::CutRecord,
        Self::CutPair,
        Self::RecordOutage,
        Self::Switchover,
    ];

    /// How long it lasts: from unnoticed to longer than every timer.
    fn lasts(self) -> (Duration, Duration) {
        let milliseconds = |n| Duration::from_millis(n);
        match self {
            Self::KillPostgres | Self::KillAgent | Self::Switchover => {
                (Duration::ZERO, Duration::ZERO)
            }
            Self::Stutter => (milliseconds(1_000), milliseconds(4_000)),
            Self::FreezeNode | Self::FreezePostgres | Self::FreezeAgent => {
                (milliseconds(200), milliseconds(8_000))
            }
            Self::KillNode | Self::CutOff | Self::CutOutgoing | Self::CutRecord | Self::CutPair => {
                (milliseconds(500), milliseconds(9_000))
            }
            Self::RecordOutage => (milliseconds(1_000), milliseconds(20_000)),
        }
    }

    /// Whether a process that should watch a deadline cannot do so meanwhile.
    pub fn freezes(self) -> bool {
        match self {
            Self::FreezeNode | Self::FreezePostgres | Self::FreezeAgent | Self::Stutter => true,
            Self::KillNode
            | Self::KillPostgres
            | Self::KillAgent
            | Self::CutOff
            | Self::CutOutgoing
            | Self::CutRecord
            | Self::CutPair
            | Self::RecordOutage
            | Self::Switchover => false,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillNode => "kill",
            Self::KillPostgres => "kill postgres",
            Self::KillAgent => "kill agent",
            Self::FreezeNode => "freeze",
            Self::FreezePostgres => "freeze postgres",
            Self::FreezeAgent => "freeze agent",
            Self::Stutter => "stutter",
            Self::CutOff => "cut off",
            Self::CutOutgoing => "cut outgoing",
            Self::CutRecord => "cut record",
            Self::CutPair => "cut pair",
            Self::RecordOutage => "record outage",
            Self::Switchover => "switchover",
        })
    }
}

/// Whom it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Primary,
    FirstStandby,
    LastStandby,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "the primary",
            Self::FirstStandby => "a standby",
            Self::LastStandby => "the other standby",
        })
    }
}

/// What comes after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// It ends, and the cluster is in order again.
    Settled,
    /// It ends, and the next one comes so soon.
    Soon(Duration),
    /// The next one comes so soon, and this one goes on.
    Meanwhile(Duration),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Planned {
    pub act: Act,
    pub target: Target,
    pub lasts: Duration,
    pub next: Next,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {:?}", self.act, self.target, self.lasts)?;
        match self.next {
            Next::Settled => Ok(()),
            Next::Soon(pause) => write!(f, ", next {pause:?} after"),
            Next::Meanwhile(pause) => write!(f, ", next {pause:?} into it"),
        }
    }
}

/// The faults of a seed. More of them begin with fewer of them.
pub fn schedule(seed: u64, count: usize) -> Vec<Planned> {
    let mut seeded = Seeded::new(seed);
    let mut planned = Vec::with_capacity(count);
    while planned.len() < count {
        // Dealt like cards: every kind comes before any comes again.
        let mut deck = Act::ALL;
        seeded.shuffle(&mut deck);
        planned.extend(deck.into_iter().map(|act| plan(&mut seeded, act)));
    }
    planned.truncate(count);
    planned
}

fn plan(seeded: &mut Seeded, act: Act) -> Planned {
    let (shortest, longest) = act.lasts();
    let pause = |seeded: &mut Seeded| {
        seeded.between(Duration::from_millis(50), Duration::from_millis(2_500))
    };
    let target = match seeded.below(6) {
        0 => Target::FirstStandby,
        1 => Target::LastStandby,
        _ => Target::Primary,
    };
    let lasts = seeded.between(shortest, longest);
    let next = match seeded.below(10) {
        0 | 1 => Next::Meanwhile(pause(seeded)),
        2 | 3 => Next::Soon(pause(seeded)),
        _ => Next::Settled,
    };
    Planned { act, target, lasts, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_says_all() {
        let told: Vec<String> = schedule(7, 13).iter().map(ToString::to_string).collect();
        expect_test::expect![[r#"
            kill agent: a standby, 0ns, next 929ms into it
            freeze postgres: the other standby, 5.939s
            cut record: the primary, 5.396s
            cut outgoing: the primary, 5.858s, next 1.727s into it
            stutter: a standby, 1.679s
            cut pair: the primary, 5.505s, next 731ms into it
            freeze agent: a standby, 5.858s, next 1.126s into it
            kill postgres: the primary, 0ns, next 1.263s into it
            cut off: the other standby, 638ms, next 1.511s into it
            freeze: the primary, 4.766s, next 131ms into it
            switchover: the primary, 0ns, next 1.657s into it
            kill: the primary, 7.03s, next 95ms after
            record outage: the other standby, 12.289s"#]]
        .assert_eq(&told.join("\n"));
        let longer = schedule(7, 40);
        assert_eq!(longer.get(..13), Some(schedule(7, 13).as_slice()));
        assert_ne!(longer, schedule(8, 40));
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        for seed in 0..100 {
            let all: BTreeSet<Act> = schedule(seed, 13).iter().map(|one| one.act).collect();
            assert_eq!(all.len(), Act::ALL.len());
        }
    }
}
