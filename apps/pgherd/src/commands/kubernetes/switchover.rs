//! `pgherd switchover`: hands the primary's office over, and measures how long it took.
//!
//! Never begins when no standby is ready.

use super::super::output::remark;
use super::super::progress::Progress;
use super::ask::{Written, told, write};
use super::form::{Form, tell};
use super::place::{Place, Reached, refused};
use super::probe::{Outage, Probe};
use super::wait::{Waiting, timed_out};
use pgherd_api::console;
use pgherd_core::names::InstanceName;
use pgherd_core::switchover::{self, Stage, Why};
use pgherd_core::units::Bytes;
use pgherd_kubernetes::console::read;
use pgherd_kubernetes::console::{View, ask, summary};
use pgherd_local::failure::{Failure, Kind};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Two small reads each time; a finer measure is not worth more.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Make another instance the primary, and measure how long it takes
#[derive(clap::Args)]
#[command(after_help = "\
It is over when the Lease names the new primary and the service for writing leads to it. What clients
felt is measured by one that the verb runs in a pod of the cluster, by means of pods/exec: it commits
small messages to the log as the application's owner, through the service for writing, and leaves
nothing behind. The outage is the longest time without an acknowledged commit.

Examples:
  pgherd switchover app-db
  pgherd switchover app-db 2 -n shop
  pgherd switchover app-db --no-wait")]
pub(crate) struct Switchover {
    #[command(flatten)]
    pub(super) place: Place,
    /// The new primary, by name or number (default: the standby that is furthest)
    #[arg(value_name = "INSTANCE")]
    target: Option<String>,
    /// Do not measure
    #[arg(long)]
    no_probe: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Switchover {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, target, no_probe, waiting } = self;
        place.with(|reached| async move {
            let ask = |view: &View| {
                let target = target.as_deref().map(|given| view.find(given)).transpose()?;
                ask::switchover(view, target.as_ref()).map(Some)
            };
            let view = reached.asked().await?;
            // Before anything is begun.
            ask(&view).map_err(refused)?;
            if form == Form::Text {
                candidates(&view);
            }
            if waiting.no_wait {
                let words = ("is asked to switch over", "is asked to switch over");
                return told(form, &write(&reached, ask).await?, words);
            }
            let meant = target.as_deref().and_then(|given| view.find(given).ok());
            let probe =
                if no_probe { None } else { Probe::start(&reached, &view, meant.as_ref()).await };
            let written = write(&reached, ask).await?;
            let began = Instant::now();
            let over = follow(&reached, (&written, meant), (began, waiting.timeout)).await?;
            let outage = match probe {
                Some(probe) => probe.end().await,
                None => None,
            };
            over.tell(form, &reached, outage.as_ref())
        })
    }
}

fn candidates(view: &View) {
    let summary = summary::summary(view);
    for standby in summary.instances.iter().filter(|it| it.can_take_over != "-") {
        let lag = standby.own.as_ref().and_then(|own| own.lag_bytes);
        let lag = lag.map_or_else(|| "-".to_owned(), |lag| Bytes(lag).to_string());
        remark(&format!("  {}  lag {lag}  can take over: {}", standby.name, standby.can_take_over));
    }
}

/// How a switchover went.
struct Over {
    old: InstanceName,
    new: InstanceName,
    /// From the request until it was begun, the Lease named the new one, and clients were led there.
    begun: Option<Duration>,
    named: Duration,
    led: Duration,
}

impl Over {
    fn tell(&self, form: Form, reached: &Reached, outage: Option<&Outage>) -> Result<(), Failure> {
        let Self { old, new, begun, named, led } = self;
        let seconds = |it: &Duration| format!("{:.1}s", it.as_secs_f64());
        let begun_told = begun.as_ref().map(|it| format!("begun after {}, ", seconds(it)));
        let felt = outage.map(|outage| outage.sentence(reached));
        let felt = felt.unwrap_or_else(|| "write outage not measured".to_owned());
        let line = format!(
            "cluster/{} switched over: {old} -> {new} in {} ({}in office after {}), {}",
            reached.cluster,
            seconds(led),
            begun_told.unwrap_or_default(),
            seconds(named),
            felt,
        );
        let document = serde_json::json!({
            "cluster": reached.cluster,
            "namespace": reached.namespace,
            "from": old,
            "to": new,
            "secondsUntilBegun": begun.map(|it| it.as_secs_f64()),
            "secondsUntilInOffice": named.as_secs_f64(),
            "seconds": led.as_secs_f64(),
            "writeOutageSeconds": outage.map(|outage| outage.longest.as_secs_f64()),
            "writeOutageOfClientIn": outage.map(|outage| &outage.from),
        });
        tell(form, (reached.cluster.as_str(), &[line]), &document)
    }
}

async fn follow(
    reached: &Reached,
    (written, target): (&Written, Option<InstanceName>),
    (began, within): (Instant, Duration),
) -> Result<Over, Failure> {
    let (Some(before), Some(asked)) = (&written.before.record, &written.asked) else {
        return Err(Failure::new(Kind::Failed, "there was nobody to switch from"));
    };
    let number = asked.number.unwrap_or_default();
    let old = before.holder.instance.clone();
    let (mut progress, mut begun, mut named) = (Progress::new(), None, None);
    loop {
        let office = read::office(&reached.client, &reached.namespace, &reached.cluster).await;
        let missing = match &office {
            Ok((Some(record), route)) => {
                let now = began.elapsed();
                match switchover::stage((number, target.as_ref()), before, record) {
                    Stage::Asked => waits_for(&old, now),
                    Stage::HandingOver { target } => {
                        begun.get_or_insert(now);
                        format!("{old} hands over to {target}")
                    }
                    Stage::Vacant => {
                        begun.get_or_insert(now);
                        "waiting for the new primary".to_owned()
                    }
                    Stage::Over { to: new } => {
                        let named = *named.get_or_insert(now);
                        let led = route.as_ref().and_then(|route| route.epoch);
                        if led >= Some(record.epoch) {
                            return Ok(Over { old, new, begun, named, led: now });
                        }
                        format!("{new} opens")
                    }
                    Stage::Failed(why) => return Err(failed(reached, &why)),
                }
            }
            Ok((None, _)) => "waiting for the record".to_owned(),
            Err(error) => error.to_string(),
        };
        progress.tell(&missing);
        if progress.elapsed() >= within {
            return Err(timed_out(within, &missing, reached));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn waits_for(old: &InstanceName, since: Duration) -> String {
    if since < Duration::from_secs(10) {
        format!("waiting for {old} to begin")
    } else {
        format!("waiting for {old} to begin: is the operator up?")
    }
}

fn failed(reached: &Reached, why: &Why) -> Failure {
    let (cluster, namespace) = (&reached.cluster, &reached.namespace);
    let (what, because) = console::not_switched_over(why);
    let fix = format!("pgherd explain {cluster} -n {namespace}");
    Failure::new(Kind::Failed, what).because(because).fix(fix)
}
