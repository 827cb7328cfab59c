//! Every wait of a proof: for a condition, with a deadline, and until somebody interrupts.
//!
//! Never waits for a time to pass where a condition could be looked at.

use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every wait, so that all that was started is cleaned up.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Release);
}

/// Fails once somebody interrupted.
pub fn go_on() -> Result<()> {
    if INTERRUPTED.load(Ordering::Acquire) {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits until `look` finds something.
pub fn find<T>(
    what: &str,
    within: Duration,
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
        std::thread::sleep(LOOK);
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
