//! Clients write, and somebody stores the log meanwhile: how long after it was flushed, and what that
//! costs the clients.
//!
//! Never measures two clusters at once; each begins with the same tables in a new one.

use super::engine::Packing;
use super::figure::Figures;
use super::lag::{Looks, Shelf, Watcher};
use super::peers::BackRest;
use super::primary::{Goes, NAME, PREFIX, Primary, Stream, give_away};
use super::{Act, Figure, Peer, Plan, Wait, Who, cost, size};
use crate::object_store::ObjectStore;
use crate::rig::Site;
use crate::wait;
use anyhow::{Context, Result};
use pgherd_core::wal::{Segment, SegmentSize};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PACKING: Packing = Packing::Zstd;
/// Transactions a second, when little is written.
const FEW: u32 = 50;
const HELD_WITHIN: Duration = Duration::from_mins(2);

/// A cluster, and where its log is found.
struct Scene<'a> {
    primary: Primary,
    who: Who,
    place: &'a str,
    store: Option<&'a ObjectStore>,
    /// What is stored.
    files: PathBuf,
    /// Whether what is in no finished segment is stored.
    stream: Stream,
    finds: Finds,
}

enum Finds {
    Nothing,
    Ours(PathBuf),
    BackRest(BackRest),
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Full,
    Little,
}

pub(super) fn measure(plan: &Plan, figures: &mut Figures<impl FnMut(Figure)>) -> Result<()> {
    let folder = plan.site.folder("pgherd-stored-")?;
    let place = "folder";
    for (who, stream) in [(Who::Pgherd, Stream::On), (Who::PgherdUnstreamed, Stream::Off)] {
        let files = new_folder(folder.path(), &format!("ours-{stream:?}"))?;
        let primary = Primary::start(&plan.site, Goes::ToFolder(&files, stream), PACKING)?;
        let finds = Finds::Ours(files.clone());
        let scene = Scene { primary, who, place, store: None, files, stream, finds };
        scene.play(plan.writing, figures)?;
    }
    if figures.beside(Peer::PgBackRest) {
        scene_of_backrest(&plan.site, folder.path())?.play(plan.writing, figures)?;
    }
    let primary = Primary::start(&plan.site, Goes::Nowhere, PACKING)?;
    let (who, files) = (Who::Floor, folder.path().join("nothing"));
    let (store, stream, finds) = (None, Stream::Off, Finds::Nothing);
    Scene { primary, who, place, store, files, stream, finds }.play(plan.writing, figures)?;

    let store = ObjectStore::start()?;
    let place = "s3";
    for (who, stream) in [(Who::Pgherd, Stream::On), (Who::PgherdUnstreamed, Stream::Off)] {
        let files = store.files(PREFIX);
        super::remove(&files)?;
        let primary = Primary::start(&plan.site, Goes::ToBucket(&store, stream), PACKING)?;
        let finds = Finds::Ours(files.clone());
        let scene = Scene { primary, who, place, store: Some(&store), files, stream, finds };
        scene.play(plan.writing, figures)?;
    }
    Ok(())
}

fn scene_of_backrest(site: &Site, folder: &Path) -> Result<Scene<'static>> {
    let mut primary = Primary::start(site, Goes::Nowhere, PACKING)?;
    let rest = BackRest::prepare(folder, &primary.data(), PACKING)?;
    give_away(rest.root())?;
    primary.hand_over(&rest)?;
    let (who, place, store) = (Who::PgBackRest, "folder", None);
    let (files, stream) = (rest.segments(), Stream::Off);
    Ok(Scene { primary, who, place, store, files, stream, finds: Finds::BackRest(rest) })
}

impl Scene<'_> {
    fn play(self, lasts: Duration, figures: &mut Figures<impl FnMut(Figure)>) -> Result<()> {
        let mut shelf = self.settled()?;
        for load in [Load::Full, Load::Little] {
            shelf = self
                .measure(load, lasts, shelf, figures)
                .with_context(|| format!("{}, {}, {}", self.who, self.place, load.word()))?;
        }
        Ok(())
    }

    /// Waits until all log is stored that came of making the tables.
    fn settled(&self) -> Result<Option<Shelf>> {
        let segment = self.primary.finish_segment()?;
        let mut shelf = match &self.finds {
            Finds::Nothing => None,
            Finds::Ours(folder) => Some(Shelf::ours(folder, NAME, segment)?),
            Finds::BackRest(rest) => Some(Shelf::backrest(rest.segments(), segment)),
        };
        wait_for(segment, shelf.as_mut())?;
        self.primary.ask("checkpoint")?;
        Ok(shelf)
    }

    fn measure(
        &self,
        load: Load,
        lasts: Duration,
        shelf: Option<Shelf>,
        figures: &mut Figures<impl FnMut(Figure)>,
    ) -> Result<Option<Shelf>> {
        let lasts = load.lasts(lasts);
        rustix::fs::sync();
        let store_before = self.store_time()?;
        let watcher = Watcher::start(self.primary.psql(), shelf)?;
        let before = cost::machine()?;
        let rate = self.primary.write(lasts, load.rate())?;
        let processor = cost::machine()?.saturating_sub(before);
        watcher.written();
        if self.stream == Stream::Off {
            // Else the rest of a segment would be told as missing for minutes.
            self.primary.finish_segment()?;
        }
        let looks = watcher.finish()?;
        let store = self.store_time()?.saturating_sub(store_before);
        let figure = Figure {
            act: Act::Write,
            kind: format!("{}, {}, {}", PACKING.word(), self.place, load.word()),
            who: self.who,
            seconds: lasts.as_secs_f64(),
            processor_seconds: processor.as_secs_f64(),
            store_seconds: store.as_secs_f64(),
            memory: None,
            bytes: looks.bytes(),
            stored: size(&self.files)?,
            wait: None,
            transactions_per_second: Some(rate),
        };
        Self::tell(figure, &looks, figures)?;
        Ok(looks.shelf)
    }

    fn tell(
        figure: Figure,
        looks: &Looks,
        figures: &mut Figures<impl FnMut(Figure)>,
    ) -> Result<()> {
        if figures.want(&[Act::Write]) {
            figures.add(figure.clone());
        }
        if figures.want(&[Act::Lag]) && looks.shelf.is_some() {
            figures.add(Figure { act: Act::Lag, wait: Wait::of(looks.lags()?), ..figure });
        }
        Ok(())
    }

    fn store_time(&self) -> Result<Duration> {
        let process = self.store.and_then(ObjectStore::process);
        process.map_or(Ok(Duration::ZERO), cost::processor)
    }
}

impl Load {
    fn word(self) -> String {
        match self {
            Self::Full => "full".to_owned(),
            Self::Little => format!("{FEW}/s"),
        }
    }

    fn rate(self) -> Option<u32> {
        match self {
            Self::Full => None,
            Self::Little => Some(FEW),
        }
    }

    fn lasts(self, full: Duration) -> Duration {
        match self {
            Self::Full => full,
            Self::Little => full * 2 / 3,
        }
    }
}

fn wait_for(segment: Segment, shelf: Option<&mut Shelf>) -> Result<()> {
    let Some(shelf) = shelf else { return Ok(()) };
    let end = segment.end(SegmentSize::DEFAULT);
    wait::until("the log of new tables in the store", HELD_WITHIN, || Ok(shelf.stored()? >= end))
}

/// Where PostgreSQL's user may write.
fn new_folder(root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join(name.to_lowercase());
    std::fs::create_dir(&folder)?;
    give_away(&folder)?;
    Ok(folder)
}
