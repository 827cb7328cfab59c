//! `pgherd local status`: one page on a cluster.
//!
//! Never starts what its user has stopped: a cluster that is down is told as such.

use super::output::{Output, say, say_all, say_json};
use super::place::Place;
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveStatus, StreamStatus};
use pgherd_core::units::Bytes;
use pgherd_core::wishes::Shall;
use pgherd_local::client;
use pgherd_local::failure::Failure;
use pgherd_local::folder::ClusterFolder;
use pgherd_local::hint;
use pgherd_local::registration::Registration;
use pgherd_local::schedule::ScheduleView;
use pgherd_local::summary::{self, Health, InstanceSummary, Summary};

/// Show how a cluster is
#[derive(clap::Args)]
#[command(after_help = "\
Exits with 0 whenever the state could be read, whatever it is.

Examples:
  pgherd local status
  pgherd local status --wide
  pgherd local status -o json")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(super) place: Place,
    /// Also positions, timelines and processes
    #[arg(long, short)]
    wide: bool,
}

impl Status {
    pub(super) fn output(&self) -> Output {
        self.place.output()
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let found = self.place.inside(|folder| async move {
            let registration = client::registered(&folder)?;
            let supervisor = match (client::present(&folder).await?, registration.shall) {
                (Some(supervisor), _) => supervisor,
                (None, Shall::Rest) => return Ok(Found::Down(folder, registration)),
                (None, Shall::Run) => client::reach(&folder).await?,
            };
            Ok(Found::Up(Box::new(summary::summary(&supervisor.view().await?))))
        })?;
        match (self.place.output(), found) {
            (Output::Json, Found::Up(summary)) => say_json(&summary),
            (Output::Text, Found::Up(summary)) => {
                let lines = text(&summary, if self.wide { Width::Wide } else { Width::Usual });
                say_all(&lines);
                Ok(())
            }
            (Output::Json, Found::Down(folder, registration)) => {
                say_json(&summary::stopped(&folder, &registration))
            }
            (Output::Text, Found::Down(folder, _)) => {
                let name = folder.name();
                let line = format!("{name}  STOPPED  (pgherd local up)");
                say(&hint::addressed(&line, folder.root()));
                Ok(())
            }
        }
    }
}

