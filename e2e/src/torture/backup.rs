//! Kills who has to do with backups while log is archived, a backup is taken, or one is restored.
//!
//! Never excuses log that PostgreSQL was told is archived and that is not, nor a backup that is
//! listed and cannot be restored.

mod herd;
mod plan;
mod report;

use crate::object_store::ObjectStore;
use crate::rig::Site;
use crate::seed::Seeded;
use crate::wait;
use anyhow::{Context, Result, bail};
use herd::{Herd, Running, SOURCE};
use pgherd_local::ledger::{Ledger, Settings};
use plan::{Doing, Planned, Victim};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

pub use report::{Report, Told};

const WRITES_WITHIN: Duration = Duration::from_mins(2);
const VERIFIED_WITHIN: Duration = Duration::from_mins(5);
const CALM_WITHIN: Duration = Duration::from_mins(5);
const VICTIM_WITHIN: Duration = Duration::from_mins(1);
const ENDED_WITHIN: Duration = Duration::from_mins(15);
/// Backups that stay when others are removed, which is done this often.
const KEPT: &str = "3";
const ROUNDS_PER_EXPIRY: usize = 10;

/// A dozen segments, one after the other.
const SWITCHES: &str = "do $$ begin for i in 1..12 loop \
    perform txid_current(); commit; perform pg_switch_wal(); perform pg_sleep(0.2); end loop; end $$";

/// What shall be done.
#[derive(Debug, Clone)]
pub struct Asked {
    pub rounds: usize,
    /// No round begins later than this after the start.
    pub within: Option<Duration>,
    pub seed: u64,
    pub site: Site,
}

/// Does it; `tell` hears of each round when it is over.
pub fn run(asked: &Asked, runtime: &Handle, mut tell: impl FnMut(&Told)) -> Result<Report> {
    let began = Instant::now();
    let store = ObjectStore::start()?;
    let herd = Herd::start(&asked.site, &store)?;
    let outside = tempfile::tempdir()?;
    let settings = Settings::new(herd.address()?, outside.path().join("book"));
    let ledger = runtime.block_on(Ledger::start(settings, WRITES_WITHIN))?;
    let mut siege = Siege { herd, store, ledger, runtime, archived: BTreeSet::new() };
    let mut report = Report::begin(asked.seed);
    // Something has to be there that can be restored.
    siege.herd.succeed(&["backup", "--immediate-checkpoint", "--name", SOURCE])?;
    for (number, planned) in (1..).zip(plan::plan(asked.seed, asked.rounds)) {
        if asked.within.is_some_and(|within| began.elapsed() >= within) {
            break;
        }
        let round = Instant::now();
        let done = siege.round(number, planned, asked.seed);
        let told = Told::new(number, planned, round.elapsed(), done);
        tell(&told);
        let is_broken = told.problem.is_some();
        report.add(told);
        if is_broken {
            break;
        }
    }
    wait::go_on()?;
    report.restores = siege.herd.restores();
    report.segments = siege.archived.len();
    let Siege { ledger, herd, store, .. } = siege;
    let judged = runtime.block_on(async { ledger.stop().await?.verify(VERIFIED_WITHIN).await });
    match judged {
        Ok(findings) => report.judge(&findings),
        Err(error) => report.problems.push(format!("not verified: {error}")),
    }
    if !report.problems.is_empty() {
        report.logs = Some(herd.keep(asked.seed)?);
    }
    drop((herd, store));
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

struct Siege<'a> {
    herd: Herd,
    store: ObjectStore,
    ledger: Ledger,
    runtime: &'a Handle,
    /// Log that PostgreSQL was told is archived.
    archived: BTreeSet<String>,
}

