//! The parts of a backup: the data folder, and each tablespace.
//!
//! Never stores the data folder before the tablespaces: what ends a backup is in its archive.

use crate::base::BackupError;
use crate::base::batch::{Content, Text};
use crate::base::manifest::{self, Manifest};
use crate::base::member::Owner;
use crate::base::pipeline::{Archive, Pipeline, Reading, archives_at_once, workers};
use crate::base::planner::Planner;
use crate::base::scan::{Found, FoundFile, Part, Source, scan};
use crate::base::session::{Started, Stopped};
use pgherd_core::units::{Bytes, Moment};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CONTROL: &str = "global/pg_control";
/// Below this a part is not worth more than one archive.
const WORTH_SPLITTING: u64 = 64 << 20;
/// So many folders share a chunk.
const FOLDERS: usize = 1024;

/// What was found before anything is read.
pub(super) struct Parts {
    pub(super) data: Arc<Source>,
    pub(super) owner: Owner,
    pub(super) control: FoundFile,
    pub(super) found: Found,
    pub(super) tablespaces: Vec<(Arc<Source>, Found)>,
    /// Settings that lie elsewhere.
    pub(super) outside: Vec<(Arc<Source>, FoundFile)>,
    pub(super) skipped: Vec<PathBuf>,
}

/// Looks through the data folder and all tablespaces.
pub(super) async fn find(started: &Started) -> Result<Parts, BackupError> {
    let started = started.clone();
    let found = tokio::task::spawn_blocking(move || look(&started)).await;
    found.map_err(|_died| BackupError::WorkerLost(crate::workers::WorkerLost))?
}

fn look(started: &Started) -> Result<Parts, BackupError> {
    let source = |part, root: &Path| Arc::new(Source { part, root: root.into() });
    let data = source(Part::Data, &started.pgdata);
    let mut tablespaces = Vec::new();
    for one in &started.tablespaces {
        let tablespace = source(Part::Tablespace(one.oid), Path::new(&one.location));
        let found = scan(&tablespace)?;
        tablespaces.push((tablespace, found));
    }
    let mut found = scan(&data)?;
    let is_control = |file: &FoundFile| &*file.path == CONTROL;
    let control = found.files.iter().position(is_control).map(|at| found.files.remove(at));
    let control = control.unwrap_or(FoundFile { path: CONTROL.into(), size: 8192 });
    let root = std::fs::metadata(&data.root)
        .map_err(|source| BackupError::Read { path: data.root.to_path_buf(), source })?;
    let owner = Owner { user: root.uid(), group: root.gid() };
    let mut skipped = std::mem::take(&mut found.skipped);
    skipped
        .extend(tablespaces.iter_mut().flat_map(|(_, found)| std::mem::take(&mut found.skipped)));
    let outside = outside(started);
    Ok(Parts { data, owner, control, found, tablespaces, outside, skipped })
}

/// Settings that lie elsewhere: a restore puts them into the data folder.
fn outside(started: &Started) -> Vec<(Arc<Source>, FoundFile)> {
    let files = [&started.config_file, &started.hba_file, &started.ident_file];
    let mut outside = Vec::new();
    for file in files {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { continue };
        let (Some(name), Ok(metadata)) = (name.to_str(), file.metadata()) else { continue };
        if !folder.starts_with(&started.pgdata) && !started.pgdata.join(name).exists() {
            let source = Source { part: Part::Data, root: folder.into() };
            outside.push((Arc::new(source), FoundFile { path: name.into(), size: metadata.len() }));
        }
    }
    outside
}

impl Parts {
    pub(super) fn bytes(&self) -> Bytes {
        let tablespaces: u64 = self.tablespaces.iter().map(|(_, found)| found.bytes()).sum();
        let outside: u64 = self.outside.iter().map(|(_, file)| file.size).sum();
        Bytes(self.found.bytes() + tablespaces + outside + self.control.size)
    }

    /// Stores all files but those that end a backup, and says where these belong.
    pub(super) async fn store(self, pipeline: &mut Pipeline<'_>) -> Result<Last, BackupError> {
        let mut reading = Vec::new();
        for (source, found) in self.tablespaces {
            let mut archives = Archives::new(source.part);
            archives.fill(pipeline, source, found, self.owner).await?;
            reading.extend(archives.end().await?);
        }
        let mut archives = Archives::new(Part::Data);
        archives.fill(pipeline, Arc::clone(&self.data), self.found, self.owner).await?;
        let mut main = archives.get(pipeline, 0);
        reading.extend(archives.end().await?);
        for (source, found) in self.outside {
            pipeline.add(&mut main, vec![Content::File { source, found, known: None }]).await?;
        }
        for one in reading {
            one.wait().await?;
        }
        main.wait().await?;
        Ok(Last { main, owner: self.owner, data: self.data, control: self.control })
    }
}