enum Found {
    Up(Box<Summary>),
    Down(ClusterFolder, Registration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Usual,
    Wide,
}

fn text(summary: &Summary, width: Width) -> Vec<String> {
    let health = match summary.health {
        Health::Healthy => "HEALTHY",
        Health::Degraded => "DEGRADED",
        Health::NoPrimary => "NO PRIMARY",
        Health::Stopped => "STOPPING",
    };
    let (name, version) = (&summary.cluster, &summary.postgres);
    let ready = format!("{}/{} ready", summary.ready, summary.wanted);
    let mut lines = vec![format!("{name}   PostgreSQL {version}   {ready}   {health}")];
    lines.push(hint::addressed(&primary(summary), summary.folder.as_ref()));
    lines.extend(summary.commits.iter().map(|commits| format!("  {commits}")));
    lines.extend(summary.archive.iter().map(|it| format!("  ARCHIVE  {}", archive(it))));
    if width == Width::Wide {
        let durability = summary.durability.as_deref().unwrap_or("-");
        lines.push(format!("  durability {durability}, folder {}", summary.folder));
        if let Some(system_id) = &summary.system_id {
            lines.push(format!("  system id {system_id}"));
        }
    }
    lines.extend(summary.because.iter().map(|reason| format!("  ! {reason}")));
    lines.push(String::new());
    let rows: Vec<Vec<String>> =
        summary.instances.iter().map(|instance| row(instance, width)).collect();
    lines.extend(table(&header(width), &rows).iter().map(|line| format!("  {line}")));
    lines.extend(schedules(&summary.schedules));
    if width == Width::Wide {
        lines.extend(summary.partitions.iter().map(|cut| format!("  cut: {cut}")));
        lines.extend(summary.warnings.iter().map(|warning| format!("  warning: {warning}")));
    }
    lines
}

fn primary(summary: &Summary) -> String {
    let term = match (summary.epoch, summary.timeline) {
        (Some(epoch), Some(timeline)) => format!("   epoch {epoch}   timeline {timeline}"),
        (Some(_) | None, _) => String::new(),
    };
    let position = summary.position.as_ref().map(|lsn| format!("   {lsn}")).unwrap_or_default();
    match &summary.primary {
        Some(primary) => format!("  primary {primary}{term}{position}"),
        None => format!("  nobody takes writes (pgherd local explain){term}"),
    }
}

/// Where to, how far, and what waits; why it does not go on is among the reasons above.
pub(crate) fn archive(archive: &ArchiveStatus) -> String {
    let mut parts = vec![archive.destination.clone()];
    parts.push(match &archive.last {
        Some(last) => format!("last {} at {}", last.file, last.at.strftime("%H:%M:%SZ")),
        None => "nothing stored since the agent was started".to_owned(),
    });
    if archive.waiting > 0 {
        parts.push(format!("{} waiting ({})", archive.waiting, archive.waiting_bytes));
    }
    parts.extend(archive.stream.as_ref().map(streamed));
    if archive.failing.is_some() {
        parts.push("FAILING".to_owned());
    }
    parts.join("   ")
}

/// How far what is not finished is there.
fn streamed(stream: &StreamStatus) -> String {
    let StreamStatus { stored, lag_bytes, lag_milliseconds, failing, .. } = stream;
    match failing {
        Some(_) => format!("streamed to {stored}, FAILING"),
        None if *lag_bytes == Bytes(0) => format!("streamed to {stored}, all of it"),
        None => {
            let (seconds, tenths) = (lag_milliseconds / 1000, lag_milliseconds / 100 % 10);
            format!("streamed to {stored}, {lag_bytes} and {seconds}.{tenths}s behind")
        }
    }
}

fn header(width: Width) -> Vec<&'static str> {
    let mut header = vec!["INSTANCE", "ROLE", "STATE", "LAG", "PORT", "CAN TAKE OVER"];
    if width == Width::Wide {
        header.extend(["TIMELINE", "LSN", "AGENT", "WHY"]);
    }
    header
}

fn row(instance: &InstanceSummary, width: Width) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut row = vec![
        instance.name.clone(),
        instance.role.clone(),
        instance.state.clone(),
        known(instance.lag_bytes.map(|lag| Bytes(lag).to_string())),
        instance.port.to_string(),
        instance.can_take_over.clone(),
    ];
    if width == Width::Wide {
        row.extend([
            known(instance.timeline.map(|timeline| timeline.to_string())),
            known(instance.position.clone()),
            known(instance.pid.map(|pid| pid.to_string())),
            instance.reason.clone(),
        ]);
    }
    row
}

/// When backups and dumps are taken; nothing where none is declared.
fn schedules(all: &[ScheduleView]) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let header = ["SCHEDULE", "WHEN", "NEXT", "LAST", "STATE"];
    let moment = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let last = one.last.as_ref().map(|last| {
                let became = if last.failure.is_some() { "failed" } else { "completed" };
                format!("{} {became}", moment(last.due))
            });
            let state = one.errand.as_ref().map(|errand| match (&errand.waits, &errand.instance) {
                (Some(waits), _) => format!("due, waits: {waits}"),
                (None, Some(instance)) => format!("goes on ({instance})"),
                (None, None) => "due".to_owned(),
            });
            let usual = if one.suspended { "suspended" } else { "-" };
            let known = |told: Option<String>| told.unwrap_or_else(|| "-".to_owned());
            vec![
                format!("{}/{}", one.kind, one.name),
                one.schedule.clone(),
                known(one.next.map(moment)),
                known(last),
                state.unwrap_or_else(|| usual.to_owned()),
            ]
        })
        .collect();
    let lines = table(&header, &rows).into_iter().map(|line| format!("  {line}"));
    std::iter::once(String::new()).chain(lines).collect()
}

/// Columns as wide as their widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    [&header].into_iter().chain(rows).map(line).collect()
}
