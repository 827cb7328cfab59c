//! The developers' commands; automation calls nothing else.
//!
//! Never ships, and never holds a rule of the product.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod arrows;
mod check;
mod feature;
mod fuzz;
mod generate;
mod image;
mod kubernetes;
mod metadata;
mod repository;
mod setup;
mod steps;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use generate::Mode;
use setup::Major;
use std::path::PathBuf;
use std::process::ExitCode;

/// Everything a developer of pgherd does, as one command per act.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Checks a change quickly: format, lints, arrows, tidy, generated files, unit tests.
    #[command(after_help = "Example: cargo xtask check")]
    Check,
    /// Runs every test, those on real PostgreSQL too; installs what is missing first.
    #[command(after_help = "Example: cargo xtask test --postgres 18")]
    Test {
        /// The PostgreSQL to test on [default: the one in PGHERD_PG_BINDIR, else 15].
        #[arg(long, value_enum)]
        postgres: Option<Major>,
    },
    /// Shows a real three-instance cluster surviving what kills others, measured by a client.
    #[command(after_help = "Example: cargo xtask demo")]
    Demo(Passed),
    /// Attacks the decisions in virtual time.
    #[command(after_help = "Example: cargo xtask sim --seed 42\n\
                            All options: cargo xtask sim -- --help")]
    Sim(Passed),
    /// Attacks a real cluster and counts lost commits.
    #[command(after_help = "Example: cargo xtask torture --faults 12 --mode required\n\
                            All options: cargo xtask torture -- --help")]
    Torture(Passed),
    /// Measures outages of a real cluster, or what backups cost, beside other products.
    #[command(after_help = "Example: cargo xtask bench failover --rounds 20\n\
                            Example: cargo xtask bench backup --gigabytes 5\n\
                            All options: cargo xtask bench -- --help")]
    Bench(Passed),
    /// Attacks what reads bytes of others with real files that were changed.
    #[command(after_help = "Example: cargo xtask fuzz --minutes 60 --only contents::tests")]
    Fuzz {
        /// How long each reader is attacked.
        #[arg(long, default_value_t = 5)]
        minutes: u64,
        /// Only those of the module whose name ends so.
        #[arg(long)]
        only: Option<String>,
    },
    /// Brings a real Kubernetes of three nodes up on this machine, and hurts it.
    #[command(after_help = "Example: cargo xtask kubernetes up\n\
                            All commands: cargo xtask kubernetes -- --help")]
    Kubernetes(Passed),
    /// Builds the image that people install, the same bytes from the same sources.
    #[command(after_help = "Example: cargo xtask image --output pgherd.tar")]
    Image {
        /// The archive to write [default: pgherd-image.tar in cargo's target folder].
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Writes generated files anew.
    #[command(after_help = "Example: cargo xtask gen --check")]
    Gen {
        /// Only says which files are not fresh, and fails when there are any.
        #[arg(long)]
        check: bool,
    },
    /// Checks which package uses which against the table in ARCHITECTURE.md.
    #[command(after_help = "Example: cargo xtask arrows")]
    Arrows,
    /// Checks the house rules that no compiler checks.
    #[command(after_help = "Example: cargo xtask tidy")]
    Tidy,
    /// Prints where a feature lives, layer by layer.
    #[command(after_help = "Example: cargo xtask where switchover")]
    Where {
        /// The one word of the feature, like `switchover` or `cold_start`.
        word: String,
    },
    /// Lays down the files of something new.
    #[command(after_help = "Example: cargo xtask new adr \"Instances keep their names\"")]
    New {
        #[command(subcommand)]
        what: New,
    },
    /// Installs what is missing and prints the folder of PostgreSQL's programs.
    #[command(after_help = "Example: PGHERD_PG_BINDIR=$(cargo xtask setup --postgres 16) \
                            cargo test --workspace")]
    Setup {
        /// The PostgreSQL to install [default: the one in PGHERD_PG_BINDIR, else 15].
        #[arg(long, value_enum)]
        postgres: Option<Major>,
        /// What the repository of backups is tested against, instead.
        #[arg(long, conflicts_with = "postgres")]
        stores: bool,
    },
}

#[derive(Debug, Subcommand)]
enum New {
    /// Lays down the files of a feature.
    #[command(after_help = "Example: cargo xtask new feature switchover")]
    Feature {
        /// One word for all layers, like `switchover` or `cold_start`.
        word: String,
    },
    /// Lays down the next numbered decision.
    #[command(after_help = "Example: cargo xtask new adr \"Instances keep their names\"")]
    Adr {
        /// The decision as a sentence.
        title: String,
    },
}

/// What another program gets, word for word.
#[derive(Debug, clap::Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
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
        Act::Check => check::check(),
        Act::Test { postgres } => check::test(postgres),
        Act::Demo(passed) => product("pgherd", &["local", "demo"], &passed),
        Act::Sim(passed) => start("pgherd-simulator", &[], &passed, &[]),
        Act::Torture(passed) => proof("torture", &passed),
        Act::Bench(passed) => {
            setup::comparison(&passed.arguments)?;
            proof("bench", &passed)
        }
        Act::Fuzz { minutes, only } => fuzz::run(minutes, only.as_deref()),
        Act::Kubernetes(passed) => kubernetes::run(&passed.arguments),
        Act::Image { output } => image::build(output),
        Act::Gen { check } => generate::run(if check { Mode::Check } else { Mode::Write }),
        Act::Arrows => arrows::check(),
        Act::Tidy => tidy::check(),
        Act::Where { word } => feature::print_where(&word),
        Act::New { what: New::Feature { word } } => feature::create(&word),
        Act::New { what: New::Adr { title } } => feature::create_decision(&title),
        Act::Setup { stores: true, .. } => setup::stores(),
        Act::Setup { postgres, stores: false } => {
            println!("{}", setup::postgres(postgres)?.display());
            Ok(())
        }
    }
}

/// Starts a proof on real processes; it finds the binary it proves beside itself.
fn proof(name: &str, passed: &Passed) -> Result<()> {
    steps::cargo(&["build", "--quiet", "--release", "--package", "pgherd"], &[])?;
    product("pgherd-e2e", &[name], passed)
}

/// Starts a program that needs a PostgreSQL.
fn product(package: &str, first: &[&str], passed: &Passed) -> Result<()> {
    start(package, first, passed, &setup::environment(None)?)
}

fn start(
    package: &str,
    first: &[&str],
    passed: &Passed,
    environment: &steps::Environment,
) -> Result<()> {
    let mut arguments = vec!["run", "--quiet", "--release", "--package", package, "--"];
    arguments.extend(first);
    arguments.extend(passed.arguments.iter().map(String::as_str));
    steps::cargo(&arguments, environment)
}
