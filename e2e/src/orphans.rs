//! Plays the first process of a machine: takes orphans over, and notes their death at once.
//!
//! Never reaps what was started here by name: only what has a process group of its own.
//!
//! A product that watches its server by its id would take an unreaped server for a running one.

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::fs;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(5);

/// Takes orphans over from now on, until this process ends.
pub fn adopt() -> Result<()> {
    pgherd_agent::process::tree::adopt_orphans()?;
    let own = group_of("self").context("reading our own process group")?;
    let reaper = std::thread::Builder::new().name("orphans".to_owned());
    let _running = reaper
        .spawn(move || {
            loop {
                reap(&own);
                std::thread::sleep(LOOK);
            }
        })
        .context("starting the reaper of orphans")?;
    Ok(())
}

fn reap(own: &str) {
    for child in children() {
        if is_dead_in_other_group(child, own) {
            // Gone already, or one of those who wait for their own: both are well.
            let _reaped = waitpid(Some(child), WaitOptions::NOHANG);
        }
    }
}

fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|id| Pid::from_raw(id.parse().ok()?))
        .collect()
}

fn is_dead_in_other_group(id: Pid, own: &str) -> bool {
    let Some(stat) = stat_of(&id.as_raw_nonzero().to_string()) else { return false };
    stat.first().is_some_and(|state| state == "Z") && stat.get(2).is_some_and(|group| group != own)
}

/// As text, and not asked of the kernel: the leader of our group may be outside of our PID
/// namespace, and then its id is 0.
fn group_of(process: &str) -> Option<String> {
    stat_of(process)?.get(2).cloned()
}

/// Reads `state parent group ...` of `id (name) state parent group ...`.
fn stat_of(process: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}
