//! Takes a dump: what all databases share, then each database as of one moment of its own, then the
//! description that makes all of it a dump.
//!
//! Never leaves half of one in the archive.

use super::course::{self, Course, Handles, Job, WorkError};
use super::folder::Passage;
use super::server::{Database, Exported};
use super::spool::Spool;
use super::{Place, Subject, folder, globals, programs, retention, server, stream, target, watch};
use crate::archive::{Around, Opened};
use crate::aside::StartError;
use crate::backup::Role;
use crate::chain::chain;
use crate::naming;
use jiff::{SignedDuration, Timestamp};
use pgherd_api::agent::{DumpFormat, DumpOrder, DumpPhase, DumpReport, DumpTaken};
use pgherd_backup::dump::{
    Description, DumpFile, DumpedDatabase, DumpedFile, DumpedFormat, DumpedFrom, DumpedPart,
    FORMAT, Marker, Snapshot, Taking,
};
use pgherd_core::backup::retention::Policy;
use pgherd_core::dump::{Fate, Keep};
use pgherd_core::units::Bytes;
use std::time::Duration;
use tracing::info;

/// How often another second is tried as an id.
const IDS: u32 = 5;
/// What a dump may take besides its snapshots: to store what was read, and to clear up.
const BESIDES: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn start(
    job: Job,
    order: DumpOrder,
    subject: Subject,
    report: DumpReport,
) -> Result<Handles, StartError> {
    course::start(job, report, move |course| async move {
        info!(dump = order.name, "a dump begins");
        let take = Take { course: &course, order: &order, subject };
        take.run().await
    })
}

struct Take<'a> {
    course: &'a Course,
    order: &'a DumpOrder,
    subject: Subject,
}

