//! `pgherd local logs`: what the supervisor, the agents and PostgreSQL said, in one stream.
//!
//! Never reads a whole log to show its end.

use super::super::logs::{readable, stopped_watching};
use super::output::{Output, say};
use super::place::Place;
use jiff::Timestamp;
use pgherd_core::names::InstanceName;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::registration::Registration;
use pgherd_local::{client, wishes};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

/// Enough for the lines people ask for; longer ones lose their beginning.
const TAIL_BYTES: u64 = 1 << 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Show what the supervisor, the agents and PostgreSQL said
#[derive(clap::Args)]
#[command(after_help = "\
One line a record: when, which instance, how grave, who said it, and what. With -o json lines stay as
they are.

Examples:
  pgherd local logs
  pgherd local logs 1 --follow
  pgherd local logs --tail 1000")]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only this instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
    /// Go on as more is said
    #[arg(long, short)]
    follow: bool,
    /// How many of the last lines
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: usize,
}

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (instance, follow, tail) = (self.instance.clone(), self.follow, self.tail);
        let output = self.place.output();
        let ended = self.place.inside(|folder| async move {
            let registration = client::registered(&folder)?;
            let mut sources = sources(&folder, &registration, instance.as_deref())?;
            let mut lines: Vec<Said> =
                sources.iter_mut().flat_map(|source| source.more(TAIL_BYTES)).collect();
            // Stable: lines of one source stay in their order.
            lines.sort_by_key(|line| line.at);
            let first = lines.len().saturating_sub(tail);
            tell(lines.get(first..).unwrap_or_default(), output);
            if follow { go_on(&mut sources, output).await } else { Ok(()) }
        });
        ended.map_err(stopped_watching)
    }
}

async fn go_on(sources: &mut [Source], output: Output) -> Result<(), Failure> {
    loop {
        sleep(BETWEEN_LOOKS).await;
        let mut lines: Vec<Said> =
            sources.iter_mut().flat_map(|source| source.more(u64::MAX)).collect();
        lines.sort_by_key(|line| line.at);
        tell(&lines, output);
    }
}

/// As text, or as one JSON document a line.
fn tell(lines: &[Said], output: Output) {
    for Said { source, at, text } in lines {
        match output {
            Output::Text => say(&readable(source, text)),
            Output::Json => {
                let document = serde_json::json!({ "source": source, "at": at, "line": text });
                say(&document.to_string());
            }
        }
    }
}

/// A file that somebody writes lines to.
struct Source {
    label: String,
    path: PathBuf,
    read: Option<u64>,
    last: Option<Timestamp>,
}

struct Said {
    source: String,
    /// When it, or the last line before it that says when, was said.
    at: Option<Timestamp>,
    text: String,
}

impl Source {
    fn of(label: &str, path: PathBuf) -> Self {
        Self { label: label.to_owned(), path, read: None, last: None }
    }

    /// The whole lines that came since the last look, or at the first one the last `bytes`.
    fn more(&mut self, bytes: u64) -> Vec<Said> {
        let Ok((text, begin)) = tail(&self.path, self.read, bytes) else { return Vec::new() };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read = Some(begin + whole as u64);
        let lines = text.get(..whole).unwrap_or_default().lines();
        let said = |line: &str| {
            self.last = when(line).or(self.last);
            Said { source: self.label.clone(), at: self.last, text: line.to_owned() }
        };
        lines.map(said).collect()
    }
}

fn tail(path: &Path, read: Option<u64>, bytes: u64) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // A file that is shorter than what was read of it has been begun anew.
    let begin = match read {
        Some(read) if read <= length => read,
        Some(_) => 0,
        None => length.saturating_sub(bytes),
    };
    file.seek(SeekFrom::Start(begin))?;
    let mut content = Vec::new();
    file.take(length - begin).read_to_end(&mut content)?;
    Ok((String::from_utf8_lossy(&content).into_owned(), begin))
}

/// When a line was said: agents write JSON with a timestamp, PostgreSQL begins with one.
fn when(line: &str) -> Option<Timestamp> {
    if line.starts_with('{') {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        return line.get("timestamp")?.as_str()?.parse().ok();
    }
    let mut words = line.split_whitespace();
    let (day, time, zone) = (words.next()?, words.next()?, words.next()?);
    let zone = if matches!(zone, "UTC" | "GMT") { "Z" } else { zone };
    format!("{day}T{time}{zone}").parse().ok()
}

fn sources(
    folder: &ClusterFolder,
    registration: &Registration,
    given: Option<&str>,
) -> Result<Vec<Source>, Failure> {
    let cluster = &registration.cluster;
    let instance = given.map(|given| wishes::instance(cluster, given)).transpose()?;
    let mut sources = Vec::new();
    if instance.is_none() {
        sources.push(Source::of("supervisor", folder.log()));
    }
    for serial in 1..=pgherd_core::wishes::MOST_INSTANCES {
        let name = InstanceName::new(cluster, serial);
        let own = folder.instance(&name);
        let is_meant = instance.as_ref().is_none_or(|instance| *instance == name);
        if is_meant && own.root().is_dir() {
            sources.push(Source::of(&name.to_string(), own.log().join("agent.log")));
            sources.push(Source::of(&name.to_string(), own.log().join("agent.stderr")));
            sources.push(Source::of(&name.to_string(), own.root().join("postgres.log")));
        }
    }
    match instance {
        Some(name) if sources.is_empty() => {
            let what = format!("instance {name} not found in cluster {cluster}");
            Err(Failure::new(Kind::NotFound, what).fix("pgherd local status"))
        }
        Some(_) | None => Ok(sources),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_when_they_were_said() {
        let json = when(r#"{"timestamp":"2026-11-22T10:00:00.5Z","message":"x"}"#).unwrap();
        let plain = when("2026-11-22 10:00:00.500 UTC [12] LOG:  ready").unwrap();
        assert_eq!(json, plain);
        for none in ["", "DETAIL: more", "{}", "{", "a b c d"] {
            assert_eq!(when(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_source_gives_whole_lines_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut source = Source::of("db-1", path.clone());
        let mut more = || source.more(64).into_iter().map(|said| said.text).collect::<Vec<_>>();
        assert!(more().is_empty());
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(more(), ["one", "two"]);
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(more(), ["three"]);
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(more(), ["new"]);
        assert!(more().is_empty());
    }
}
