//! `kubernetes prove`: the list of what is promised on a Kubernetes, with figures.
//!
//! Never fails because something was slow.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use pgherd_e2e::proof::figures::{Ended, Outcome, Round, Table};
use pgherd_e2e::proof::place::Place;
use pgherd_e2e::proof::scenario::Scenario;
use pgherd_e2e::proof::{self, Asked, Told};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than Kubernetes takes to give a silent node up.
const AWAY: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub(crate) struct Prove {
    /// How often each scenario is gone through [default: its own number].
    #[arg(long)]
    rounds: Option<u32>,
    /// Which scenarios [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// The program of pgherd, for what people do by its commands.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Keep logs and objects in this folder when a promise is broken or a target missed.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Add what is measured to this file, one JSON object for each scenario.
    #[arg(long)]
    sheet: Option<PathBuf>,
    #[arg(long, short, value_enum, default_value_t)]
    output: super::Output,
}

pub(crate) fn prove(asked: Prove) -> Result<()> {
    let own = std::env::current_exe().context("finding this program")?;
    let place = Place::find(own, asked.program)?;
    let mut scenarios = asked.only;
    if scenarios.is_empty() {
        scenarios = Scenario::value_variants().to_vec();
    }
    let sheet = asked.sheet.map(|path| {
        let file = File::options().create(true).append(true).open(&path);
        file.with_context(|| format!("opening {}", path.display()))
    });
    let mut sheet = sheet.transpose()?;
    let plan = Asked { scenarios, rounds: asked.rounds, away: AWAY, keep: asked.keep };
    let outcomes = proof::prove(&place, &plan, |told| match told {
        Told::Round(scenario, round) => tell(scenario, round),
        Told::Outcome(outcome) => {
            if let Ended::Failed(why) = &outcome.ended {
                eprintln!("{}: {why}", outcome.scenario);
            }
            if let Some(Err(error)) = sheet.as_mut().map(|sheet| add(sheet, outcome)) {
                eprintln!("warning: {error:#}");
            }
        }
    })?;
    match asked.output {
        super::Output::Text => print!("{}", Table(&outcomes)),
        super::Output::Json => println!("{}", serde_json::to_string_pretty(&outcomes)?),
    }
    let broken = outcomes.iter().filter(|outcome| outcome.is_broken()).count();
    if broken > 0 {
        bail!("{broken} of {} promises are broken", outcomes.len());
    }
    Ok(())
}

fn tell(scenario: Scenario, round: &Round) {
    let seconds = round.seconds.map_or_else(|| "-".to_owned(), |it| format!("{it:.2} s"));
    let Round { acknowledged, unknown, failed, lost, .. } = round;
    eprintln!(
        "{scenario}: {seconds}, {lost} lost of {acknowledged}, {unknown} in doubt, {failed} failed"
    );
    for line in &round.broken {
        eprintln!("  broken: {line}");
    }
    for line in &round.notes {
        eprintln!("  {line}");
    }
}

fn add(sheet: &mut File, outcome: &Outcome) -> Result<()> {
    let line = format!("{}\n", serde_json::to_string(outcome)?);
    sheet.write_all(line.as_bytes()).context("adding to the sheet")
}
