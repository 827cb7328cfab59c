//! Which cluster a verb is about, and as whom it works there.
//!
//! Never works as root: root only finds out whose the cluster is.

use super::output::Output;
use pgherd_core::names::{CLUSTER_NAME_LIMIT, ClusterName};
use pgherd_local::account::{self, Account};
use pgherd_local::client::{self, Supervisor};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::{ClusterFolder, Home};
use pgherd_local::hint::USUAL_NAME;
use pgherd_local::prepare;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(clap::Args)]
pub(crate) struct Place {
    /// The cluster's name (default: local)
    #[arg(long, short, value_name = "NAME", value_parser = name, global = true)]
    name: Option<ClusterName>,
    /// The folder clusters are kept in (default: ~/.local/share/pgherd, for root /var/lib/pgherd)
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// How to write the result
    #[arg(long, short, value_enum, default_value = "text", global = true)]
    output: Output,
    /// How long to wait, for example 30s or 5m; the operation goes on after that
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, global = true)]
    timeout: Duration,
}

impl Place {
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn given_name(&self) -> Option<&ClusterName> {
        self.name.as_ref()
    }

    pub(crate) fn home(&self) -> Result<Home, Failure> {
        match &self.dir {
            Some(dir) => Ok(Home::at(dir.clone())),
            None => Home::usual().map_err(|error| Failure::from_error(Kind::Usage, &error)),
        }
    }

    pub(crate) fn folder(&self) -> Result<ClusterFolder, Failure> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ClusterName::parse(USUAL_NAME)
                .map_err(|error| Failure::from_error(Kind::Usage, &error))?,
        };
        folder(&self.home()?, &name)
    }

    /// Runs `work` with the cluster's folder, as its owner.
    pub(crate) fn inside<T, Working>(
        &self,
        work: impl FnOnce(ClusterFolder) -> Working + Send,
    ) -> Result<T, Failure>
    where
        T: Send,
        Working: Future<Output = Result<T, Failure>>,
    {
        let folder = self.folder()?;
        let account = owner(&folder)?;
        let root = folder.root().to_owned();
        let ended = as_account(&account, || async { work(folder).await });
        ended.map_err(|failure| failure.addressed(&root))
    }

    /// Runs `work` with the cluster's supervisor, which is started if it crashed.
    pub(crate) fn with<T, Working>(
        &self,
        work: impl FnOnce(Supervisor) -> Working + Send,
    ) -> Result<T, Failure>
    where
        T: Send,
        Working: Future<Output = Result<T, Failure>>,
    {
        self.inside(|folder| async move { work(client::reach(&folder).await?).await })
    }
}

pub(crate) fn folder(home: &Home, name: &ClusterName) -> Result<ClusterFolder, Failure> {
    home.cluster(name).map_err(|error| Failure::from_error(Kind::Usage, &error))
}

/// Whose the cluster is; an error when there is none.
pub(crate) fn owner(folder: &ClusterFolder) -> Result<Account, Failure> {
    let owner =
        prepare::owner(folder).map_err(|error| Failure::from_error(Kind::Refused, &error))?;
    owner.ok_or_else(|| client::not_found(folder).addressed(folder.root()))
}

/// Runs `work` as that account, until it ends or the user interrupts it.
pub(crate) fn as_account<T, Working>(
    account: &Account,
    work: impl FnOnce() -> Working + Send,
) -> Result<T, Failure>
where
    T: Send,
    Working: Future<Output = Result<T, Failure>>,
{
    let working = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let ended = runtime.block_on(async {
            let failed = |error: std::io::Error| Failure::from_error(Kind::Failed, &error);
            // Before anything is done: whoever has seen its first word may interrupt it.
            let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            let mut told = signal(SignalKind::terminate()).map_err(failed)?;
            let mut hung_up = signal(SignalKind::hangup()).map_err(failed)?;
            tokio::select! {
                ended = work() => ended,
                _ = interrupt.recv() => Err(interrupted()),
                _ = told.recv() => Err(interrupted()),
                _ = hung_up.recv() => Err(interrupted()),
            }
        });
        // A thread that still waits for something is not waited for.
        runtime.shutdown_background();
        ended
    };
    let ended = account::run_as(account, working);
    ended.map_err(|error| Failure::from_error(Kind::Failed, &error))?
}

fn interrupted() -> Failure {
    Failure::new(Kind::Interrupted, "stopped waiting; what was asked for goes on")
        .fix("pgherd local status shows how far it is, pgherd local down ends it")
}

pub(crate) fn name(given: &str) -> Result<ClusterName, String> {
    ClusterName::parse(given)
        .map_err(|error| format!("{error}\nfix: for example --name {}", resembling(given)))
}

/// A name that would be taken, as near to the given one as can be.
fn resembling(given: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let plain: String = given.chars().map(plain).collect();
    let begun = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let short: String = begun.chars().take(CLUSTER_NAME_LIMIT).collect();
    let ended = short.trim_end_matches('-');
    if ended.is_empty() { USUAL_NAME.to_owned() } else { ended.to_owned() }
}

/// Reads `250ms`, `30s`, `5m` or `1h`.
pub(crate) fn duration(given: &str) -> Result<Duration, String> {
    let refused = || "write a number with ms, s, m or h, for example 30s".to_owned();
    let end = given.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = given.split_at(end);
    let number: u64 = number.parse().map_err(|_| refused())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_name_comes_with_one_that_is_taken() {
        for (given, told) in
            [("Bad_Name", "bad-name"), ("9 lives.", "lives"), ("", "local"), ("ü", "local")]
        {
            assert!(
                name(given).unwrap_err().ends_with(&format!("\nfix: for example --name {told}"))
            );
            assert!(name(told).is_ok());
        }
        let long = "x".repeat(49) + "-y";
        assert_eq!(resembling(&long), "x".repeat(49));
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        for bad in ["", "5", "m", "-1s", "5 s", "1d", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
