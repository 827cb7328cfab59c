//! Says in words how far a new cluster is with the backup that it begins with.
//!
//! Never anew for every byte: a status is written when it changes.

use pgherd_api::agent::{RecoveryPhase, RecoveryReport};

pub(super) fn told(report: &RecoveryReport) -> String {
    let id = report.backup.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let from = format!("backup{id} of {} in {}", report.server, report.destination);
    match report.phase {
        RecoveryPhase::Planning => format!("Choosing a backup for {}", report.target),
        RecoveryPhase::Restoring => {
            let percent = report.done.0.saturating_mul(100).checked_div(report.total.0);
            format!("Restoring {from}: {} %", percent.unwrap_or_default())
        }
        RecoveryPhase::Replaying => format!("Replaying the log after {from} to {}", report.target),
        RecoveryPhase::Opening | RecoveryPhase::Completed => format!("Opening what came of {from}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn each_phase_is_told() {
        let report = |phase| {
            let at = "2026-11-22T11:22:33Z";
            let report: RecoveryReport = serde_json::from_value(json!({
                "source": "shop", "destination": "s3://b", "server": "shop", "target": "the latest",
                "phase": phase, "since": at, "began": at, "backup": "20261122T112233",
                "done": 300, "total": 900, "logFiles": 0,
            }))
            .unwrap();
            told(&report) + "\n"
        };
        expect![[r#"
            Choosing a backup for the latest
            Restoring backup 20261122T112233 of shop in s3://b: 33 %
            Replaying the log after backup 20261122T112233 of shop in s3://b to the latest
        "#]]
        .assert_eq(
            &[RecoveryPhase::Planning, RecoveryPhase::Restoring, RecoveryPhase::Replaying]
                .map(report)
                .concat(),
        );
    }
}
