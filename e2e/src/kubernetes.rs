//! The testbed's commands: `cargo xtask kubernetes` calls them.
//!
//! Never does anything to a Kubernetes that it has not made.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use crate::prove::{self, Prove};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use pgherd_e2e::testbed::cgroup::Motion;
use pgherd_e2e::testbed::images;
use pgherd_e2e::testbed::network::Ways;
use pgherd_e2e::testbed::pack::{self, Weight};
use pgherd_e2e::testbed::{Machine, Node, Testbed};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::Instant;

const MEGABYTE: u64 = 1_000_000;

#[derive(Subcommand)]
pub(crate) enum Kubernetes {
    /// Brings three nodes up; builds what is missing first.
    #[command(after_help = "Example: cargo xtask kubernetes up")]
    Up,
    /// Ends all of it and leaves nothing behind but what was built.
    #[command(after_help = "Example: cargo xtask kubernetes down")]
    Down,
    /// Shows which nodes are on.
    #[command(after_help = "Example: cargo xtask kubernetes status")]
    Status {
        #[arg(long, short, value_enum, default_value_t)]
        output: super::Output,
    },
    /// Takes a node's power: all of its processes die at once.
    #[command(after_help = "Example: cargo xtask kubernetes crash n2")]
    Crash { node: Node },
    /// Switches a node on again, on the disk it had.
    #[command(after_help = "Example: cargo xtask kubernetes start n2")]
    Start { node: Node },
    /// Lets a node stand still.
    #[command(after_help = "Example: cargo xtask kubernetes freeze n2")]
    Freeze { node: Node },
    /// Lets a frozen node go on.
    #[command(after_help = "Example: cargo xtask kubernetes thaw n2")]
    Thaw { node: Node },
    /// Cuts a machine off from everything.
    #[command(after_help = "Example: cargo xtask kubernetes isolate n2")]
    Isolate { machine: Machine },
    /// Cuts one machine off from one other; cp is the control plane.
    #[command(after_help = "Example: cargo xtask kubernetes cut n2 cp --one-way")]
    Cut {
        from: Machine,
        to: Machine,
        /// Only what the first sends to the second is lost.
        #[arg(long)]
        one_way: bool,
    },
    /// Mends everything that was cut.
    #[command(after_help = "Example: cargo xtask kubernetes heal")]
    Heal,
    /// Ends the API server.
    #[command(after_help = "Example: cargo xtask kubernetes stop-api")]
    StopApi,
    /// Starts the API server again.
    #[command(after_help = "Example: cargo xtask kubernetes start-api")]
    StartApi,
    /// Brings an image, as `docker save` writes it, into every node that is on.
    #[command(after_help = "Example: cargo xtask kubernetes load image.tar")]
    Load { archive: PathBuf },
    /// Packs a static program as an image with nothing else in it.
    #[command(after_help = "Example: cargo xtask kubernetes pack target/pgherd image.tar")]
    Pack(Pack),
    /// Brings PostgreSQL 16 or 18 onto all nodes, as localhost/postgresql:16 or 18.
    #[command(after_help = "Example: cargo xtask kubernetes postgres 18")]
    Postgres { major: u32, tree: PathBuf },
    /// Installs pgherd in it, from static programs: the product, and the client of proofs.
    #[command(after_help = "Example: cargo xtask kubernetes deploy")]
    Deploy { program: PathBuf, client: PathBuf },
    /// Lets things happen to clusters, and measures; pgherd has to be installed.
    #[command(after_help = "Example: cargo xtask kubernetes prove --only node-lost --rounds 3")]
    Prove(Prove),
    /// Runs a command that finds the API server by KUBECONFIG.
    #[command(
        after_help = "Example: cargo xtask kubernetes run cargo test --package pgherd-e2e --test lease"
    )]
    Run {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Runs kubectl with all rights.
    #[command(after_help = "Example: cargo xtask kubernetes kubectl get pods")]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Is a node's first process; `up` and `start` call it.
    #[command(hide = true)]
    Node { node: Node },
}

