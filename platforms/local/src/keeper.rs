//! Decides what the supervisor does next with the processes of one instance, as a kubelet does
//! with those of a pod.
//!
//! Never starts a second agent beside a living one, and never starts one into leftovers.

use pgherd_core::wishes::{Shall, Wish};
use std::time::Duration;

/// The first wait before a failed agent is started again; it doubles with each failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// An agent that lived this long has not failed at its start.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// From the request to end until an agent whose PostgreSQL is down is killed.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// What is to be decided from, for one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    pub shall: Shall,
    pub wish: Wish,
    pub agent: Agent,
    /// Processes of the instance beside the agent.
    pub others: usize,
    pub server: Server,
    /// The record still counts on it.
    pub membership: Membership,
    /// How long it has been known that the instance shall end.
    pub ending_for: Duration,
    /// How long a clean stop may take.
    pub stop_delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Lives,
    /// It was asked to end, so long ago.
    Ends {
        asked: Duration,
    },
    /// It may be started in so long.
    Absent {
        waits: Duration,
    },
}

/// What the agent last said of its PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Unknown,
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Member,
    Stranger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Nothing before this has passed; then look again.
    Wait(Duration),
    Start,
    /// Ask the agent to end.
    Terminate,
    /// Kill every process of the instance.
    Kill,
    /// Remove the folder: nothing of the instance is left or needed.
    Remove,
}

/// How often to look at an instance that is on its way out.
const SOON: Duration = Duration::from_millis(100);

pub fn next(sight: &Sight) -> Act {
    match (sight.shall, sight.wish) {
        (_, Wish::Lost) => gone(sight),
        (Shall::Run, Wish::Running) => running(sight),
        (Shall::Run, Wish::Leaving) => leaving(sight),
        (Shall::Run, Wish::Stopped)
        | (Shall::Rest, Wish::Running | Wish::Stopped | Wish::Leaving) => stopped(sight),
    }
}

/// Whether nothing is left to do for an instance that shall be down.
pub fn is_at_rest(sight: &Sight) -> bool {
    matches!(sight.agent, Agent::Absent { .. }) && sight.others == 0
}

fn running(sight: &Sight) -> Act {
    match sight.agent {
        Agent::Lives => Act::Nothing,
        Agent::Ends { asked } if asked >= LAST_WORDS => Act::Kill,
        Agent::Ends { .. } => Act::Wait(SOON),
        Agent::Absent { .. } if sight.others > 0 => Act::Kill,
        Agent::Absent { waits } if waits > Duration::ZERO => Act::Wait(waits),
        Agent::Absent { .. } => Act::Start,
    }
}

fn gone(sight: &Sight) -> Act {
    if is_at_rest(sight) { Act::Nothing } else { Act::Kill }
}

fn stopped(sight: &Sight) -> Act {
    match sight.agent {
        Agent::Absent { .. } => gone(sight),
        Agent::Ends { asked } if asked >= LAST_WORDS => Act::Kill,
        Agent::Ends { .. } => Act::Wait(SOON),
        // The specification told it to stop its PostgreSQL; its own end comes after that, because
        // until then it is the one that knows how.
        Agent::Lives => match sight.server {
            Server::Down => Act::Terminate,
            Server::Up | Server::Unknown if sight.ending_for >= sight.stop_delay => Act::Terminate,
            Server::Up | Server::Unknown => Act::Wait(SOON),
        },
    }
}

fn leaving(sight: &Sight) -> Act {
    match sight.membership {
        // Its own agent must run for as long as a commit may wait for it.
        Membership::Member => match sight.agent {
            Agent::Absent { .. } if sight.others > 0 => Act::Kill,
            Agent::Absent { .. } | Agent::Lives | Agent::Ends { .. } => Act::Wait(SOON),
        },
        Membership::Stranger if is_at_rest(sight) => Act::Remove,
        Membership::Stranger => stopped(sight),
    }
}

/// How an instance's agent has failed lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    count: u32,
}

