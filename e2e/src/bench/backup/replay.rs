//! PostgreSQL recovers the same segments from the same folder, and each time somebody else fetches them.
//!
//! Never counts what comes before the second segment: the start of a server, and the first look at
//! an archive.

mod watch;

use super::engine::{self, Asked, Deed, Packing};
use super::log::{Agent, Waiting};
use super::peers::{BackRest, Barman};
use super::subject::{AUTO, DURABLE, names};
use super::{Act, Bench, Figure, PROVED_WITHIN, Peer, SEGMENT, Wait, Who, remove};
use crate::object_store::ObjectStore;
use crate::rig::pgherd;
use crate::run;
use anyhow::{Context, Result};
use pgherd_agent::postgres::control;
use pgherd_core::units::Lsn;
use pgherd_core::wal::{Segment, SegmentSize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Of which all but the first two ends are measured.
const SEGMENTS: usize = 40;
/// barman-cloud takes a second for each.
const FOR_BARMAN: usize = 10;
const LOG: &str = "log-to-replay";

/// What is replayed from where.
struct Scene {
    /// The cluster before it wrote the log, without any.
    before: PathBuf,
    log: PathBuf,
    segments: Vec<PathBuf>,
}

/// Who fetches.
struct Fetching<'a> {
    kind: &'a str,
    who: Who,
    /// As PostgreSQL's settings have it.
    command: &'a str,
    /// What answers that.
    agent: Option<Asked>,
    segments: &'a [PathBuf],
    stored: &'a Path,
}

impl<Tell: FnMut(Figure)> Bench<Tell> {
    pub(super) fn replay(&mut self) -> Result<()> {
        if !self.figures.want(&[Act::Replay]) {
            return Ok(());
        }
        let before = self.subject.root().join("before");
        let data = self.subject.data();
        self.copy_without_log(&data, &before)?;
        // What is finished and was not archived yet comes first; recovery begins behind it.
        let redo = control::read_file(&data)?.checkpoint.redo;
        let earlier = names(&data.join("pg_wal"))?.len();
        let mut segments = self.subject.write_log(LOG, SEGMENTS + earlier)?;
        segments.retain(|path| ends(path).is_some_and(|end| end > redo));
        segments.truncate(SEGMENTS);
        let scene = Scene { before, log: self.subject.root().join(LOG), segments };
        let folder = format!("{}, folder", Packing::Zstd.word());
        self.replay_for_free(&scene, &folder)?;
        self.replay_ours_from_a_folder(&scene, &folder)?;
        self.replay_backrest(&scene, &folder)?;
        self.replay_from_s3(&scene)?;
        remove(&scene.before)
    }

    /// A segment that is there already, and one that is only copied.
    fn replay_for_free(&mut self, scene: &Scene, kind: &str) -> Result<()> {
        for (who, program) in [(Who::Floor, "ln"), (Who::Copy, "cp")] {
            let command = &format!("{program} {}/%f %p", scene.log.display());
            let (segments, stored) = (&scene.segments[..], scene.log.as_path());
            let fetching = Fetching { kind, who, command, agent: None, segments, stored };
            self.replay_with(scene, &fetching)?;
        }
        Ok(())
    }

    fn replay_ours_from_a_folder(&mut self, scene: &Scene, kind: &str) -> Result<()> {
        let repository = self.subject.root().join("ours-to-replay");
        fs::create_dir(&repository)?;
        let asked = |deed| Asked::folder(deed, &self.replaying(), &repository, Packing::Zstd);
        self.archive_ours(asked(Deed::Archive), &self.written(scene)?)?;
        self.subject.give_all_away(&repository)?;
        let agent = asked(Deed::Feed);
        self.replay_ours(scene, kind, (agent, &repository))?;
        remove(&repository)
    }

    fn replay_ours(
        &mut self,
        scene: &Scene,
        kind: &str,
        (agent, stored): (Asked, &Path),
    ) -> Result<()> {
        let (program, socket) = (pgherd::program()?, engine::socket(&agent.data));
        let (program, socket) = (program.display(), socket.display());
        let command = &format!("{program} wal-recover --socket {socket} %f %p");
        let (who, agent, segments) = (Who::Pgherd, Some(agent), &scene.segments[..]);
        self.replay_with(scene, &Fetching { kind, who, command, agent, segments, stored })
    }

    fn replay_backrest(&mut self, scene: &Scene, kind: &str) -> Result<()> {
        if !self.figures.beside(Peer::PgBackRest) {
            return Ok(());
        }
        let rest = BackRest::prepare(self.subject.root(), &self.subject.data(), Packing::Zstd)?;
        let waiting = self.written(scene)?;
        waiting.archive(self.meter()?, |name| rest.archive(&waiting.data, name), || Ok(()))?;
        self.subject.give_all_away(rest.root())?;
        let command = &rest.restore_command(&self.replaying());
        let (who, segments, stored) =
            (Who::PgBackRest, &scene.segments[..], rest.repository.as_path());
        let fetching = Fetching { kind, who, command, agent: None, segments, stored };
        self.replay_with(scene, &fetching)?;
        remove(rest.root())
    }

