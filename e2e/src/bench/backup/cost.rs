//! Measures what programs cost: time, processor time, and memory of all their processes together.
//!
//! Never counts what the kernel keeps of files: only memory that a process asked for.

use crate::wait;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(10);
/// What takes longer hangs.
const LONGEST: Duration = Duration::from_hours(2);
const STRAGGLERS_WITHIN: Duration = Duration::from_mins(2);
/// What the kernel counts processor time in, a second.
const TICKS: u64 = 100;
/// Where `/proc/PID/stat` has the processor time of a process, and of its children that were waited for.
const OWN: [usize; 2] = [11, 12];
const CHILDREN: [usize; 2] = [13, 14];
/// Where `/proc/stat` has the time in which processors ran programs, the kernel and its interrupts.
const BUSY: [usize; 5] = [0, 1, 2, 5, 6];

/// What it cost from start to end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    pub(super) processor: Duration,
    pub(super) memory: u64,
}

/// Counts from its begin on.
pub(super) struct Meter {
    began: Instant,
    ticks: u64,
    /// Servers that others use, too.
    spared: Vec<u32>,
    watch: Arc<Watch>,
}

/// What the thread that looks has seen, and whom it is to end.
#[derive(Default)]
struct Watch {
    memory: AtomicU64,
    running: Mutex<Option<(u32, Instant)>>,
    over: AtomicBool,
}

impl Meter {
    pub(super) fn begin(spared: &[u32]) -> Result<Self> {
        let watch = Arc::new(Watch::default());
        let (watched, spared) = (Arc::clone(&watch), spared.to_vec());
        let all_but = spared.clone();
        let thread = std::thread::Builder::new().name("meter".to_owned());
        thread.spawn(move || watched.look(&all_but)).context("starting the meter")?;
        let ticks = ticks(std::process::id(), CHILDREN)?;
        Ok(Self { began: Instant::now(), ticks, spared, watch })
    }

    /// Runs a program that has to succeed; says how long it took.
    pub(super) fn run(&mut self, mut command: Command) -> Result<Duration> {
        let words = format!("{command:?}");
        let said = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {words}"))?;
        *self.watch.running() = Some((child.id(), began + LONGEST));
        // The thread that looks ends it when it takes too long.
        let status = child.wait();
        let took = began.elapsed();
        *self.watch.running() = None;
        if status?.success() {
            return Ok(took);
        }
        wait::go_on()?;
        let mut text = String::new();
        std::io::Seek::rewind(&mut &said)?;
        std::io::Read::read_to_string(&mut &said, &mut text)?;
        bail!("{words}: {}", text.trim())
    }

    /// Waits for those that a program left running.
    pub(super) fn end(self) -> Result<Cost> {
        let wall = self.began.elapsed();
        wait::until("the end of what was started", STRAGGLERS_WITHIN, || {
            Ok(children(std::process::id()).iter().all(|child| self.spared.contains(child)))
        })?;
        let ticks = ticks(std::process::id(), CHILDREN)?.saturating_sub(self.ticks);
        let processor = Duration::from_millis(ticks * 1000 / TICKS);
        Ok(Cost { wall, processor, memory: self.watch.memory.load(Ordering::Relaxed) })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.watch.over.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn running(&self) -> MutexGuard<'_, Option<(u32, Instant)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, spared: &[u32]) {
        while !self.over.load(Ordering::Relaxed) {
            self.memory.fetch_max(memory_below(std::process::id(), spared), Ordering::Relaxed);
            let running = self.running();
            if let Some((process, until)) = *running
                && (Instant::now() >= until || wait::go_on().is_err())
                && let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw)
            {
                // It may end by itself at this moment.
                let _gone = kill_process(process, Signal::KILL);
            }
            drop(running);
            std::thread::sleep(LOOK);
        }
    }
}

/// Of one program.
pub(super) fn of(command: Command, spared: &[u32]) -> Result<Cost> {
    let mut meter = Meter::begin(spared)?;
    meter.run(command)?;
    meter.end()
}

/// The processor time of a process that runs.
pub(super) fn processor(process: u32) -> Result<Duration> {
    Ok(Duration::from_millis(ticks(process, OWN)? * 1000 / TICKS))
}

/// What all processes of the machine have worked since it was started.
pub(super) fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let all: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let ticks = BUSY.into_iter().map(|at| all.get(at).copied()).sum::<Option<u64>>();
    let ticks = ticks.context("/proc/stat has too few numbers")?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

fn ticks(process: u32, fields: [usize; 2]) -> Result<u64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let (_, rest) = stat.rsplit_once(") ").with_context(|| format!("{path} is strange"))?;
    let all: Vec<&str> = rest.split(' ').collect();
    let field = |at: usize| all.get(at).and_then(|text| text.parse::<u64>().ok());
    let sum = fields.map(field).into_iter().sum::<Option<u64>>();
    sum.with_context(|| format!("{path} has too few numbers"))
}

fn memory_below(process: u32, spared: &[u32]) -> u64 {
    let all = children(process).into_iter().filter(|child| !spared.contains(child));
    all.map(|child| memory(child) + memory_below(child, spared)).sum()
}

/// In bytes; none of a process that has gone.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let ids = |list: String| {
        list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
    };
    lists.flat_map(ids).collect()
}
