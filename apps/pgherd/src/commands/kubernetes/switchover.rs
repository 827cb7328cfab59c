//! `pgherd switchover`: hands the primary's office over, and measures how long it took.
//!
//! Never begins when no standby is ready.

use super::super::local::output::remark;
use super::super::local::progress::Progress;
use super::ask::{Written, told, write};
use super::form::{Form, tell};
use super::place::{Place, Reached, refused};
use super::probe::{Outage, Probe};
use super::wait::{Waiting, timed_out};
use pgherd_core::names::InstanceName;
use pgherd_core::record::{Phase, Record};
use pgherd_core::units::Bytes;
use pgherd_kubernetes::console::read;
use pgherd_kubernetes::console::{Route, View, ask, summary};
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
            let over = follow(&reached, &written, (began, waiting.timeout)).await?;
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

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    HandingOver(InstanceName),
    Vacant,
    /// The record names another holder, and clients are not led there yet.
    InOffice(InstanceName),
    Led(InstanceName),
    GivenUp,
}

/// How far the request of this number is, if `before` is the record from before it.
fn stage(number: u64, before: &Record, (record, route): (&Record, Option<&Route>)) -> Stage {
    let holder = &record.holder.instance;
    let is_new = record.epoch > before.epoch;
    match &record.phase {
        Phase::Serving if is_new => {
            let leads_there = route.is_some_and(|route| route.epoch >= Some(record.epoch));
            if leads_there { Stage::Led(holder.clone()) } else { Stage::InOffice(holder.clone()) }
        }
        Phase::Serving if record.switchover >= number => Stage::GivenUp,
        Phase::Serving => Stage::Asked,
        Phase::HandingOver { target } => Stage::HandingOver(target.clone()),
        Phase::Vacant { .. } => Stage::Vacant,
    }
}

async fn follow(
    reached: &Reached,
    written: &Written,
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
                let stage = stage(number, before, (record, route.as_ref()));
                let now = began.elapsed();
                match stage {
                    Stage::Asked => waits_for(&old, now),
                    Stage::HandingOver(target) => {
                        begun.get_or_insert(now);
                        format!("{old} hands over to {target}")
                    }
                    Stage::Vacant => {
                        begun.get_or_insert(now);
                        "waiting for the new primary".to_owned()
                    }
                    Stage::InOffice(new) => {
                        named.get_or_insert(now);
                        format!("{new} opens")
                    }
                    Stage::Led(new) => {
                        let named = named.unwrap_or(now);
                        return Ok(Over { old, new, begun, named, led: now });
                    }
                    Stage::GivenUp => return Err(given_up(reached, &old)),
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

fn given_up(reached: &Reached, old: &InstanceName) -> Failure {
    let (cluster, namespace) = (&reached.cluster, &reached.namespace);
    Failure::new(Kind::Failed, format!("the switchover was given up: {old} stays primary"))
        .because("no standby was ready in time")
        .fix(format!("pgherd explain {cluster} -n {namespace}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::ClusterName;
    use pgherd_core::ports::contract;
    use pgherd_core::record::Holder;
    use pgherd_core::units::Epoch;

    #[test]
    fn a_switchover_is_over_when_clients_are_led_there_or_nobody_goes() {
        let before = contract::sample(1);
        let cluster = ClusterName::parse("contract").unwrap();
        let second = InstanceName::new(&cluster, 2);
        let begun = Record { switchover: 3, ..before.clone() };
        let handing =
            Record { phase: Phase::HandingOver { target: second.clone() }, ..begun.clone() };
        let holder = Holder { instance: second, ..before.holder.clone() };
        let taken = Record { holder, epoch: Epoch(before.epoch.0 + 1), ..begun.clone() };
        let route = |epoch| Some(Route { epoch: Some(Epoch(epoch)), address: None });
        let stages = [(&before, 1), (&handing, 1), (&taken, 1), (&taken, 2), (&begun, 1)];
        let told = stages.map(|(record, epoch)| {
            format!("{:?}\n", stage(3, &before, (record, route(epoch).as_ref())))
        });
        expect_test::expect![[r#"
            Asked
            HandingOver(InstanceName { cluster: ClusterName("contract"), serial: 2 })
            InOffice(InstanceName { cluster: ClusterName("contract"), serial: 2 })
            Led(InstanceName { cluster: ClusterName("contract"), serial: 2 })
            GivenUp
        "#]]
        .assert_eq(&told.concat());
    }
}
