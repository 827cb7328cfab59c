//! Measures how long PostgreSQL waits for each file of its log until it is archived, or until it is told so.
//!
//! Never asks for two at once: PostgreSQL does not either.

use super::cost::{Cost, Meter};
use crate::wait;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const UP_WITHIN: Duration = Duration::from_mins(1);
const AHEAD_WITHIN: Duration = Duration::from_mins(5);

/// A data folder with nothing in it but log that is to be archived.
pub(super) struct Waiting {
    pub(super) data: PathBuf,
    names: Vec<String>,
}

/// What it took.
pub(super) struct Archived {
    pub(super) cost: Cost,
    /// How long each file took.
    pub(super) waits: Vec<Duration>,
}

impl Waiting {
    pub(super) fn prepare(root: &Path, cluster: &Path, segments: &[PathBuf]) -> Result<Self> {
        let data = root.join("waiting");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let status = data.join("pg_wal/archive_status");
        fs::create_dir_all(&status)?;
        fs::create_dir(data.join("global"))?;
        for file in ["global/pg_control", "PG_VERSION"] {
            fs::copy(cluster.join(file), data.join(file)).with_context(|| file.to_owned())?;
        }
        let mut names = Vec::new();
        for segment in segments {
            let name = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fs::hard_link(segment, data.join("pg_wal").join(&name))?;
            fs::write(status.join(format!("{name}.ready")), "")?;
            names.push(name);
        }
        Ok(Self { data, names })
    }

    /// All of them, one after the other.
    pub(super) fn archive(
        &self,
        mut meter: Meter,
        command: impl Fn(&str) -> Command,
        end: impl FnOnce() -> Result<()>,
    ) -> Result<Archived> {
        let waits = self.ask(&mut meter, &self.names, command)?;
        end()?;
        Ok(Archived { cost: meter.end()?, waits })
    }

    /// The first, which has the others stored ahead, and once these are `stored` all of them: how
    /// long it takes to be told so. What storing costs is part of the processor time.
    pub(super) fn answers(
        &self,
        mut meter: Meter,
        command: impl Fn(&str) -> Command,
        stored: impl Fn() -> Result<usize>,
        end: impl FnOnce() -> Result<()>,
    ) -> Result<Archived> {
        let (first, rest) = self.names.split_at(1.min(self.names.len()));
        self.ask(&mut meter, first, &command)?;
        wait::until("what is stored ahead", AHEAD_WITHIN, || Ok(stored()? == self.names.len()))?;
        let waits = self.ask(&mut meter, rest, command)?;
        end()?;
        let wall = waits.iter().sum();
        Ok(Archived { cost: Cost { wall, ..meter.end()? }, waits })
    }

    fn ask(
        &self,
        meter: &mut Meter,
        names: &[String],
        command: impl Fn(&str) -> Command,
    ) -> Result<Vec<Duration>> {
        let status = self.data.join("pg_wal/archive_status");
        let mut waits = Vec::new();
        for name in names {
            let took = meter.run(command(name)).with_context(|| format!("archiving {name}"))?;
            waits.push(took);
            let (ready, done) = (format!("{name}.ready"), format!("{name}.done"));
            fs::rename(status.join(ready), status.join(done))?;
        }
        Ok(waits)
    }
}

/// How many segments lie below a folder, whatever they are packed with.
pub(super) fn segments_below(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            count += segments_below(&path)?;
            continue;
        }
        // pgBackRest adds a sum to the name; what is only being written is called otherwise.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_segment = name.len() >= 24 && name.bytes().take(24).all(|it| it.is_ascii_hexdigit());
        count += usize::from(is_segment && !name.contains('#') && !name.ends_with(".tmp"));
    }
    Ok(count)
}

/// What an agent does for PostgreSQL's commands, in a process of its own. It ends with this.
pub(super) struct Agent(Child);

impl Agent {
    pub(super) fn start(mut command: Command, socket: &Path) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().context("starting our agent")?;
        let mut agent = Self(child);
        wait::until("our agent's socket", UP_WITHIN, || match agent.0.try_wait()? {
            Some(status) => bail!("it ended at once: {status}"),
            None => Ok(socket.exists()),
        })?;
        Ok(agent)
    }

    pub(super) fn end(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Who was ended is reaped already, and then neither finds anybody.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}
