//! Base backups, increments, restores and the archiving of log: ours, and beside them those of others.
//!
//! Never leaves a repository behind for the next one: the disk has to hold one at a time.

use super::engine::{self, Asked, Deed, Packing};
use super::peers::{BackRest, Barman};
use super::{Act, Bench, Figure, PROVED_WITHIN, Peer, Who, log, remove};
use crate::object_store::ObjectStore;
use crate::run;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Between a backup and what is incremental to it.
const TRANSACTIONS: u32 = 20_000;
/// barman-cloud takes a second for each file of the log.
const FILES_FOR_BARMAN: usize = 8;

/// What needs a full backup.
const BASES: [Act; 3] = [Act::Backup, Act::Restore, Act::RestoreAgain];
const RESTORES: [Act; 2] = [Act::Restore, Act::RestoreAgain];
const LOG: [Act; 2] = [Act::Archive, Act::Answer];

impl<Tell: FnMut(Figure)> Bench<Tell> {
    pub(super) fn beside_backrest(&mut self, packing: Packing) -> Result<()> {
        let kind = format!("{}, folder", packing.word());
        if packing == Packing::Zstd && self.figures.want(&[Act::Backup]) {
            let script = "tar -C \"$0\" --exclude './pg_wal/*' -c . | \
                zstd -q -1 -T2 -o \"$1\" && sync \"$1\"";
            let packed = self.subject.root().join("floor.tar.zst");
            let floor = self.shell(script, &[&self.subject.data(), &packed]);
            self.measure((Act::Backup, &kind, Who::Floor), floor, &packed)?;
            fs::remove_file(packed)?;
        }
        if self.figures.want(&BASES) || self.figures.want(&LOG) {
            self.ours_in_a_folder(packing, &kind)?;
            self.backrest(packing, &kind)?;
        }
        Ok(())
    }

    fn ours_in_a_folder(&mut self, packing: Packing, kind: &str) -> Result<()> {
        let (data, target) = (self.subject.data(), self.target());
        let repository = self.subject.root().join(format!("ours-{}", packing.word()));
        fs::create_dir(&repository)?;
        let ours = |deed, data: &Path| Asked::folder(deed, data, &repository, packing).command();
        if self.figures.want(&BASES) {
            let take = ours(Deed::Take, &data)?;
            self.measure((Act::Backup, kind, Who::Pgherd), take, &repository)?;
        }
        if self.figures.want(&RESTORES) {
            let restore = ours(Deed::Restore, &target)?;
            self.measure((Act::Restore, kind, Who::Pgherd), restore, &repository)?;
            self.prove(&target)?;
        }
        if self.figures.want(&[Act::RestoreAgain]) {
            let again = ours(Deed::RestoreAgain, &target)?;
            self.measure((Act::RestoreAgain, kind, Who::Pgherd), again, &repository)?;
        }
        remove(&target)?;
        let archiving = Asked::folder(Deed::Archive, &data, &repository, packing);
        self.measure_archiving(archiving.clone(), kind, &repository)?;
        remove(&repository)?;
        if !self.figures.want(&[Act::Answer]) {
            return Ok(());
        }
        // To a program that does nothing there is no faster answer.
        let waiting = self.waiting(usize::MAX)?;
        let nothing = |_: &str| Command::new("true");
        let floor = waiting.archive(self.meter()?, nothing, || Ok(()))?;
        self.note_answers((kind, Who::Floor), floor);
        fs::create_dir(&repository)?;
        let (meter, waiting) = (self.meter()?, self.waiting(usize::MAX)?);
        let (agent, push) = Self::archiver(archiving, &waiting)?;
        let stored = || log::segments_below(&repository.join(engine::LOG));
        let told = waiting.answers(meter, push, stored, || agent.end())?;
        self.note_answers((kind, Who::Pgherd), told);
        remove(&repository)
    }

    fn backrest(&mut self, packing: Packing, kind: &str) -> Result<()> {
        if !self.figures.beside(Peer::PgBackRest) {
            return Ok(());
        }
        let target = self.target();
        let rest = BackRest::prepare(self.subject.root(), &self.subject.data(), packing)?;
        let repository = rest.repository.join("backup");
        if self.figures.want(&BASES) {
            self.measure((Act::Backup, kind, Who::PgBackRest), rest.take(), &repository)?;
        }
        if self.figures.want(&RESTORES) {
            // It restores only into a folder that is there.
            fs::create_dir(&target)?;
            let restore = rest.restore(&target);
            self.measure((Act::Restore, kind, Who::PgBackRest), restore, &repository)?;
        }
        if self.figures.want(&[Act::RestoreAgain]) {
            let again = rest.restore_again(&target);
            self.measure((Act::RestoreAgain, kind, Who::PgBackRest), again, &repository)?;
        }
        remove(&target)?;
        if self.figures.want(&[Act::Archive]) {
            let waiting = self.waiting(usize::MAX)?;
            let push = |name: &str| rest.archive(&waiting.data, name);
            let archived = waiting.archive(self.meter()?, push, || Ok(()))?;
            let archive = rest.repository.join("archive");
            self.note_archived((kind, Who::PgBackRest), (archived, Duration::ZERO), &archive)?;
        }
        remove(&rest.repository)?;
        if self.figures.want(&[Act::Answer]) {
            let rest = BackRest::prepare(self.subject.root(), &self.subject.data(), packing)?;
            let (meter, waiting) = (self.meter()?, self.waiting(usize::MAX)?);
            let push = |name: &str| rest.archive(&waiting.data, name);
            let stored = || log::segments_below(&rest.segments());
            let told = waiting.answers(meter, push, stored, || Ok(()))?;
            self.note_answers((kind, Who::PgBackRest), told);
            remove(rest.root())?;
        }
        Ok(())
    }

