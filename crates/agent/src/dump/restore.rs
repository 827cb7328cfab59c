//! Restores one database from a dump.
//!
//! Never begins before all is looked at that could be in the way, and never leaves a database that was
//! made for it when it comes to nothing.

use super::course::{self, Course, Handles, Job, WorkError};
use super::target::{self, Refused, Target};
use super::{database, server};
use crate::aside::StartError;
use crate::chain::chain;
use crate::postgres::config::quote::{identifier, literal};
use crate::postgres::globals::{self, Superusers};
use crate::postgres::session::SUPERUSER;
use flate2::read::MultiGzDecoder;
use pgherd_api::agent::{DumpPhase, DumpReport, DumpRestoreOrder, DumpTarget};
use pgherd_backup::dump::{Description, DumpedDatabase, Dumps, Found};
use std::io::Read;
use std::time::Duration;
use tracing::info;

/// A new database is a copy of another one.
const COPYING: Duration = Duration::from_hours(1);
const ANALYZE: Duration = Duration::from_hours(24);

pub(super) fn start(
    job: Job,
    order: DumpRestoreOrder,
    report: DumpReport,
) -> Result<Handles, StartError> {
    course::start(job, report, move |course| async move {
        info!(restore = order.name, dump = order.dump, into = order.into, "a restore begins");
        Restore { course: &course, order: &order }.run().await
    })
}

struct Restore<'a> {
    course: &'a Course,
    order: &'a DumpRestoreOrder,
}

impl Restore<'_> {
    async fn run(&self) -> Result<(), WorkError> {
        let Self { course, order } = *self;
        let dumps = course::open(&course.job, order.server.as_deref())?;
        let (id, description) = self.found(&dumps).await?;
        course.tell(|report| report.id = Some(id.to_string()));
        let from = target::meant(&description, order.database.as_deref())?;
        let found = target::look(&course.job, order, (&description, from)).await?;
        let source = database::Source { dumps: &dumps, dump: &id, description: &description, from };
        let spool = database::spool(course, &source, order.jobs).await?;
        if !found.missing.is_empty() {
            self.make_roles(&source, &found).await?;
        }
        self.make_database(from, &found).await?;
        course.phase(DumpPhase::Copy, |report| {
            report.database = Some(order.into.clone());
            (report.databases, report.total) = (1, Some(from.stored));
        });
        if let Err(error) = database::restore(course, order, (&source, &found), &spool).await {
            self.take_back().await;
            return Err(error);
        }
        course.tell(|report| report.databases_done = 1);
        if !order.tables.is_empty() {
            let bare = "tables come back without indexes, constraints, triggers, and defaults that \
                        come from a sequence: make them again, or restore the whole into another \
                        database and copy the rows";
            course.warn(bare.to_owned());
        }
        self.analyze().await;
        Ok(())
    }

    async fn found(
        &self,
        dumps: &Dumps,
    ) -> Result<(pgherd_core::backup::BackupId, Description), WorkError> {
        let wanted = self.order.dump.clone();
        let Some(Found { id, description }) = dumps.find(&wanted).await? else {
            let server = self.order.server.as_ref();
            let server = server.unwrap_or(&self.course.job.archive.server).clone();
            return Err(Refused::NoDump { wanted, server }.into());
        };
        match description {
            Ok(description) => Ok((id, description)),
            Err(why) => Err(Refused::Unusable { dump: id.to_string(), why }.into()),
        }
    }

    async fn make_roles(
        &self,
        source: &database::Source<'_>,
        found: &Target,
    ) -> Result<(), WorkError> {
        self.course.phase(DumpPhase::Globals, |_| {});
        let packed = source.dumps.fetch(source.dump, &source.description.globals).await?;
        let mut text = String::new();
        let unpacked = MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text);
        unpacked.map_err(WorkError::Unpack)?;
        let mut session = server::connect(&self.course.job.place.site, SUPERUSER).await?;
        let made = globals::make(&mut session, &found.missing, &text, Superusers::Kept).await;
        for why in made.map_err(WorkError::Globals)? {
            self.course.warn(why);
        }
        Ok(())
    }

    async fn make_database(&self, from: &DumpedDatabase, found: &Target) -> Result<(), WorkError> {
        if self.order.target != DumpTarget::Created {
            return Ok(());
        }
        let sql = format!(
            "create database {} owner {} template template0 encoding {} lc_collate {} lc_ctype {}",
            identifier(&self.order.into),
            identifier(&found.owner),
            literal(&from.encoding),
            literal(&from.collate),
            literal(&from.ctype),
        );
        let mut session = server::connect(&self.course.job.place.site, SUPERUSER).await?;
        let made = session.run(&sql, COPYING).await;
        let database = self.order.into.clone();
        made.map_err(|source| WorkError::MakeDatabase { database, source })
    }

    /// A database that was made for this is of no use.
    async fn take_back(&self) {
        if self.order.target != DumpTarget::Created {
            return;
        }
        let sql = format!("drop database if exists {} with (force)", identifier(&self.order.into));
        let dropped = match server::connect(&self.course.job.place.site, SUPERUSER).await {
            Ok(mut session) => session.run(&sql, COPYING).await.map_err(|source| {
                WorkError::MakeDatabase { database: self.order.into.clone(), source }
            }),
            Err(error) => Err(error),
        };
        if let Err(error) = dropped {
            let why = format!("database {:?} stays half made: {}", self.order.into, chain(&error));
            self.course.warn(why);
        }
    }

    /// Without statistics the first queries would be slow.
    async fn analyze(&self) {
        self.course.phase(DumpPhase::Analyze, |_| {});
        let analyzed = match server::connect(&self.course.job.place.site, &self.order.into).await {
            Ok(mut session) => {
                let what = "statistics";
                let analyzed = tokio::select! {
                    _cancelled = self.course.cancelled() => return,
                    analyzed = session.run("analyze", ANALYZE) => analyzed,
                };
                analyzed.map_err(|source| WorkError::Ask { what, source })
            }
            Err(error) => Err(error),
        };
        if let Err(error) = analyzed {
            let why = format!("run ANALYZE in {:?}, it failed: {}", self.order.into, chain(&error));
            self.course.warn(why);
        }
    }
}
