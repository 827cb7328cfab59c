//! `pgherd inside probe`: writes through a service as an application would, and says how long it
//! had to wait.
//!
//! Never leaves anything behind: what it writes are messages in the log, not rows.

use super::super::output::say;
use anyhow::{Context, bail};
use pgherd_local::ledger::{Address, Ledger, Settings, Trace};
use pgherd_local::uri::escaped;
use serde::{Deserialize, Serialize};
use std::io::stdin;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// It writes this long without a pause before what is measured begins, and after it.
const QUIET: Duration = Duration::from_millis(500);
/// To reach the primary, and to write again afterwards.
const REACH: Duration = Duration::from_secs(10);
/// Nobody measures longer than that: whoever asked is gone.
const AT_MOST: Duration = Duration::from_mins(10);
/// A server that does not answer a dial this soon is not waited for.
const DIAL: Duration = Duration::from_millis(250);

/// Write through a service until a line is read, and print the longest pause
#[derive(clap::Args)]
pub(super) struct Probe {
    /// The service
    #[arg(long, value_name = "HOST:PORT")]
    host: String,
    #[arg(long, value_name = "NAME")]
    user: String,
    #[arg(long, value_name = "NAME")]
    database: String,
}

/// What a probe says, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Told {
    /// It writes; from now on it measures.
    Writing,
    Measured {
        longest_pause_milliseconds: u64,
    },
}

impl Probe {
    pub(super) async fn measure(self, identity: &Path) -> anyhow::Result<()> {
        let password = identity.join("secrets/app");
        let password = std::fs::read_to_string(&password)
            .with_context(|| format!("reading {}", password.display()))?;
        let authorities = identity.join("tls/replication/ca.crt");
        let uri = format!(
            "postgresql://{}:{}@{}/{}?sslmode=verify-full&sslrootcert={}",
            escaped(&self.user),
            escaped(&password),
            self.host,
            escaped(&self.database),
            escaped(&authorities.to_string_lossy()),
        );
        let book = std::env::temp_dir().join(format!("probe-{}.book", std::process::id()));
        let measured = self.write(&uri, &book).await;
        let _absent = std::fs::remove_file(&book).is_err();
        measured
    }

    async fn write(&self, uri: &str, book: &Path) -> anyhow::Result<()> {
        let mut settings = Settings::new(Address::parse(uri)?, book.to_owned());
        settings.trace = Trace::Messages;
        settings.writers = 2;
        settings.dial_within = DIAL;
        let reach = || format!("writing through {} as {}", self.host, self.user);
        let probe = Ledger::start(settings, REACH).await.with_context(reach)?;
        probe.settle(Instant::now(), QUIET, REACH).await.with_context(reach)?;
        let began = Instant::now();
        let asked = asked_to_end();
        tell(&Told::Writing)?;
        if timeout(AT_MOST, asked).await.is_err() {
            bail!("nobody asked for the result within {AT_MOST:?}");
        }
        probe.settle(Instant::now(), QUIET, REACH).await.with_context(reach)?;
        let pause = probe.longest_gap(began).length();
        probe.stop().await.context("ending the probe")?;
        let longest_pause_milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tell(&Told::Measured { longest_pause_milliseconds })
    }
}

fn tell(told: &Told) -> anyhow::Result<()> {
    say(&serde_json::to_string(told)?);
    Ok(())
}

/// Comes true when a line is read, or the end of the input.
fn asked_to_end() -> oneshot::Receiver<()> {
    let (told, asked) = oneshot::channel();
    std::thread::spawn(move || {
        // An input that cannot be read has ended.
        let _ended = stdin().read_line(&mut String::new()).is_err();
        let _nobody_waits = told.send(()).is_err();
    });
    asked
}
