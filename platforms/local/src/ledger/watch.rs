//! Asks every server of an address, again and again, whether it is open for writing.
//!
//! Never infers: a server counts as writable only between two of its own answers.

use super::address::{Address, Host};
use super::session::{DialError, Dialer, Session, Target};
use pgherd_agent::tasks::Tasks;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const MOST_REIGNS: usize = 65_536;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

// The timeline it writes on; null in recovery.
const QUESTION: &str = "select case when not pg_is_in_recovery() \
    then left(pg_walfile_name(pg_current_wal_lsn()), 8) end";

/// A time in which one server was surely open for writing without interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reign {
    /// Which host of the address.
    pub host: usize,
    pub timeline: u32,
    /// When the first answer that said so came.
    pub from: Instant,
    /// When the last question that was answered so was sent.
    pub to: Instant,
}

/// Two servers that were open for writing at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    pub older: Reign,
    pub newer: Reign,
    pub from: Instant,
    pub length: Duration,
}

/// Watches all servers of one address. Dropping it ends the watch.
pub struct Watch {
    reigns: Arc<Mutex<Vec<Reign>>>,
    _tasks: Tasks,
}

impl Watch {
    pub fn start(address: &Address, every: Duration) -> Result<Self, DialError> {
        let reigns = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        for (index, host) in address.hosts.iter().enumerate() {
            let dialer = Dialer::new(address.clone(), Duration::from_secs(1), "pgherd-watch")?;
            let one = One { index, host: host.clone(), dialer, every, reigns: Arc::clone(&reigns) };
            let _running = tasks.spawn(format!("watch {host}"), one.run());
        }
        Ok(Self { reigns, _tasks: tasks })
    }

    /// What was seen so far, in the order in which it began to be seen.
    pub fn reigns(&self) -> Vec<Reign> {
        locked(&self.reigns).clone()
    }
}

/// Pairs of servers that were open for writing at once, whatever their timelines.
pub fn overlaps(reigns: &[Reign]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (index, one) in reigns.iter().enumerate() {
        for other in reigns.iter().skip(index + 1).filter(|other| other.host != one.host) {
            let from = one.from.max(other.from);
            let length = one.to.min(other.to).saturating_duration_since(from);
            if !length.is_zero() {
                let (older, newer) =
                    if one.timeline <= other.timeline { (*one, *other) } else { (*other, *one) };
                found.push(Overlap { older, newer, from, length });
            }
        }
    }
    found
}

/// Timelines that more than one server was seen to write on, at whatever time.
pub fn reigns_on_shared_timelines(reigns: &[Reign]) -> BTreeMap<u32, BTreeSet<usize>> {
    let mut hosts: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for reign in reigns {
        hosts.entry(reign.timeline).or_default().insert(reign.host);
    }
    hosts.retain(|_, hosts| hosts.len() > 1);
    hosts
}

struct One {
    index: usize,
    host: Host,
    dialer: Dialer,
    every: Duration,
    reigns: Arc<Mutex<Vec<Reign>>>,
}

impl One {
    async fn run(self) {
        loop {
            if let Ok(session) = self.dialer.dial(&self.host, Target::Any).await {
                self.follow(session).await;
            }
            sleep(self.every).await;
        }
    }

    /// Asks over one connection until it is lost: a server that restarted begins anew.
    async fn follow(&self, mut session: Session) {
        let mut current: Option<usize> = None;
        loop {
            let sent = Instant::now();
            let answer = timeout(ANSWER_WITHIN, session.text(QUESTION)).await;
            let Ok(Ok(answer)) = answer else { return };
            let timeline = answer.and_then(|hex| u32::from_str_radix(&hex, 16).ok());
            current = self.note(current, timeline, sent);
            sleep(self.every).await;
        }
    }

    fn note(&self, current: Option<usize>, timeline: Option<u32>, sent: Instant) -> Option<usize> {
        let timeline = timeline?;
        let mut reigns = locked(&self.reigns);
        if let Some((index, reign)) =
            current.and_then(|index| reigns.get_mut(index).map(|reign| (index, reign)))
            && reign.timeline == timeline
        {
            reign.to = sent;
            return Some(index);
        }
        if reigns.len() == MOST_REIGNS {
            return None;
        }
        let now = Instant::now();
        reigns.push(Reign { host: self.index, timeline, from: now, to: now });
        Some(reigns.len() - 1)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(host: usize, timeline: u32, from: Instant, milliseconds: u64) -> Reign {
        Reign { host, timeline, from, to: from + Duration::from_millis(milliseconds) }
    }

    #[test]
    fn only_what_is_sure_counts() {
        let start = Instant::now();
        let at = |n| start + Duration::from_millis(n);
        let first = reign(0, 2, start, 100);
        let after = reign(1, 3, at(100), 500);
        assert_eq!(overlaps(&[first, after]), []);
        let zombie = reign(0, 2, at(300), 50);
        let found = overlaps(&[first, after, zombie]);
        let length = Duration::from_millis(50);
        assert_eq!(found, [Overlap { older: zombie, newer: after, from: at(300), length }]);
        assert_eq!(reigns_on_shared_timelines(&[first, after, zombie]), BTreeMap::new());
        let split = reign(2, 3, at(900), 1);
        let shared = reigns_on_shared_timelines(&[first, after, split]);
        assert_eq!(shared, BTreeMap::from([(3, BTreeSet::from([1, 2]))]));
    }
}