impl Take<'_> {
    async fn run(&self) -> Result<(), WorkError> {
        let Job { place, .. } = &self.course.job;
        let dumps = course::open(&self.course.job, None)?;
        let (version, all) = server::databases(&place.site).await?;
        let databases = target::chosen(&all, &self.order.databases)?;
        let spool = Spool::make(&place.spool, &place.site).await.map_err(WorkError::Spool)?;
        self.refuse_without_room(&databases, &spool).await?;
        self.claim().await?;
        dumps.clear(&place.by, Timestamp::now()).await?;
        let taking = self.begin(&dumps, databases.len()).await?;
        let done = self.fill(&taking, version, &databases, &spool).await;
        let taken = match done {
            Ok(taken) => taken,
            Err(error) => {
                // The next one tries it again.
                if let Err(left) = taking.dumps.remove(&taking.id).await {
                    self.course.warn(format!("what was stored stays for now: {}", chain(&left)));
                }
                return Err(error);
            }
        };
        self.course.tell(|report| {
            (report.id, report.taken) = (Some(taking.id.to_string()), Some(taken));
        });
        self.retain(&dumps).await;
        Ok(())
    }

    async fn refuse_without_room(
        &self,
        databases: &[Database],
        spool: &Spool,
    ) -> Result<(), WorkError> {
        if self.order.format == DumpFormat::Custom {
            return Ok(());
        }
        let mut needed = Bytes(0);
        for database in databases {
            let site = &self.course.job.place.site;
            let largest = server::largest(site, &database.name, self.order.jobs).await?;
            needed = needed.max(largest);
        }
        spool.check_room(needed).map_err(WorkError::Spool)
    }

    async fn claim(&self) -> Result<(), WorkError> {
        let Job { place, archive, .. } = &self.course.job;
        std::fs::create_dir_all(&place.scratch).map_err(WorkError::Scratch)?;
        let Place { keys, scratch, remembered, .. } = place;
        let around = Around { keys, scratch, remembered };
        let opened = Opened::open(archive, self.subject.system, around);
        opened.map_err(WorkError::Open)?.claim().await.map_err(WorkError::Claim)
    }

    async fn begin(
        &self,
        dumps: &pgherd_backup::dump::Dumps,
        databases: usize,
    ) -> Result<Taking, WorkError> {
        let longest = i64::try_from(self.order.snapshot_limit_seconds).unwrap_or(i64::MAX);
        let databases = i64::try_from(databases).unwrap_or(i64::MAX);
        let longest = SignedDuration::from_secs(longest.saturating_mul(databases));
        let by = self.course.job.place.by.clone();
        let mut newest = dumps.newest().await?;
        for _ in 0..IDS {
            let now = Timestamp::now();
            let until = now.saturating_add(BESIDES).and_then(|at| at.saturating_add(longest));
            let marker = Marker { by: by.clone(), until: until.unwrap_or(Timestamp::MAX) };
            let id = naming::next(newest.as_ref(), now).ok_or(WorkError::NoId)?;
            if let Some(taking) = dumps.begin(&id, &marker).await? {
                return Ok(taking);
            }
            newest = Some(id);
        }
        Err(WorkError::NoId)
    }

    async fn fill(
        &self,
        taking: &Taking,
        version: u32,
        databases: &[Database],
        spool: &Spool,
    ) -> Result<DumpTaken, WorkError> {
        let Self { course, order, subject } = *self;
        let began = Timestamp::now();
        course.phase(DumpPhase::Globals, |report| {
            report.databases = u32::try_from(databases.len()).unwrap_or(u32::MAX);
        });
        let globals = globals::store(course, taking, order.passwords).await?;
        let mut dumped = Vec::new();
        for database in databases {
            course.go_on()?;
            course.phase(DumpPhase::Copy, |report| {
                report.database = Some(database.name.clone());
                (report.snapshot_seconds, report.snapshot_transactions) = (0, 0);
            });
            dumped.push(self.database(taking, database, spool).await?);
            course.tell(|report| report.databases_done += 1);
        }
        let description = Description {
            format: FORMAT,
            name: order.name.clone(),
            began,
            ended: Timestamp::now(),
            taken_by: format!("pgherd {}", env!("CARGO_PKG_VERSION")),
            from: DumpedFrom {
                instance: course.job.place.me.to_string(),
                part: match subject.role {
                    Role::Primary => DumpedPart::Primary,
                    Role::Standby => DumpedPart::Standby,
                },
                system: subject.system,
                timeline: subject.timeline,
                version,
            },
            stored_as: match order.format {
                DumpFormat::Custom => DumpedFormat::Custom,
                DumpFormat::Directory => DumpedFormat::Directory,
            },
            jobs: order.jobs,
            tables: order.tables.clone(),
            globals,
            databases: dumped,
        };
        taking.commit(&description).await?;
        Ok(DumpTaken {
            databases: description.databases.iter().map(|it| it.name.clone()).collect(),
            bytes: description.size(),
            stored: description.stored(),
        })
    }

    async fn database(
        &self,
        taking: &Taking,
        database: &Database,
        spool: &Spool,
    ) -> Result<DumpedDatabase, WorkError> {
        let Self { course, order, subject } = *self;
        let place = &course.job.place;
        let (exported, warnings) =
            server::export(&place.site, &database.name, subject.role).await?;
        for why in warnings {
            course.warn(why);
        }
        let path = spool.path().join(database.oid.0.to_string());
        let tool = programs::dump(place, order, (&database.name, &exported.name), &path);
        let limit = Duration::from_secs(order.snapshot_limit_seconds);
        let hindrance = watch::hindrance(course, exported.since, limit);
        let (file, files, stored) = match order.format {
            DumpFormat::Custom => {
                let file = DumpFile::of_database(database.oid);
                let tool = (&tool, database.name.as_str());
                let file = stream::store(course, (taking, file), tool, hindrance).await?;
                (file.clone(), 1, file.bytes)
            }
            DumpFormat::Directory => {
                let passage = Passage {
                    taking,
                    spool,
                    folder: path,
                    oid: database.oid,
                    database: &database.name,
                };
                let files = folder::store(course, &passage, &tool, hindrance).await?;
                let text = serde_json::to_vec(&files);
                let text =
                    text.map_err(|source| pgherd_backup::dump::DumpError::Encode { source })?;
                let list = taking.put(DumpFile::list_of(database.oid), text.into()).await?;
                (list, files.files.len() as u64, files.bytes())
            }
        };
        Ok(described(database, exported, file, (files, stored)))
    }

    /// The new dump may make others superfluous.
    async fn retain(&self, dumps: &pgherd_backup::dump::Dumps) {
        let archive = &self.course.job.archive;
        let said = self.order.retention.as_deref().or(archive.retention.as_deref());
        let Some(Ok(policy)) = said.map(Policy::parse) else { return };
        let removed = match retention::planned(dumps, policy).await {
            Ok(plan) => {
                let doubtful = plan.iter().find_map(|(_, fate)| match fate {
                    Fate::Kept(keep @ Keep::Doubtful(_)) => Some(keep),
                    Fate::Kept(_) | Fate::Removed(_) => None,
                });
                if let Some(keep) = doubtful {
                    self.course.warn(format!("dumps are {keep}"));
                }
                retention::apply(dumps, &plan).await
            }
            Err(error) => Err(error),
        };
        match removed {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => info!(?removed, "dumps that retention gives up are removed"),
            Err(error) => {
                self.course.warn(format!("retention was not applied: {}", chain(&error)));
            }
        }
    }
}

fn described(
    database: &Database,
    exported: Exported,
    file: DumpedFile,
    (files, stored): (u64, Bytes),
) -> DumpedDatabase {
    let Database { oid, name, owner, encoding, collate, ctype, size } = database.clone();
    let snapshot = Snapshot { at: exported.at, lsn: exported.lsn };
    let mut roles = exported.roles;
    if !roles.contains(&owner) {
        roles.push(owner.clone());
    }
    roles.sort_unstable();
    DumpedDatabase {
        name,
        oid,
        owner,
        encoding,
        collate,
        ctype,
        size,
        snapshot,
        roles,
        file,
        files,
        stored,
    }
}
