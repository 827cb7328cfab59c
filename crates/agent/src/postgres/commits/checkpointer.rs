//! Makes sure that the checkpointer has read the configuration.
//!
//! *Whether* there is a rule for commits is a flag in shared memory that only the checkpointer
//! sets, when it reads its configuration; before that, commits do not wait at all. In a checkpoint
//! that is to be quick it reads nothing for seconds. Never takes its word for it: nothing in SQL
//! shows the flag, so the operating system is asked.

use super::CommitsError;
use crate::postgres::running::{ASK_EVERY, Deadline};
use crate::postgres::session::{Session, SessionError};

/// SIGHUP in the masks of /proc.
const HANGUP: u64 = 1;
/// Where it waits with nothing unread: it looks for a reload before each of these.
const RESTS: [&str; 2] = ["CheckpointerMain", "CheckpointWriteDelay"];
const ID: &str = "select pid from pg_stat_activity where backend_type = 'checkpointer'";
const EVENT: &str =
    "select coalesce(wait_event, '') from pg_stat_activity where backend_type = 'checkpointer'";

/// Waits until it has taken up what it was told before the session began.
pub(super) async fn take_up(session: &mut Session, deadline: Deadline) -> Result<(), CommitsError> {
    let watch = |source| CommitsError::WatchCheckpointer { source };
    let id = session.value(ID, deadline.left()).await.map_err(watch)?;
    loop {
        // Asleep without a signal to handle, it has handled it and slept again since; then the
        // place where it sleeps is asked for, in this order.
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        let status = status.map_err(|_| SessionError::Understand { what: "the checkpointer" });
        if has_handled_all(&status.map_err(watch)?) {
            let event = session.value(EVENT, deadline.left()).await.map_err(watch)?;
            if RESTS.contains(&event.as_str()) {
                return Ok(());
            }
        }
        if deadline.left().is_zero() {
            return Err(CommitsError::AwaitCheckpointer);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether it sleeps, and no reload is waiting to be delivered to it.
fn has_handled_all(status: &str) -> bool {
    let find = |label: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(label));
        line.map(str::trim)
    };
    let is_clear = |label| {
        let mask = find(label).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.is_some_and(|mask| mask & HANGUP == 0)
    };
    let sleeps = find("State:").is_some_and(|state| state.starts_with('S'));
    sleeps && is_clear("SigPnd:") && is_clear("ShdPnd:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_reload_is_seen() {
        let status = |state: &str, pending: &str| {
            format!(
                "Name:\tpostgres\nState:\t{state}\nSigPnd:\t0\nShdPnd:\t{pending}\nSigBlk:\t1\n"
            )
        };
        assert!(has_handled_all(&status("S (sleeping)", "0000000000000000")));
        assert!(has_handled_all(&status("S (sleeping)", "0000000000000200")));
        assert!(!has_handled_all(&status("S (sleeping)", "0000000000000001")));
        assert!(!has_handled_all(&status("R (running)", "0000000000000000")));
        assert!(!has_handled_all("State:\tS\n"));
    }
}
