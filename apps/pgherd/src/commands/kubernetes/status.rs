//! `pgherd status`: one page on a cluster.
//!
//! Never an exit code for how the cluster is, unless one is asked for: it tells, and whoever could read
//! it did what it is for.

use super::super::local::status::{archive, table};
use super::super::output::remark;
use super::form::{Form, tell};
use super::place::Place;
use pgherd_core::units::Bytes;
use pgherd_kubernetes::console::summary::{Health, InstanceSummary, Summary, summary};
use pgherd_local::failure::{Failure, Kind};

/// Show how a cluster is
#[derive(clap::Args)]
#[command(after_help = "\
Exits with 0 whenever the state could be read, whatever it is. With --check it exits with 1 unless it is
HEALTHY, CHANGING or HIBERNATED.

Examples:
  pgherd status app-db
  pgherd status app-db -n shop --wide
  pgherd status app-db --check && ./deploy
  pgherd status app-db -o json")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(super) place: Place,
    /// Also positions, addresses, volumes, and why
    #[arg(long, short)]
    wide: bool,
    /// Fail unless nothing is wrong
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Usual,
    Wide,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let width = if self.wide { Width::Wide } else { Width::Usual };
        self.place.with(|reached| async move {
            let summary = summary(&reached.view().await?);
            if form == Form::Text {
                summary.warnings.iter().for_each(|warning| remark(&format!("warning: {warning}")));
            }
            tell(form, (&summary.cluster, &text(&summary, width)), &summary)?;
            if self.check && is_wrong(summary.health) {
                return Err(Failure::silent(Kind::Failed));
            }
            Ok(())
        })
    }
}

/// Whether somebody should look; what was asked for is not wrong.
fn is_wrong(health: Health) -> bool {
    match health {
        Health::Healthy | Health::Changing | Health::Stopped => false,
        Health::Degraded | Health::NoPrimary | Health::Unknown => true,
    }
}

fn text(summary: &Summary, width: Width) -> Vec<String> {
    let health = match summary.health {
        Health::Healthy => "HEALTHY",
        Health::Changing => "CHANGING",
        Health::Degraded => "DEGRADED",
        Health::NoPrimary => "NO PRIMARY",
        Health::Stopped => "HIBERNATED",
        Health::Unknown => "NOT KNOWN",
    };
    let Summary { cluster, namespace, ready, .. } = summary;
    let known = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
    let ready = known(ready.map(|ready| ready.to_string()));
    let wanted = known(summary.wanted.map(|wanted| wanted.to_string()));
    let image = || summary.image.clone().unwrap_or_else(|| "no image yet".to_owned());
    let version = summary.postgres.as_ref().map(|version| format!("PostgreSQL {version}"));
    let runs = version.unwrap_or_else(image);
    let mut lines =
        vec![format!("{cluster}   {namespace}   {runs}   {ready}/{wanted} ready   {health}")];
    lines.push(primary(summary));
    lines.extend(summary.commits.iter().map(|commits| format!("  {commits}")));
    lines.extend(summary.archive.iter().map(|it| format!("  ARCHIVE  {}", archive(it))));
    if width == Width::Wide {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        lines.push(format!("  durability {}", known(&summary.durability)));
        lines.push(format!("  system id {}", known(&summary.system_id)));
        lines.push(format!("  image {}", known(&summary.image)));
        lines.push(format!("  operator: {}", known(&summary.phase)));
    }
    lines.extend(summary.because.iter().map(|reason| format!("  ! {reason}")));
    lines.push(String::new());
    let rows: Vec<Vec<String>> = summary.instances.iter().map(|it| row(it, width)).collect();
    lines.extend(table(&header(width), &rows).iter().map(|line| format!("  {line}")));
    lines
}

fn primary(summary: &Summary) -> String {
    let known = |name: &str, value: Option<String>| {
        value.map(|value| format!("   {name} {value}")).unwrap_or_default()
    };
    let epoch = known("epoch", summary.epoch.map(|it| it.to_string()));
    let timeline = known("timeline", summary.timeline.map(|it| it.to_string()));
    let Some(primary) = &summary.primary else {
        if summary.health == Health::Unknown {
            return format!("  who takes writes cannot be seen{epoch}{timeline}");
        }
        let (cluster, namespace) = (&summary.cluster, &summary.namespace);
        let advice = format!("pgherd explain {cluster} -n {namespace}");
        return format!("  nobody takes writes ({advice}){epoch}{timeline}");
    };
    let since = known("since", summary.primary_since.clone());
    let position = summary.position.as_ref().map(|it| format!("   {it}")).unwrap_or_default();
    format!("  primary {primary}{since}{epoch}{timeline}{position}")
}

fn header(width: Width) -> Vec<&'static str> {
    let mut header = vec!["INSTANCE", "ROLE", "STATE", "LAG", "NODE", "RESTARTS", "CAN TAKE OVER"];
    if width == Width::Wide {
        header.extend(["TIMELINE", "LSN", "ADDRESS", "VOLUME", "AGENT", "WHY"]);
    }
    header
}

fn row(instance: &InstanceSummary, width: Width) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let own = instance.own.as_ref();
    let lag = own.and_then(|own| own.lag_bytes).map(|lag| Bytes(lag).to_string());
    let mut row = vec![
        instance.name.clone(),
        instance.role.clone(),
        instance.state.clone(),
        known(lag),
        known(instance.node.clone()),
        known(instance.restarts.map(|count| count.to_string())),
        instance.can_take_over.clone(),
    ];
    if width == Width::Wide {
        row.extend([
            known(own.and_then(|own| own.timeline).map(|timeline| timeline.to_string())),
            known(own.and_then(|own| own.position.clone())),
            known(instance.address.clone()),
            known(instance.volume.clone()),
            known(own.map(|own| own.doing.clone())),
            instance.reason.clone(),
        ]);
    }
    row
}