#[derive(clap::Args)]
pub(crate) struct Pack {
    program: PathBuf,
    archive: PathBuf,
    #[arg(long, default_value = images::PGHERD)]
    name: String,
    /// What the image says of itself, as NAME=TEXT.
    #[arg(long, value_parser = label)]
    label: Vec<(String, String)>,
    /// Compresses it, as registries want it.
    #[arg(long)]
    compress: bool,
    /// Fails if the archive, or what it takes on a node, is larger.
    #[arg(long, value_name = "MEGABYTES")]
    at_most: Option<u64>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or("it is not like NAME=TEXT")?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

pub(crate) fn act_on(act: Kubernetes) -> Result<()> {
    let testbed = Testbed::find(std::env::current_exe().context("finding this program")?)?;
    let began = Instant::now();
    let tell = |what: &str| eprintln!("  {what} ({}s)", began.elapsed().as_secs());
    match act {
        Kubernetes::Up => {
            testbed.up(tell)?;
            println!("three nodes are ready after {:.1}s", began.elapsed().as_secs_f64());
            println!("try: cargo xtask kubernetes kubectl get nodes");
        }
        Kubernetes::Down => testbed.down(tell)?,
        Kubernetes::Status { output } => status(&testbed, output)?,
        Kubernetes::Crash { node } => testbed.crash(node)?,
        Kubernetes::Start { node } => testbed.start(node)?,
        Kubernetes::Freeze { node } => testbed.set(node, Motion::Frozen)?,
        Kubernetes::Thaw { node } => testbed.set(node, Motion::Running)?,
        Kubernetes::Isolate { machine } => testbed.isolate(machine)?,
        Kubernetes::Cut { from, to, one_way } => {
            testbed.cut(from, to, if one_way { Ways::One } else { Ways::Both })?;
        }
        Kubernetes::Heal => testbed.heal()?,
        Kubernetes::StopApi => testbed.stop_api()?,
        Kubernetes::StartApi => testbed.start_api()?,
        Kubernetes::Load { archive } => testbed.load(&archive)?,
        Kubernetes::Pack(asked) => pack(asked)?,
        Kubernetes::Postgres { major, tree } => {
            println!("all nodes have {}", testbed.postgres(major, &tree)?);
        }
        Kubernetes::Prove(asked) => prove::prove(asked)?,
        Kubernetes::Deploy { program, client } => print!("{}", testbed.deploy(&program, &client)?),
        Kubernetes::Run { command } => {
            return Err(testbed.within(&command)?.exec()).context("starting the command");
        }
        Kubernetes::Kubectl { arguments } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            // In our place, so that its terminal and its exit code are the caller's.
            return Err(testbed.kubectl(&arguments)?.exec()).context("starting kubectl");
        }
        Kubernetes::Node { node } => testbed.be(node)?,
    }
    Ok(())
}

fn pack(asked: Pack) -> Result<()> {
    let Pack { program, archive, name, label, compress, at_most } = asked;
    let weight = if compress { Weight::Compressed } else { Weight::Plain };
    let packed = pack::program(&program, &archive, &name, label.into_iter().collect(), weight)?;
    println!("{name}");
    println!("  digest   {}", packed.digest);
    println!("  archive  {} ({})", archive.display(), megabytes(packed.archive));
    println!("  on disk  {}", megabytes(packed.unpacked));
    let largest = packed.archive.max(packed.unpacked);
    match at_most {
        Some(limit) if largest > limit * MEGABYTE => bail!(
            "the image takes {}, and {limit} MB are the limit: see which dependency grew",
            megabytes(largest)
        ),
        Some(_) | None => Ok(()),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / MEGABYTE, bytes % MEGABYTE / 100_000)
}

fn status(testbed: &Testbed, output: super::Output) -> Result<()> {
    let nodes: Vec<_> = Node::all()
        .map(|node| Ok((node.to_string(), testbed.power(node)?)))
        .collect::<Result<_>>()?;
    let up = testbed.is_up();
    match output {
        super::Output::Json => {
            let nodes: Vec<_> = nodes
                .into_iter()
                .map(|(name, power)| json!({"name": name, "power": power}))
                .collect();
            let kubeconfig = up.then(|| testbed.kubeconfig());
            let whole = json!({"up": up, "kubeconfig": kubeconfig, "nodes": nodes});
            println!("{}", serde_json::to_string_pretty(&whole)?);
        }
        super::Output::Text if up => {
            for (name, power) in nodes {
                println!("{name}  {}", json!(power).as_str().unwrap_or_default());
            }
        }
        super::Output::Text => {
            println!("there is no testbed: `cargo xtask kubernetes up` makes one");
        }
    }
    Ok(())
}
