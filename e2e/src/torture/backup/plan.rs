//! Chooses what goes on, who is killed, and when.
//!
//! Never by chance: the same seed gives the same rounds.

use crate::seed::Seeded;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    Archive,
    Backup,
    Restore,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    Agent,
    Postgres,
    Store,
}

/// One round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Planned {
    pub doing: Doing,
    pub victim: Victim,
    pub after: Duration,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.doing {
            Doing::Archive => "archive",
            Doing::Backup => "backup",
            Doing::Restore => "restore",
        };
        let victim = match self.victim {
            Victim::Agent => "agent",
            Victim::Postgres => "postgres",
            Victim::Store => "store",
        };
        write!(f, "{doing}, {victim} killed after {:?}", self.after)
    }
}

/// The rounds of a seed. More of them begin with fewer of them.
pub(super) fn plan(seed: u64, count: usize) -> Vec<Planned> {
    let mut seeded = Seeded::new(seed);
    let mut planned = Vec::with_capacity(count);
    while planned.len() < count {
        // Dealt like cards: every pair comes before any comes again.
        let mut deck: Vec<(Doing, Victim)> = [Doing::Archive, Doing::Backup, Doing::Restore]
            .into_iter()
            .flat_map(|doing| {
                [Victim::Agent, Victim::Postgres, Victim::Store].map(|victim| (doing, victim))
            })
            .collect();
        seeded.shuffle(&mut deck);
        planned.extend(deck.into_iter().map(|(doing, victim)| {
            let longest = match doing {
                Doing::Archive => Duration::from_millis(2_500),
                Doing::Backup => Duration::from_millis(1_500),
                Doing::Restore => Duration::from_secs(5),
            };
            Planned { doing, victim, after: seeded.between(Duration::ZERO, longest) }
        }));
    }
    planned.truncate(count);
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_all_and_every_pair_comes_before_any_comes_again() {
        let nine = plan(7, 9);
        assert_eq!(plan(7, 12).get(..9), Some(nine.as_slice()));
        assert_ne!(plan(8, 9), nine);
        let mut pairs: Vec<String> =
            nine.iter().map(|one| format!("{:?} {:?}", one.doing, one.victim)).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), 9);
    }
}
