//! The two clocks a deadline is held against.
//!
//! Never compared between machines.

use pgherd_core::units::Time;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Time since this machine booted, counted on while it sleeps: the clock of every deadline.
pub fn now() -> Time {
    micros(clock_gettime(ClockId::Boottime))
}

/// The time of day, as a second opinion: a host that froze a guest may stop the guest's other
/// clocks and correct this one.
pub(crate) fn time_of_day() -> Time {
    micros(clock_gettime(ClockId::Realtime))
}

fn micros(time: Timespec) -> Time {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec / 1_000).unwrap_or(0);
    Time(seconds.saturating_mul(1_000_000).saturating_add(rest))
}