impl Failures {
    /// After the end of an agent that lived so long.
    pub fn after(self, life: Duration) -> Self {
        Self { count: if life >= GOOD_LIFE { 1 } else { self.count.saturating_add(1) } }
    }

    /// How long to wait before the next start.
    pub fn wait(self) -> Duration {
        match self.count.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(LONGEST_WAIT),
        }
    }

    pub fn count(self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_REST: Agent = Agent::Absent { waits: Duration::ZERO };

    fn sight() -> Sight {
        Sight {
            shall: Shall::Run,
            wish: Wish::Running,
            agent: Agent::Lives,
            others: 5,
            server: Server::Up,
            membership: Membership::Member,
            ending_for: Duration::ZERO,
            stop_delay: Duration::from_secs(30),
        }
    }

    #[test]
    fn an_agent_that_shall_run_is_started_after_its_leftovers_are_gone_and_its_wait_is_over() {
        assert_eq!(next(&sight()), Act::Nothing);
        let agent = Agent::Absent { waits: Duration::from_secs(1) };
        assert_eq!(next(&Sight { agent, ..sight() }), Act::Kill);
        assert_eq!(next(&Sight { agent, others: 0, ..sight() }), Act::Wait(Duration::from_secs(1)));
        assert_eq!(next(&Sight { agent: AT_REST, others: 0, ..sight() }), Act::Start);
    }

    #[test]
    fn a_lost_instance_is_killed_even_while_the_cluster_stops() {
        for shall in [Shall::Run, Shall::Rest] {
            let lost = Sight { shall, wish: Wish::Lost, ..sight() };
            assert_eq!(next(&lost), Act::Kill);
            assert_eq!(next(&Sight { agent: AT_REST, others: 0, ..lost }), Act::Nothing);
        }
    }

    #[test]
    fn an_agent_ends_after_its_server_or_when_its_time_is_over() {
        for stopping in [
            Sight { wish: Wish::Stopped, ..sight() },
            Sight { shall: Shall::Rest, ..sight() },
            Sight { shall: Shall::Rest, wish: Wish::Leaving, ..sight() },
        ] {
            assert_eq!(next(&stopping), Act::Wait(SOON));
            assert_eq!(next(&Sight { server: Server::Down, ..stopping }), Act::Terminate);
            let late = Sight { ending_for: stopping.stop_delay, ..stopping };
            assert_eq!(next(&late), Act::Terminate);
            let asked = |seconds| Sight {
                agent: Agent::Ends { asked: Duration::from_secs(seconds) },
                ..late
            };
            assert_eq!(next(&asked(14)), Act::Wait(SOON));
            assert_eq!(next(&asked(15)), Act::Kill);
            assert_eq!(next(&Sight { agent: AT_REST, others: 2, ..late }), Act::Kill);
            assert_eq!(next(&Sight { agent: AT_REST, others: 0, ..late }), Act::Nothing);
        }
    }

    #[test]
    fn a_folder_is_removed_only_when_nobody_counts_on_it() {
        let leaving = Sight { wish: Wish::Leaving, server: Server::Down, ..sight() };
        assert_eq!(next(&leaving), Act::Wait(SOON));
        assert_eq!(next(&Sight { agent: AT_REST, others: 0, ..leaving }), Act::Wait(SOON));
        let stranger = Sight { membership: Membership::Stranger, ..leaving };
        assert_eq!(next(&stranger), Act::Terminate);
        assert_eq!(next(&Sight { agent: AT_REST, others: 0, ..stranger }), Act::Remove);
    }

    #[test]
    fn waits_double_and_a_good_life_forgives() {
        let mut failures = Failures::default();
        let mut waits = vec![failures.wait()];
        for _ in 0..8 {
            failures = failures.after(Duration::from_secs(1));
            waits.push(failures.wait());
        }
        let waits: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [0, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(failures.after(GOOD_LIFE).wait(), FIRST_WAIT);
    }
}
