//! A newer operator is installed while a client writes, and gives the agents its program.
//!
//! Never takes the operator's word for it: what runs in the pods is asked there.

use super::changes::expect;
use super::cluster::{HEALED_WITHIN, Operator};
use super::figures::Round;
use super::stage::Stage;
use crate::{run, wait};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MADE_WITHIN: Duration = Duration::from_secs(30);
/// Agents are given the program one at a time, and not before the new operators have settled.
const GIVEN_WITHIN: Duration = Duration::from_mins(4);
const PROGRAM: &str = "sha256sum < /proc/1/exe";
const POSTMASTER: &str = "head -1 $PGDATA/postmaster.pid; cat /proc/1/stat | cut -d ' ' -f 22";

impl Stage<'_> {
    /// What is installed differs from what was there by a note that nobody reads.
    pub(super) fn upgraded(&self) -> Result<Round> {
        let cast = self.cast()?;
        let (testbed, product) = (self.place().testbed()?, self.place().product()?);
        let folder = tempfile::tempdir()?;
        let other = folder.path().join("pgherd");
        annotate(product, &other)?;
        let pods = self.cluster.identities("pods")?;
        let (before, servers) = (self.each(&pods, PROGRAM)?, self.each(&pods, POSTMASTER)?);
        let began = Instant::now();
        let mut took = Duration::ZERO;
        let mut round = self.round(
            &cast,
            |_| {
                testbed.deploy(&other, self.place().own())?;
                let installed = began.elapsed();
                self.wait_programs(&before, "the newer")?;
                took = began.elapsed().saturating_sub(installed);
                self.cluster.wait_whole(Operator::Present, HEALED_WITHIN)
            },
            || Ok(()),
        )?;
        expect(&mut round, "pods", &pods, &self.cluster.identities("pods")?);
        expect(&mut round, "processes", &servers, &self.each(&pods, POSTMASTER)?);
        let seconds = took.as_secs_f64();
        round.notes.push(format!("all agents had the program {seconds:.0} s after the operators"));
        let newer = self.each(&pods, PROGRAM)?;
        testbed.deploy(product, self.place().own())?;
        self.wait_programs(&newer, "the first")?;
        self.cluster.wait_whole(Operator::Present, HEALED_WITHIN)?;
        Ok(round)
    }

    fn wait_programs(&self, before: &BTreeMap<String, String>, which: &str) -> Result<()> {
        let what = format!("all agents to run {which} program");
        wait::find_seldom(&what, GIVEN_WITHIN, || {
            let now = self.each(before, PROGRAM)?;
            Ok(now.iter().all(|(pod, program)| before.get(pod) != Some(program)).then_some(()))
        })
        .map_err(|error| error.context(self.cluster.told()))
    }
}

/// The same program with a section of its own.
fn annotate(program: &Path, other: &Path) -> Result<()> {
    let note = other.with_extension("note");
    std::fs::write(&note, b"another one")?;
    let mut section = std::ffi::OsString::from(".pgherd.again=");
    section.push(&note);
    let mut copy = Command::new("objcopy");
    copy.arg("--add-section").arg(section).arg(program).arg(other);
    run::succeed(copy, MADE_WITHIN).map(drop)
}
