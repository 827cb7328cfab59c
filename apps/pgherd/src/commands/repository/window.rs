//! To which moments a cluster can be taken back, and where there are gaps.
//!
//! Never promises more than the repository holds.

use super::{Answer, Opened, second, timestamp};
use jiff::Timestamp;
use pgherd_core::backup::window::{self, Window as Known};
use pgherd_core::wal::WalFile;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};

/// Show to which moments the cluster can be taken back, and where there are gaps
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Window {}

/// All that can be gone back to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    #[serde(default)]
    cluster: String,
    repository: String,
    retention: Option<String>,
    intervals: Vec<Interval>,
    gaps: Vec<Gap>,
    #[serde(default)]
    strays: Vec<Stray>,
    unusable: Vec<Unusable>,
}

/// A timeline whose history file is missing or damaged.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stray {
    timeline: u32,
    first: String,
    history: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interval {
    timeline: u32,
    backup: String,
    from: String,
    since: Timestamp,
    to: String,
    until: Timestamp,
    /// What was stored behind where the next timeline began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beyond: Option<Beyond>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beyond {
    to: String,
    until: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gap {
    first: String,
    last: String,
    since: Timestamp,
    at: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unusable {
    backup: String,
    missing: String,
}

pub(super) async fn answer(opened: &Opened) -> Result<Found, Failure> {
    let failed = |error| opened.failed(&error);
    let catalogue = opened.repository.list().await.map_err(failed)?;
    let (_, window) = opened.repository.window(&catalogue).await.map_err(failed)?;
    Ok(found(opened.around.cluster.clone(), opened.place(), (&opened.spec.retention, &window)))
}

fn found(
    cluster: String,
    repository: String,
    (retention, window): (&Option<String>, &Known),
) -> Found {
    let interval = |it: &window::Interval| Interval {
        timeline: it.timeline.0,
        backup: it.backup.to_string(),
        from: it.from.to_string(),
        since: timestamp(it.since),
        to: it.to.to_string(),
        until: timestamp(it.until),
        beyond: it
            .beyond
            .map(|beyond| Beyond { to: beyond.to.to_string(), until: timestamp(beyond.until) }),
    };
    let gap = |it: &window::Gap| Gap {
        first: it.first.to_string(),
        last: it.last.to_string(),
        since: timestamp(it.since),
        at: it.at.to_string(),
    };
    let stray = |it: &window::Stray| Stray {
        timeline: it.timeline.0,
        first: it.first.to_string(),
        history: WalFile::History(it.timeline).to_string(),
    };
    let unusable = |it: &window::Unusable| Unusable {
        backup: it.backup.to_string(),
        missing: it.missing.to_string(),
    };
    Found {
        cluster,
        repository,
        retention: retention.clone(),
        intervals: window.intervals.iter().map(interval).collect(),
        gaps: window.gaps.iter().map(gap).collect(),
        strays: window.strays.iter().map(stray).collect(),
        unusable: window.unusable.iter().map(unusable).collect(),
    }
}

impl Answer for Found {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("cluster.postgresql.cnpg.io/{}", self.cluster)]
    }

    fn lines(&self) -> Vec<String> {
        let retention = self.retention.as_deref().unwrap_or("none: backups are kept for ever");
        let mut lines = vec![format!("{}   retention {retention}", self.repository)];
        lines.extend(self.intervals.iter().map(interval));
        if self.intervals.is_empty() {
            let nothing = "  nothing can be recovered: take a backup (pgherd local backup)";
            lines.push(nothing.to_owned());
        } else if self.gaps.is_empty() && self.strays.is_empty() {
            lines.push("  no gaps".to_owned());
        }
        lines.extend(self.gaps.iter().map(gap));
        lines.extend(self.strays.iter().map(|Stray { timeline, first, history }| {
            format!(
                "  GAP: {history} is missing or damaged, so nothing leads to the log of timeline \
                 {timeline}, which is there from {first} on"
            )
        }));
        lines.extend(self.unusable.iter().map(|Unusable { backup, missing }| {
            format!("  backup {backup} cannot be restored: {missing} is missing")
        }));
        lines
    }
}

