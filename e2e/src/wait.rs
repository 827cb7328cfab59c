//! Every wait of a proof: for a condition, with a deadline, and until somebody interrupts.
//!
//! Never waits for a time to pass where a condition could be looked at.

use anyhow::{Result, bail};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);
const LOOK_SELDOM: Duration = Duration::from_millis(500);

thread_local! {
    static FINISHES: Cell<bool> = const { Cell::new(false) };
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every wait, so that all that was started is cleaned up.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Release);
}

/// Lets this thread clean up although somebody interrupted, while the value lives.
pub fn finishing() -> Finishing {
    Finishing { before: FINISHES.replace(true) }
}

/// See [`finishing`].
pub struct Finishing {
    before: bool,
}

impl Drop for Finishing {
    fn drop(&mut self) {
        FINISHES.set(self.before);
    }
}

/// Fails once somebody interrupted.
pub fn go_on() -> Result<()> {
    if INTERRUPTED.load(Ordering::Acquire) && !FINISHES.get() {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits until `look` finds something.
pub fn find<T>(what: &str, within: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    every(LOOK, (what, within), look)
}

/// The same where looking is work that would disturb what is looked at.
pub fn find_seldom<T>(
    what: &str,
    within: Duration,
    look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    every(LOOK_SELDOM, (what, within), look)
}

fn every<T>(
    pause: Duration,
    (what, within): (&str, Duration),
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let until = Instant::now() + within;
    loop {
        go_on()?;
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= until {
            bail!("{what}: not within {within:?}");
        }
        std::thread::sleep(pause);
    }
}

/// Waits until `is_so`.
pub fn until(what: &str, within: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    find(what, within, || Ok(is_so()?.then_some(())))
}

/// Waits in vain, for what has no condition: the spacing of faults.
pub fn pass(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        go_on()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}
