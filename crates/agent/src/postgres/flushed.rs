//! Waits until enough standbys have written the log up to a position to their disks.
//!
//! Never counts a standby twice.

use crate::postgres::config::quote::literal;
use crate::postgres::running::{Deadline, Running, RunningError, until};
use pgherd_core::record::Pair;
use pgherd_core::units::Lsn;
use std::time::Duration;

/// Waits until the rule is met at `lsn`.
pub async fn wait(
    running: Running<'_>,
    rule: &Pair,
    lsn: Lsn,
    within: Duration,
) -> Result<(), RunningError> {
    let deadline = Deadline::after(within);
    let mut session = running.connect(deadline).await?;
    let voters: Vec<_> = rule.voters.iter().map(|voter| literal(&voter.to_string())).collect();
    let is_met = format!(
        "select count(distinct application_name) >= {} from pg_stat_replication \
         where application_name = any (array[{}]::text[]) and flush_lsn >= {}",
        rule.acks,
        voters.join(", "),
        literal(&lsn.to_string())
    );
    until(&mut session, deadline, "enough standbys that wrote its log", &is_met).await
}
