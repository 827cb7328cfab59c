//! Runs seeds: one with its trace, many, or as many as fit into some minutes.
//!
//! Never decides what a failure is; the checker does.
#![expect(clippy::print_stdout, reason = "it is a command that reports")]

use anyhow::{Result, bail};
use clap::Parser;
use pgherd_core::intent::Durability;
use pgherd_core::rules::Rule;
use pgherd_core::units::Bytes;
use pgherd_simulator::chaos::Freezes;
use pgherd_simulator::explore::{Explored, Limits, explore};
use pgherd_simulator::faults::seconds;
use pgherd_simulator::mutation;
use pgherd_simulator::run::{Play, Played, Setup};
use pgherd_simulator::scenario::SEEDS;
use pgherd_simulator::scenarios;
use pgherd_simulator::shrink::shrink;
use pgherd_simulator::world::Traced;
use std::time::Duration;

#[expect(clippy::disallowed_types, reason = "says how fast it is; no run sees it")]
type Stopwatch = std::time::Instant;

/// Attacks the decisions of pgherd in virtual time.
#[derive(Debug, Parser)]
#[command(name = "pgherd-simulator")]
struct Arguments {
    /// Replay this one seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Print all that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run so many seeds.
    #[arg(long, default_value_t = 200)]
    runs: u64,
    /// Begin with this seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run fresh seeds for so many minutes instead.
    #[arg(long)]
    minutes: Option<u64>,
    /// Run without this rule of the protocol.
    #[arg(long)]
    mutant: Option<String>,
    /// Play this directed schedule instead, with one seed or with all of its own.
    #[arg(long)]
    scenario: Option<String>,
    /// Only clusters of this many instances.
    #[arg(long)]
    nodes: Option<u8>,
    /// Only clusters of this durability: async, required, required2, preferred or preferred2.
    #[arg(long)]
    durability: Option<String>,
    /// Machines freeze: yes or no; otherwise the seed decides.
    #[arg(long)]
    freeze: Option<String>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mutant = arguments.mutant.as_deref().map(mutant_named).transpose()?;
    if let Some(name) = &arguments.scenario {
        return play_scenario(name, &arguments, mutant);
    }
    if let Some(seed) = arguments.seed {
        let mut play = Play::drawn(seed, setup(&arguments, seed)?);
        play.mutant = mutant;
        let shown = if arguments.trace { usize::MAX } else { 0 };
        return replay(&play, shown);
    }
    let probe = setup(&arguments, 0)?;
    println!("from seed {}, {:?}", arguments.from, probe.freezes);
    let limits = Limits {
        from: arguments.from,
        runs: arguments.runs,
        lasts: arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
        keep_going: arguments.keep_going,
    };
    let watch = Stopwatch::now();
    let explored = explore(
        limits,
        || watch.elapsed(),
        |seed| {
            let mut play =
                Play::drawn(seed, setup(&arguments, seed).unwrap_or(Setup::of_seed(seed)));
            play.mutant = mutant;
            play
        },
    );
    report(&explored)
}

fn play_scenario(name: &str, arguments: &Arguments, mutant: Option<Rule>) -> Result<()> {
    let Some(scenario) = scenarios::named(name) else {
        let names: Vec<&str> = scenarios::all().iter().map(|one| one.name).collect();
        bail!("there is no scenario {name:?}: there are\n  {}", names.join("\n  "));
    };
    let traced = if arguments.trace { Traced::Yes } else { Traced::No };
    let mut broken = 0;
    for seed in arguments.seed.map_or(SEEDS, |seed| seed..=seed) {
        let told = scenario.play(seed, mutant, traced)?;
        told.played.trace.iter().for_each(|line| println!("{line}"));
        let outcome = match &told.played.violation {
            Some(violation) => violation.to_string(),
            None => "holds".to_owned(),
        };
        println!("seed {seed}: {outcome}");
        for reached in &told.reached {
            match reached.at {
                Some(at) => println!("  {} at {:.3}s", reached.what, seconds(at)),
                None => println!("  never: {}", reached.what),
            }
        }
        broken += u32::from(told.played.violation.is_some());
    }
    if broken == 0 { Ok(()) } else { bail!("{name} is broken with {broken} seeds") }
}

fn setup(arguments: &Arguments, seed: u64) -> Result<Setup> {
    let mut setup = Setup::of_seed(seed);
    if let Some(instances) = arguments.nodes {
        setup.instances = instances.clamp(1, 5);
    }
    match arguments.durability.as_deref() {
        None => {}
        Some("async") => {
            setup.durability = Durability::Asynchronous { max_lag: Bytes(1 << 20) };
        }
        Some("required") => setup.durability = Durability::Required { acks: 1 },
        Some("required2") => setup.durability = Durability::Required { acks: 2 },
        Some("preferred") => setup.durability = Durability::Preferred { acks: 1 },
        Some("preferred2") => setup.durability = Durability::Preferred { acks: 2 },
        Some(other) => bail!("durability {other:?} is not known: use async, required or preferred"),
    }
    match arguments.freeze.as_deref() {
        None => {}
        Some("yes") => setup.freezes = Freezes::Sometimes,
        Some("no") => setup.freezes = Freezes::Never,
        Some(other) => bail!("freeze {other:?} is not known: use yes or no"),
    }
    Ok(setup)
}

fn mutant_named(name: &str) -> Result<Rule> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let found = mutation::ALL.iter().find(|rule| format!("{rule:?}").eq_ignore_ascii_case(&plain));
    match found {
        Some(rule) => Ok(*rule),
        None => bail!("there is no rule {name:?}: the rules are {:?}", mutation::ALL),
    }
}

fn replay(play: &Play, shown: usize) -> Result<()> {
    let played = play.clone().traced().run()?;
    played.trace.iter().take(shown).for_each(|line| println!("{line}"));
    println!(
        "{} instances, {:?}, {:?}",
        play.config.instances, play.config.durability, play.config.timers.grant
    );
    println!("{:?}", played.figures);
    println!("fingerprint {:016x}", played.fingerprint);
    match played.violation {
        None => Ok(()),
        Some(_) => fail(play, &played),
    }
}

/// Shows what is left of a failing schedule, and how it ends.
fn fail(play: &Play, played: &Played) -> Result<()> {
    let small = shrink(play);
    println!(
        "\nseed {}: {} faults, of which these are enough:",
        play.config.seed,
        play.faults.len()
    );
    small.faults.iter().for_each(|fault| println!("  {fault}"));
    let last = small.clone().traced().run()?;
    let from = last.trace.len().saturating_sub(40);
    last.trace.iter().skip(from).for_each(|line| println!("{line}"));
    if let Some(violation) = &last.violation {
        println!("{violation}");
    }
    match &played.violation {
        Some(violation) => bail!("seed {}: {violation}", play.config.seed),
        None => Ok(()),
    }
}

fn report(explored: &Explored) -> Result<()> {
    println!(
        "{} runs in {:.1} s of real time: {:.0} per second and core, {} promotions, {} writes of the record, \
         {} commits acknowledged, available {:.1} %",
        explored.runs,
        explored.elapsed.as_secs_f64(),
        explored.per_second(),
        explored.figures.promotions,
        explored.figures.writes,
        explored.figures.acknowledgements,
        100.0 * seconds(explored.figures.available) / seconds(explored.simulated).max(1.0),
    );
    for (play, violation) in &explored.failures {
        println!(
            "seed {} ({} instances, {:?}): {violation}",
            play.config.seed, play.config.instances, play.config.durability
        );
    }
    match explored.failures.first() {
        None => Ok(()),
        Some((play, _)) => fail(play, &play.run()?),
    }
}
