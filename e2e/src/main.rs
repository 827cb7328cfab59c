//! The proofs' commands; `cargo xtask torture` and `cargo xtask bench` call them.
//!
//! Never ships.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod kubernetes;
mod prove;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use kubernetes::Kubernetes;
use pgherd_e2e::bench::backup::engine::{self, Asked as EngineAsked};
use pgherd_e2e::bench::backup::{self, Slow};
use pgherd_e2e::bench::{self, Plan, Product, Sheet, Table};
use pgherd_e2e::rig::pgherd::Mode;
use pgherd_e2e::rig::{Durability, Fault, Site};
use pgherd_e2e::torture::{self, Asked};
use pgherd_e2e::{client, orphans, wait};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};

/// Proof on real processes.
#[derive(Parser)]
#[command(bin_name = "pgherd-e2e")]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Attacks a real cluster and counts lost commits.
    #[command(after_help = "Example: cargo xtask torture --faults 12 --mode required")]
    Torture(Torture),
    /// Measures outages of real clusters.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Is what `bench backup` measures.
    #[command(hide = true)]
    Engine(EngineAsked),
    /// Is the client of a proof on Kubernetes, in its pod.
    #[command(hide = true)]
    Client {
        #[command(subcommand)]
        what: Client,
    },
    /// Brings a real Kubernetes up on this machine, and hurts it.
    Kubernetes {
        #[command(subcommand)]
        what: Kubernetes,
    },
}

#[derive(Subcommand)]
enum Client {
    /// Writes rows to the address in URI until it is asked to stop.
    Write {
        #[arg(long, value_enum, default_value = "application")]
        manner: client::Manner,
        /// Where its book lies.
        #[arg(long, default_value = "/tmp")]
        folder: PathBuf,
    },
    /// Asks the one that writes to stop.
    Stop {
        #[arg(long, default_value = "/tmp")]
        folder: PathBuf,
    },
}

#[derive(clap::Args)]
struct Torture {
    /// Kill who has to do with backups instead, while they are taken, restored, and log is archived.
    #[arg(long, conflicts_with_all = ["faults", "mode"])]
    backup: bool,
    /// How many are killed.
    #[arg(long, default_value_t = 9, requires = "backup")]
    rounds: usize,
    /// How many faults happen.
    #[arg(long, default_value_t = 12)]
    faults: usize,
    /// Begin no fault after so many minutes, and judge those that happened.
    #[arg(long)]
    minutes: Option<u64>,
    /// Says which, to whom, and for how long [default: another one each time].
    #[arg(long)]
    seed: Option<u64>,
    /// What a commit is worth when it is acknowledged.
    #[arg(long, value_enum, default_value = "required")]
    mode: Mode,
    #[command(flatten)]
    site: SiteAsked,
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Subcommand)]
enum Bench {
    /// Measures how long a client cannot write after a fault, beside another product.
    #[command(after_help = "Example: cargo xtask bench failover --rounds 20")]
    Failover(Failover),
    /// Measures backups, restores, archiving and replay, beside other products and the machine itself.
    #[command(after_help = "Example: cargo xtask bench backup --gigabytes 5\n\
                            Example: cargo xtask bench backup --only replay,lag")]
    Backup(Backup),
}

#[derive(clap::Args)]
struct Backup {
    /// How large the cluster is.
    #[arg(long, default_value_t = 1)]
    gigabytes: u64,
    /// Measure also what takes a minute for each gigabyte: barman-cloud with gzip.
    #[arg(long)]
    slow: bool,
    /// Measure only this [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ACT")]
    only: Vec<backup::Act>,
    /// Measure only beside these [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER")]
    peers: Vec<backup::Peer>,
    /// How many seconds clients write at full speed; then two thirds of that at a low rate.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=3600))]
    writing: u64,
    #[command(flatten)]
    site: SiteAsked,
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(clap::Args)]
struct Failover {
    /// How often each fault happens to each product.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Whose clusters to measure [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    products: Vec<Product>,
    /// When commits are acknowledged [default: both].
    #[arg(long, value_enum, value_delimiter = ',')]
    durability: Vec<Durability>,
    /// Which faults happen [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Keep what is measured in this file, and do not measure again what is in it.
    #[arg(long)]
    sheet: Option<PathBuf>,
    #[command(flatten)]
    site: SiteAsked,
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(clap::Args)]
struct SiteAsked {
    /// The folder of PostgreSQL's programs [default: PGHERD_PG_BINDIR, else Debian's 15].
    #[arg(long)]
    bindir: Option<PathBuf>,
    /// Keep the clusters' folders and logs, in this one.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    match run(Arguments::parse().act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(act: Act) -> Result<()> {
    match act {
        // The first process of a node buries its dead itself, and others take our place.
        Act::Kubernetes {
            what:
                what @ (Kubernetes::Node { .. } | Kubernetes::Kubectl { .. } | Kubernetes::Run { .. }),
        } => return kubernetes::act_on(what),
        Act::Client { what } => return be_client(what),
        Act::Engine(asked) => return engine::run(&asked),
        Act::Torture(_) | Act::Bench { .. } | Act::Kubernetes { .. } => {}
    }
    orphans::adopt()?;
    // The ledger runs on the worker while this thread does things to clusters.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let mut ends = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminations = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut tasks = pgherd_agent::tasks::Tasks::default();
    let _listening = tasks.spawn("signals", async move {
        tokio::select! {
            _ = ends.recv() => {}
            _ = terminations.recv() => {}
        }
        wait::interrupt();
    });
    match act {
        Act::Torture(asked) if asked.backup => torture_backups(asked, runtime.handle()),
        Act::Torture(asked) => torture(asked, runtime.handle()),
        Act::Bench { what: Bench::Failover(asked) } => failover(asked, runtime.handle()),
        Act::Kubernetes { what } => kubernetes::act_on(what),
        Act::Bench { what: Bench::Backup(asked) } => measure_backups(asked),
        Act::Client { what } => be_client(what),
        Act::Engine(asked) => engine::run(&asked),
    }
}

