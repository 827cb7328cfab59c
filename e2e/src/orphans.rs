//! Plays the first process of a machine: takes orphans over, and notes their death at once.
//!
//! Never reaps what was started here by name: only what has a process group of its own.
//!
//! A product that watches its server by its id would take an unreaped server for a running one.

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, getpgrp, waitpid};
use std::fs;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(5);

/// Takes orphans over from now on, until this process ends.
pub fn adopt() -> Result<()> {
    pgherd_agent::process::tree::adopt_orphans()?;
    let own = getpgrp();
    let reaper = std::thread::Builder::new().name("orphans".to_owned());
    let _running = reaper
        .spawn(move || {
            loop {
                reap(own);
                std::thread::sleep(LOOK);
            }
        })
        .context("starting the reaper of orphans")?;
    Ok(())
}

fn reap(own: Pid) {
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

/// Reads `id (name) state parent group ...`.
fn is_dead_in_other_group(id: Pid, own: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
    let Ok(stat) = stat else { return false };
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let mut fields = rest.split(' ');
    let is_dead = fields.next() == Some("Z");
    is_dead && fields.nth(1) != Some(own.as_raw_nonzero().to_string().as_str())
}