impl Siege<'_> {
    /// Says what became of what was going on.
    fn round(&mut self, number: usize, planned: Planned, seed: u64) -> Result<String> {
        let mut seeded = Seeded::new(seed ^ (number as u64) << 32);
        let mut going_on = self.begin(planned.doing)?;
        self.strike(planned, &mut going_on, &mut seeded)?;
        let ended = going_on.end(ENDED_WITHIN, || self.note_archived())?;
        if planned.doing == Doing::Restore {
            self.herd.remove_copy()?;
        }
        self.calm().context("it does not come back to order")?;
        self.judge(number)?;
        if planned.doing == Doing::Restore {
            self.restore(&mut seeded)?;
        }
        Ok(if ended.succeeded { "succeeded".to_owned() } else { ended.last_line() })
    }

    fn begin(&self, doing: Doing) -> Result<Running> {
        Running::begin(match doing {
            Doing::Archive => self.herd.sql(SOURCE, SWITCHES),
            Doing::Backup => {
                self.herd.command(&["backup", "--immediate-checkpoint", "--name", SOURCE])
            }
            Doing::Restore => {
                let copy = self.herd.copy();
                let words = ["restore", SOURCE, "--as", &copy, "--latest", "--instances", "1"];
                self.herd.command(&words)
            }
        })
    }

    /// At a moment that nobody chose, and for the store some time without it.
    fn strike(&mut self, planned: Planned, on: &mut Running, seeded: &mut Seeded) -> Result<()> {
        let until = Instant::now() + planned.after;
        while Instant::now() < until && on.is_running()? {
            self.note_archived()?;
            wait::pass(Duration::from_millis(20))?;
        }
        let whose = match planned.doing {
            Doing::Restore => self.herd.copy(),
            Doing::Archive | Doing::Backup => SOURCE.to_owned(),
        };
        let part = match planned.victim {
            Victim::Store => {
                self.store.kill()?;
                let away = seeded.between(Duration::from_millis(50), Duration::from_secs(4));
                wait::pass(away)?;
                return self.store.resume();
            }
            Victim::Agent => "--agent",
            Victim::Postgres => "--postgres",
        };
        let instance = format!("{whose}-1");
        // It may not be there yet, or any more.
        wait::until("somebody to kill", VICTIM_WITHIN, || {
            let killed = self.herd.run(&["kill", &instance, part, "--name", &whose])?;
            Ok(killed.succeeded || !on.is_running()?)
        })
    }

    /// Everybody is there again, writes flow, and nothing waits to be archived.
    fn calm(&mut self) -> Result<()> {
        let began = Instant::now();
        let settled = self.ledger.settle(began, Duration::from_secs(1), CALM_WITHIN);
        self.runtime.block_on(settled)?;
        let mut status = Value::Null;
        let calm = wait::find_seldom("all log in the archive", CALM_WITHIN, || {
            self.note_archived()?;
            status = self.herd.json(&["status"])?;
            let failing = status.pointer("/archive/failing");
            let waiting = status.pointer("/archive/waiting").and_then(Value::as_u64);
            let is_well = failing.is_none_or(Value::is_null) && waiting == Some(0);
            Ok(is_well.then_some(()))
        });
        calm.with_context(|| format!("status says {:?}", status.get("archive")))
    }

    /// Everything that was promised is in the store.
    fn judge(&mut self, number: usize) -> Result<()> {
        let stored = Herd::stored(&self.store);
        let lost: Vec<&String> = self.archived.difference(&stored).collect();
        if !lost.is_empty() && number < ROUNDS_PER_EXPIRY {
            bail!("PostgreSQL was told that these are archived, and they are not: {lost:?}");
        }
        let window = self.herd.json(&["window"])?;
        for wrong in ["gaps", "unusable"] {
            let all = window.get(wrong).and_then(Value::as_array);
            if all.is_none_or(|all| !all.is_empty()) {
                bail!("the repository has {wrong}: {window}");
            }
        }
        let verified = self.herd.run(&["backup", "verify", "latest", "--name", SOURCE])?;
        if !verified.succeeded {
            bail!("the last backup is listed and damaged: {}", verified.last_line());
        }
        if number.is_multiple_of(ROUNDS_PER_EXPIRY) {
            self.herd.succeed(&["backup", "expire", "--policy", KEPT, "--name", SOURCE])?;
            // What only they needed is gone, as it should be.
            self.archived.clear();
        }
        Ok(())
    }

    /// From any backup that is listed, to where the log ends: all rows of before are there.
    fn restore(&mut self, seeded: &mut Seeded) -> Result<()> {
        let listed = self.herd.json(&["backup", "list"])?;
        let listed = listed.as_array().context("the list of backups is none")?;
        let chosen = seeded.below(listed.len() as u64);
        let chosen = usize::try_from(chosen).ok().and_then(|at| listed.get(at));
        let id = chosen.and_then(|one| one.get("id")?.as_str()).context("no backup is listed")?;
        let acknowledged = self.ledger.counts().acknowledged;
        let rows = self.herd.rows_restored(id)?;
        if rows < acknowledged {
            bail!("restored from {id} there are {rows} rows, and {acknowledged} were acknowledged");
        }
        self.herd.remove_copy()
    }

    fn note_archived(&mut self) -> Result<()> {
        self.archived.extend(self.herd.archived()?);
        Ok(())
    }
}
