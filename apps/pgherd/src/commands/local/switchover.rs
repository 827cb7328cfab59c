//! `pgherd local switchover`: hands the primary's office over, and measures what clients felt.
//!
//! Never begins when no standby is ready.

use super::output::{Output, say, say_either};
use super::place::Place;
use super::wait::{self, Sight};
use pgherd_api::console;
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use pgherd_core::switchover::{self, Stage};
use pgherd_local::client::Supervisor;
use pgherd_local::control::{Request, View};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::ledger::{Address, Ledger, LedgerError, Settings, Trace};
use pgherd_local::summary::{self, is_ready};
use pgherd_local::{credentials, uri};
use std::time::{Duration, Instant};

/// The probe writes this long before the switchover begins, and after it.
const QUIET: Duration = Duration::from_millis(500);
/// For the probe to reach the primary, and to write again afterwards.
const PROBE: Duration = Duration::from_secs(10);

/// Make another instance the primary, and measure the pause
#[derive(clap::Args)]
#[command(after_help = "\
A probe commits small messages to the log as the application's owner while it happens; they leave
nothing behind. The outage is the longest time without an acknowledged commit.

Examples:
  pgherd local switchover
  pgherd local switchover 2")]
pub(crate) struct Switchover {
    #[command(flatten)]
    pub(super) place: Place,
    /// The new primary, by name or number (default: the standby that is furthest)
    #[arg(value_name = "INSTANCE")]
    target: Option<String>,
    /// Do not measure
    #[arg(long)]
    no_probe: bool,
}

impl Switchover {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        self.place.with(|supervisor| async move {
            let view = supervisor.view().await?;
            let old = check(&view)?;
            if output == Output::Text {
                candidates(&view);
            }
            let probe = if self.no_probe { None } else { probe(&supervisor, &view).await };
            let began = Instant::now();
            let done = supervisor.ask(&Request::Switchover { target: self.target }).await?;
            let number = done.number.unwrap_or_default();
            let Some(before) = &view.record else {
                return Err(Failure::new(Kind::Failed, "there was nobody to switch from"));
            };
            let asked = Asked { number, target: done.instances.first(), before };
            let new = until_over(&supervisor, within, &asked).await?;
            let took = began.elapsed();
            let outage = match probe {
                Some(probe) => measured(probe, began).await,
                None => None,
            };
            forget_book(supervisor.folder());
            tell(output, &view, (&old, &new), (took, outage))
        })
    }
}

/// Who is primary now; refuses when nobody could follow it.
fn check(view: &View) -> Result<InstanceName, Failure> {
    let refused = |what: String| Failure::new(Kind::Refused, what).fix("pgherd local explain");
    let Some(primary) = view.primary() else {
        return Err(refused(format!("cluster {} has no primary to switch from", view.cluster)));
    };
    let standby =
        |view: &View| view.instances.iter().any(|it| it.name != primary.name && is_ready(view, it));
    if !standby(view) {
        return Err(refused(format!("no standby of {} is ready to take over", view.cluster)));
    }
    Ok(primary.name.clone())
}

fn candidates(view: &View) {
    let summary = summary::summary(view);
    let standbys = summary.instances.iter().filter(|it| it.can_take_over != "-");
    for standby in standbys {
        let lag = standby.lag_bytes.map(|lag| pgherd_core::units::Bytes(lag).to_string());
        let lag = lag.unwrap_or_else(|| "-".to_owned());
        super::output::remark(&format!(
            "  {}  lag {lag}  can take over: {}",
            standby.name, standby.can_take_over
        ));
    }
}

/// A running probe, if one can be had: what cannot be measured can be done all the same.
async fn probe(supervisor: &Supervisor, view: &View) -> Option<Ledger> {
    match start_probe(supervisor, view).await {
        Ok(probe) => Some(probe),
        Err(error) => {
            super::output::remark(&format!("warning: not measured: {error}"));
            None
        }
    }
}