/// The archives of one part.
struct Archives {
    part: Part,
    open: Vec<Option<Archive>>,
    opened: u32,
    /// Of those that are full.
    reading: Vec<Reading>,
}

impl Archives {
    fn new(part: Part) -> Self {
        Self { part, open: Vec::new(), opened: 0, reading: Vec::new() }
    }

    async fn fill(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        source: Arc<Source>,
        found: Found,
        owner: Owner,
    ) -> Result<(), BackupError> {
        let options = &pipeline.request().options;
        let at_once = match found.bytes() {
            few if few < WORTH_SPLITTING => 1,
            _ => archives_at_once(options, workers(options)),
        };
        self.folders(pipeline, found.folders, owner).await?;
        let mut planner = Planner::new(source, found.files, at_once);
        loop {
            let next = planner.next().map_err(|(path, source)| BackupError::Read {
                path: self.part.within_data(&path).into(),
                source,
            })?;
            let Some(next) = next else { return Ok(()) };
            let mut archive = self.get(pipeline, next.archive);
            pipeline.add(&mut archive, next.contents).await?;
            if next.between_files && archive.is_full() {
                self.reading.push(archive.end().await?);
            } else if let Some(place) = self.open.get_mut(next.archive) {
                *place = Some(archive);
            }
        }
    }

    /// All folders stand in the first archive, which is unpacked first.
    async fn folders(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        folders: Vec<String>,
        owner: Owner,
    ) -> Result<(), BackupError> {
        let mut archive = self.get(pipeline, 0);
        let all: Vec<String> = std::iter::once(String::new()).chain(folders).collect();
        for some in all.chunks(FOLDERS) {
            for path in some {
                pipeline.note_folder(self.part.within_data(path)).await?;
            }
            let member = |path: &String| Content::Folder { path: path.clone(), owner };
            pipeline.add(&mut archive, some.iter().map(member).collect()).await?;
        }
        if let Some(place) = self.open.get_mut(0) {
            *place = Some(archive);
        }
        Ok(())
    }

    /// Takes an archive out of its place, or opens a new one for it.
    fn get(&mut self, pipeline: &mut Pipeline<'_>, place: usize) -> Archive {
        while self.open.len() <= place {
            self.open.push(None);
        }
        let open = self.open.get_mut(place).and_then(Option::take);
        open.unwrap_or_else(|| {
            self.opened += 1;
            pipeline.open(self.part, self.opened - 1)
        })
    }

    /// Ends those that are open; what they are still reading is to be waited for.
    async fn end(&mut self) -> Result<Vec<Reading>, BackupError> {
        let mut reading = std::mem::take(&mut self.reading);
        for archive in self.open.drain(..).flatten() {
            reading.push(archive.end().await?);
        }
        Ok(reading)
    }
}

/// Where the files that end a backup go.
pub(super) struct Last {
    pub(super) main: Archive,
    pub(super) owner: Owner,
    pub(super) data: Arc<Source>,
    pub(super) control: FoundFile,
}

impl Last {
    pub(super) async fn control(&mut self, pipeline: &mut Pipeline<'_>) -> Result<(), BackupError> {
        let (source, found) = (Arc::clone(&self.data), self.control.clone());
        pipeline.add(&mut self.main, vec![Content::File { source, found, known: None }]).await?;
        self.main.wait().await
    }

    pub(super) async fn label(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        stopped: &Stopped,
    ) -> Result<(), BackupError> {
        let content = stopped.label.clone().into_bytes();
        let file = self.text("backup_label", content.len() as u64, stopped.at);
        pipeline.add(&mut self.main, vec![Content::Text { file, from: 0, content }]).await?;
        self.main.wait().await
    }

    /// Stores the manifest of all that was stored before it, and ends the archive.
    pub(super) async fn manifest(
        mut self,
        pipeline: &mut Pipeline<'_>,
        started: &Started,
        stopped: &Stopped,
    ) -> Result<(), BackupError> {
        let files = pipeline.files().await?;
        let manifest = Manifest { files: &files, started, stopped };
        let file = self.text(manifest::NAME, manifest.size(), stopped.at);
        let mut from = 0;
        for content in manifest.blocks() {
            let length = content.len() as u64;
            let content = Content::Text { file: file.clone(), from, content };
            pipeline.add(&mut self.main, vec![content]).await?;
            from += length;
        }
        // What is not read yet is not in the table of contents, which ends next.
        self.main.end().await?.wait().await
    }

    fn text(&self, path: &'static str, size: u64, at: Moment) -> Text {
        let modified = u64::try_from(at.0 / 1_000_000).unwrap_or_default();
        Text { path, size, owner: self.owner, modified }
    }
}