fn interval(interval: &Interval) -> String {
    let Interval { timeline, backup, from, since, to, until, beyond } = interval;
    let timeline = pgherd_core::units::Timeline(*timeline);
    let beyond = beyond.as_ref().map(|Beyond { to, until }| {
        let until = second(*until);
        format!(
            "\n      and to {until}, {to}, with --timeline {timeline}: stored before anybody else had it"
        )
    });
    format!(
        "  timeline {timeline}   {} to {}   {from} to {to}   from backup {backup}{}",
        second(*since),
        second(*until),
        beyond.unwrap_or_default()
    )
}

fn gap(gap: &Gap) -> String {
    let Gap { first, last, since, .. } = gap;
    let what = if first == last { format!("{first} is") } else { format!("{first} to {last} are") };
    format!("  GAP: {what} missing, after {}", second(*since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::backup::BackupId;
    use pgherd_core::units::{Lsn, Moment, Timeline};
    use pgherd_core::wal::Segment;

    #[test]
    fn moments_are_written_as_programs_read_them() {
        let window = Known {
            intervals: vec![window::Interval {
                timeline: Timeline(2),
                backup: BackupId::parse("20261122T112233").unwrap(),
                from: Lsn(0x300_0000),
                since: Moment(1_795_346_553_250_000),
                to: Lsn(0x500_0000),
                until: Moment(1_795_346_853_000_000),
                beyond: Some(window::Beyond {
                    to: Lsn(0x500_0700),
                    until: Moment(1_795_346_854_000_000),
                }),
            }],
            gaps: Vec::new(),
            strays: vec![window::Stray {
                timeline: Timeline(3),
                first: Segment::parse("000000030000000000000005").unwrap(),
            }],
            unusable: vec![window::Unusable {
                backup: BackupId::parse("20261122T112333").unwrap(),
                missing: window::Missing::Data,
            }],
        };
        let found = found("shop".to_owned(), "/b/shop".to_owned(), (&None, &window));
        let document = serde_json::to_string(&found).unwrap();
        expect![[r#"
            {"cluster":"shop","repository":"/b/shop","retention":null,"intervals":[{"timeline":2,"backup":"20261122T112233","from":"0/3000000","since":"2026-11-22T11:22:33.25Z","to":"0/5000000","until":"2026-11-22T11:27:33Z","beyond":{"to":"0/5000700","until":"2026-11-22T11:27:34Z"}}],"gaps":[],"strays":[{"timeline":3,"first":"000000030000000000000005","history":"00000003.history"}],"unusable":[{"backup":"20261122T112333","missing":"its data"}]}
            /b/shop   retention none: backups are kept for ever
              timeline 2   2026-11-22 11:22:33Z to 2026-11-22 11:27:33Z   0/3000000 to 0/5000000   from backup 20261122T112233
                  and to 2026-11-22 11:27:34Z, 0/5000700, with --timeline 2: stored before anybody else had it
              GAP: 00000003.history is missing or damaged, so nothing leads to the log of timeline 3, which is there from 000000030000000000000005 on
              backup 20261122T112333 cannot be restored: its data is missing
        "#]]
        .assert_eq(&format!("{document}\n{}\n", found.lines().join("\n")));
        let nothing = Known { intervals: Vec::new(), strays: Vec::new(), ..window };
        let found = super::found("shop".to_owned(), "/b/shop".to_owned(), (&None, &nothing));
        expect![[r#"
            /b/shop   retention none: backups are kept for ever
              nothing can be recovered: take a backup (pgherd local backup)
              backup 20261122T112333 cannot be restored: its data is missing"#]]
        .assert_eq(&found.lines().join("\n"));
    }
}