async fn start_probe(supervisor: &Supervisor, view: &View) -> Result<Ledger, Failure> {
    let failed = |error: LedgerError| Failure::from_error(Kind::Failed, &error);
    let address = address(supervisor, view)?;
    let book = supervisor.folder().probe_book();
    // What an interrupted measurement left is of no use.
    forget_book(supervisor.folder());
    let mut settings = Settings::new(address, book);
    settings.trace = Trace::Messages;
    settings.writers = 2;
    let probe = Ledger::start(settings, PROBE).await.map_err(failed)?;
    probe.settle(Instant::now(), QUIET, PROBE).await.map_err(failed)?;
    Ok(probe)
}

fn forget_book(folder: &ClusterFolder) {
    let _absent = std::fs::remove_file(folder.probe_book()).is_err();
}

/// Where our own clients connect: with the password, and insisting on the servers' names.
pub(super) fn address(supervisor: &Supervisor, view: &View) -> Result<Address, Failure> {
    let folder = supervisor.folder();
    let password = credentials::password(folder, "app")
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let uri = uri::uri(&uri::Address {
        ports: uri::ports(view)?,
        user: &view.owner,
        database: &view.database,
        password: Some(&password),
        session: uri::Session::ReadWrite,
        tls: view.tls,
        folder,
    });
    let uri = uri.replace("sslmode=verify-ca", "sslmode=verify-full");
    Address::parse(&uri).map_err(|error| Failure::from_error(Kind::Failed, &error))
}

async fn measured(probe: Ledger, began: Instant) -> Option<Duration> {
    let settled = probe.settle(Instant::now(), QUIET, PROBE).await;
    let outage = probe.longest_gap(began).length();
    let stopped = probe.stop().await;
    match settled.and(stopped.map(|_| ())) {
        Ok(()) => Some(outage),
        Err(error) => {
            super::output::remark(&format!("warning: not measured: {error}"));
            None
        }
    }
}

/// A switchover that was asked for.
pub(super) struct Asked<'a> {
    pub(super) number: u64,
    pub(super) target: Option<&'a InstanceName>,
    /// The record from before it.
    pub(super) before: &'a Record,
}

pub(super) async fn until_over(
    supervisor: &Supervisor,
    within: Duration,
    asked: &Asked<'_>,
) -> Result<InstanceName, Failure> {
    let old = &asked.before.holder.instance;
    wait::until(supervisor, within, |view| {
        let Some(record) = &view.record else {
            return Sight::Missing("waiting for the record".to_owned());
        };
        let stage = switchover::stage((asked.number, asked.target), asked.before, record);
        match stage {
            Stage::Asked => Sight::Missing(format!("waiting for {old} to begin")),
            Stage::HandingOver { target } => {
                Sight::Missing(format!("{old} hands over to {target}"))
            }
            Stage::Vacant => Sight::Missing("waiting for the new primary".to_owned()),
            Stage::Over { to } => match view.primary().filter(|it| is_ready(view, it)) {
                Some(primary) => Sight::There(primary.name.clone()),
                None => Sight::Missing(format!("{to} opens")),
            },
            Stage::Failed(why) => {
                let (what, because) = console::not_switched_over(&why);
                let failure = Failure::new(Kind::Failed, what).because(because);
                Sight::Never(failure.fix("pgherd local explain"))
            }
        }
    })
    .await
}

fn tell(
    output: Output,
    view: &View,
    (old, new): (&InstanceName, &InstanceName),
    (took, outage): (Duration, Option<Duration>),
) -> Result<(), Failure> {
    let measured = match outage {
        Some(outage) => format!("write outage {:.2}s", outage.as_secs_f64()),
        None => "write outage not measured".to_owned(),
    };
    let took = took.as_secs_f64();
    let sentence =
        format!("cluster/{} switched over: {old} -> {new} in {took:.2}s, {measured}", view.cluster);
    let document = serde_json::json!({
        "cluster": view.cluster,
        "from": old,
        "to": new,
        "seconds": took,
        "writeOutageSeconds": outage.map(|outage| outage.as_secs_f64()),
    });
    if output == Output::Text {
        say(&sentence);
        return Ok(());
    }
    say_either(output, &sentence, &document)
}