    /// What we store in barman's layout, barman-cloud fetches, too.
    fn replay_from_s3(&mut self, scene: &Scene) -> Result<()> {
        let packing = Packing::Plain;
        let kind = format!("{}, s3", packing.word());
        let asked = |deed, store: &ObjectStore| {
            Asked::s3(deed, &self.subject.root().join("replaying"), store, packing)
        };
        let (archive, agent) = (asked(Deed::Archive, &self.store), asked(Deed::Feed, &self.store));
        self.archive_ours(archive, &self.written(scene)?)?;
        let stored = self.store.files(&format!("ours-{}", packing.word()));
        let place = agent.repository.clone();
        self.replay_ours(scene, &kind, (agent, &stored))?;
        if !self.figures.beside(Peer::BarmanCloud) {
            return remove(&stored);
        }
        let barman = Barman { store: &self.store, packing };
        let command = &barman.restore_command(&place, engine::SERVER);
        let (who, kind, stored) = (Who::BarmanCloud, kind.as_str(), stored.as_path());
        let segments = scene.segments.get(..FOR_BARMAN).unwrap_or(&scene.segments);
        let fetching = Fetching { kind, who, command, agent: None, segments, stored };
        self.replay_with(scene, &fetching)?;
        remove(stored)
    }

    fn replay_with(&mut self, scene: &Scene, fetching: &Fetching<'_>) -> Result<()> {
        let (data, said) = (self.replaying(), self.subject.root().join("said-while-replaying"));
        self.copy_without_log(&scene.before, &data)?;
        let last = fetching.segments.last().context("there is no log to replay")?;
        fs::write(data.join(AUTO), settings(fetching.command, last)?)?;
        fs::write(data.join("recovery.signal"), "")?;
        self.subject.give_all_away(&data)?;
        let before = self.store_time()?;
        let mut meter = self.meter()?;
        let agent = fetching.agent.as_ref().map(|asked| {
            let mut command = asked.command()?;
            self.subject.put_in_place(&mut command);
            Agent::start(command, &engine::socket(&data))
        });
        let agent = agent.transpose()?;
        let mut server = Command::new("sh");
        self.subject.put_in_place(&mut server);
        ObjectStore::open_for(&mut server);
        let script = "exec \"$0\" -D \"$1\" -k \"$2\" 2> \"$3\"";
        server.args(["-c", script]).arg(self.subject.bindir().join("postgres")).arg(&data);
        server.arg(self.subject.root()).arg(&said);
        let replayed = meter.run(server);
        agent.map_or(Ok(()), Agent::end)?;
        let text = fs::read_to_string(&said).unwrap_or_default();
        let who = fetching.who;
        let told = || format!("replaying for {who}: {}", watch::end_of(&text));
        replayed.with_context(told)?;
        let cost = meter.end()?;
        let store = self.store_time()?.saturating_sub(before);
        let waits = watch::between_segments(&text, fetching.segments.len()).with_context(told)?;
        let figure = Figure::of((Act::Replay, fetching.kind, who), cost, store);
        self.figures.add(Figure {
            seconds: waits.iter().sum::<Duration>().as_secs_f64(),
            bytes: waits.len() as u64 * SEGMENT,
            stored: super::size(fetching.stored)?,
            wait: Wait::of(waits),
            ..figure
        });
        fs::remove_file(said)?;
        remove(&data)
    }

    /// All of the log that is replayed, about to be archived.
    fn written(&self, scene: &Scene) -> Result<Waiting> {
        Waiting::prepare(self.subject.root(), &self.subject.data(), &scene.segments)
    }

    fn replaying(&self) -> PathBuf {
        self.subject.root().join("replaying")
    }

    fn copy_without_log(&self, from: &Path, to: &Path) -> Result<()> {
        remove(to)?;
        fs::create_dir(to)?;
        let script = "tar -C \"$0\" --exclude='./pg_wal/*' -c . | tar -C \"$1\" -xp";
        run::succeed(self.shell(script, &[from, to]), PROVED_WITHIN).map(drop)
    }
}

/// Where that segment ends.
fn ends(segment: &Path) -> Option<Lsn> {
    let segment = Segment::parse(segment.file_name()?.to_str()?).ok()?;
    Some(Lsn(segment.start(SegmentSize::DEFAULT).0 + SEGMENT))
}

/// It stops at the first record of the last segment, and ends by itself then.
fn settings(command: &str, last: &Path) -> Result<String> {
    let name = last.file_name().unwrap_or_default().to_string_lossy();
    let target = Segment::parse(&name)?.start(SegmentSize::DEFAULT);
    Ok(format!(
        "{DURABLE}{}restore_command = '{command}'\nrecovery_target_lsn = '{target}'\n\
         recovery_target_action = 'shutdown'\n",
        watch::SETTINGS
    ))
}