fn measure_backups(asked: Backup) -> Result<()> {
    let slow = if asked.slow { Slow::Measured } else { Slow::LeftOut };
    let plan = backup::Plan {
        gigabytes: asked.gigabytes,
        slow,
        acts: all_unless(asked.only).into_iter().collect(),
        peers: all_unless(asked.peers).into_iter().collect(),
        writing: Duration::from_secs(asked.writing),
        site: asked.site.site()?,
    };
    let mut figures = Vec::new();
    let ended = backup::run(&plan, |one| {
        eprintln!("{} {} {}: {:.2} s", one.act, one.kind, one.who, one.seconds);
        figures.push(one);
    });
    // What was measured before something failed took as long.
    match asked.output {
        Output::Text => print!("{}", backup::Table(&figures)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    ended
}

fn be_client(what: Client) -> Result<()> {
    match what {
        Client::Stop { folder } => client::ask_to_stop(&folder),
        Client::Write { manner, folder } => {
            let uri = std::env::var("URI").context("reading URI from the environment")?;
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(client::write(&uri, manner, &folder))
        }
    }
}

fn failover(asked: Failover, runtime: &Handle) -> Result<()> {
    let plan = Plan {
        products: all_unless(asked.products),
        durabilities: all_unless(asked.durability),
        faults: all_unless(asked.faults),
        rounds: asked.rounds,
        site: asked.site.site()?,
    };
    let mut sheet = asked.sheet.map_or_else(|| Ok(Sheet::default()), |path| Sheet::open(&path))?;
    bench::run(&plan, &mut sheet, runtime, |one| {
        let seconds = Duration::from_millis(one.gap_milliseconds).as_secs_f64();
        eprintln!(
            "{} {} round {}: {} {seconds:.2} s, {} lost of {}{}{}",
            one.product,
            one.durability,
            one.round,
            one.fault,
            one.lost,
            one.acknowledged,
            if one.wrong.is_empty() { "" } else { ": " },
            one.wrong,
        );
    })?;
    let measured = sheet.all();
    let summaries = bench::summarise(measured);
    match asked.output {
        Output::Text => print!("{}", Table(&summaries)),
        Output::Json => {
            let whole = serde_json::json!({ "summary": summaries, "measurements": measured });
            println!("{}", serde_json::to_string_pretty(&whole)?);
        }
    }
    Ok(())
}

fn torture_backups(asked: Torture, runtime: &Handle) -> Result<()> {
    let seed = asked.seed.map_or_else(new_seed, Ok)?;
    let Torture { rounds, output, .. } = asked;
    eprintln!("seed {seed}, {rounds} rounds");
    let within = asked.minutes.map(Duration::from_mins);
    let asked = torture::backup::Asked { rounds, within, seed, site: asked.site.site()? };
    let report = torture::backup::run(&asked, runtime, |told| eprintln!("{told}"))?;
    match output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if !report.problems.is_empty() {
        bail!("{} problems with seed {seed}", report.problems.len());
    }
    Ok(())
}

fn torture(asked: Torture, runtime: &Handle) -> Result<()> {
    let seed = asked.seed.map_or_else(new_seed, Ok)?;
    eprintln!("seed {seed}, {}, {} faults", asked.mode.words(), asked.faults);
    let Torture { faults, mode, output, .. } = asked;
    let within = asked.minutes.map(Duration::from_mins);
    let asked = Asked { faults, within, seed, mode, site: asked.site.site()? };
    let report = torture::run(&asked, runtime, |told| eprintln!("{told}"))?;
    match output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if !report.problems.is_empty() {
        bail!("{} problems with seed {seed}", report.problems.len());
    }
    Ok(())
}

fn new_seed() -> Result<u64> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(since_epoch.as_micros())? % 1_000_000_000)
}

/// What was asked for, or everything there is.
fn all_unless<T: ValueEnum + Clone>(asked: Vec<T>) -> Vec<T> {
    if asked.is_empty() { T::value_variants().to_vec() } else { asked }
}

impl SiteAsked {
    fn site(self) -> Result<Site> {
        let given = self.bindir.or_else(|| std::env::var_os("PGHERD_PG_BINDIR").map(PathBuf::from));
        let bindir = given.unwrap_or_else(|| PathBuf::from("/usr/lib/postgresql/15/bin"));
        if let Some(folder) = &self.keep {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        Ok(Site { bindir, keep: self.keep })
    }
}