    /// Through an agent's archiver, if that is asked for.
    fn measure_archiving(&mut self, asked: Asked, kind: &str, files: &Path) -> Result<()> {
        if !self.figures.want(&[Act::Archive]) {
            return Ok(());
        }
        let waiting = self.waiting(usize::MAX)?;
        let before = self.store_time()?;
        let archived = self.archive_ours(asked, &waiting)?;
        let store = self.store_time()?.saturating_sub(before);
        self.note_archived((kind, Who::Pgherd), (archived, store), files)
    }

    /// What the log names, against a look at every page.
    pub(super) fn increments(&mut self) -> Result<()> {
        if !self.figures.want(&[Act::Increment]) {
            return Ok(());
        }
        let (data, packing) = (self.subject.data(), Packing::Zstd);
        let repository = self.subject.root().join("ours-increments");
        fs::create_dir(&repository)?;
        let ours = |deed, at: &str| {
            let asked = Asked::folder(deed, &data, &repository, packing);
            Asked { at: Some(at.to_owned()), ..asked }.command()
        };
        run::succeed(ours(Deed::Take, &self.subject.stopped_at()?)?, PROVED_WITHIN)?;
        self.subject.go_on(TRANSACTIONS)?;
        let at = self.subject.stopped_at()?;
        let kind = format!("{}, folder", packing.word());
        let stored = repository.join(engine::INCREMENTS);
        for (who, deed) in
            [(Who::Pgherd, Deed::Increment), (Who::PgherdByScan, Deed::IncrementByScan)]
        {
            self.measure((Act::Increment, &kind, who), ours(deed, &at)?, &stored)?;
            fs::remove_dir_all(&stored)?;
        }
        remove(&repository)
    }

    /// What the disk takes, and what a file of the log takes at least.
    pub(super) fn plain_copies(&mut self) -> Result<()> {
        let (data, target) = (self.subject.data(), self.target());
        if self.figures.want(&[Act::Restore]) {
            // A backup has no log but what its end needs.
            let script = "mkdir \"$1\"; find \"$0\" -mindepth 1 -maxdepth 1 ! -name pg_wal \
                -exec cp -a -t \"$1\" {} + && sync -f \"$1\"";
            let copy = self.shell(script, &[&data, &target]);
            self.measure((Act::Restore, "plain, folder", Who::Floor), copy, &target)?;
            remove(&target)?;
        }
        if !self.figures.want(&[Act::Archive]) {
            return Ok(());
        }
        let there = self.subject.root().join("copied");
        fs::create_dir(&there)?;
        let waiting = self.waiting(usize::MAX)?;
        let copy = |name: &str| {
            let from = waiting.data.join("pg_wal").join(name);
            let script = "cp \"$0\" \"$1\" && sync \"$1\"";
            self.shell(script, &[&from, &there.join(name)])
        };
        let archived = waiting.archive(self.meter()?, copy, || Ok(()))?;
        self.note_archived(("plain, folder", Who::Floor), (archived, Duration::ZERO), &there)?;
        remove(&there)
    }

    pub(super) fn ours_on_s3(&mut self, packing: Packing) -> Result<()> {
        let (data, target) = (self.subject.data(), self.target());
        let kind = format!("{}, s3", packing.word());
        let files = self.store.files(&format!("ours-{}", packing.word()));
        let ours = |deed, data: &Path, store: &ObjectStore| {
            Asked::s3(deed, data, store, packing).command()
        };
        if self.figures.want(&[Act::Backup, Act::Restore]) {
            let take = ours(Deed::Take, &data, &self.store)?;
            self.measure((Act::Backup, &kind, Who::Pgherd), take, &files)?;
        }
        if self.figures.want(&[Act::Restore]) {
            let restore = ours(Deed::Restore, &target, &self.store)?;
            self.measure((Act::Restore, &kind, Who::Pgherd), restore, &files)?;
            self.prove(&target)?;
            remove(&target)?;
        }
        let archiving = Asked::s3(Deed::Archive, &data, &self.store, packing);
        self.measure_archiving(archiving, &kind, &files)?;
        remove(&files)
    }

    pub(super) fn barman(&mut self, packing: Packing) -> Result<()> {
        if !self.figures.beside(Peer::BarmanCloud) {
            return Ok(());
        }
        let kind = format!("{}, s3", packing.word());
        let target = self.target();
        let files = self.store.files(&Barman { store: &self.store, packing }.prefix());
        if self.figures.want(&[Act::Backup, Act::Restore]) {
            self.subject.start()?;
            let take = Barman { store: &self.store, packing }.take(&self.subject);
            let taken = self.measure((Act::Backup, &kind, Who::BarmanCloud), take, &files);
            self.subject.stop()?;
            taken?;
        }
        if self.figures.want(&[Act::Restore]) {
            fs::create_dir(&target)?;
            let restore = Barman { store: &self.store, packing }.restore(&target)?;
            self.measure((Act::Restore, &kind, Who::BarmanCloud), restore, &files)?;
            remove(&target)?;
        }
        if self.figures.want(&[Act::Archive]) {
            let waiting = self.waiting(FILES_FOR_BARMAN)?;
            let barman = Barman { store: &self.store, packing };
            let before = self.store_time()?;
            let archive = |name: &str| barman.archive(&waiting.data, name);
            let archived = waiting.archive(self.meter()?, archive, || Ok(()))?;
            let store = self.store_time()?.saturating_sub(before);
            self.note_archived((&kind, Who::BarmanCloud), (archived, store), &files)?;
        }
        remove(&files)
    }
}
