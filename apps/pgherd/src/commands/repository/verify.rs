//! Reads a backup from end to end, and looks whether its log is there.
//!
//! Never calls one good of which anything is missing.

use super::{Answer, Opened, Step, Teller, counted};
use pgherd_agent::chain::chain;
use pgherd_backup::base::Progress as Moved;
use pgherd_backup::restore::{self, By, Verified as Read};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Read a backup from end to end, compare its checksums, and look for its log
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Verify {
    /// Its id or name, or first or latest
    #[arg(value_name = "BACKUP", default_value = "latest")]
    pub(crate) backup: String,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verified {
    backup: String,
    files: u64,
    bytes: u64,
    checked: Checked,
    damages: Vec<String>,
    damages_in_all: u64,
    /// What it needs and is not there: the first segment of its log, or a backup.
    missing_log: Option<String>,
    good: bool,
}

/// The checksums of each part, or that its archives can be unpacked.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Checked {
    Checksums,
    Archives,
}

impl Verify {
    pub(super) async fn answer(
        &self,
        opened: &Opened,
        teller: &Teller,
    ) -> Result<Verified, Failure> {
        let failed = |error| opened.failed(&error);
        let (catalogue, id) = opened.find(&self.backup).await?;
        let (_, window) = opened.repository.window(&catalogue).await.map_err(failed)?;
        let missing = window.unusable.iter().find(|one| one.backup == id);
        let read = read(opened, &id, teller).await?;
        Ok(Verified {
            backup: id.to_string(),
            files: read.files,
            bytes: read.bytes.0,
            checked: match read.by {
                By::Contents => Checked::Checksums,
                By::Archives => Checked::Archives,
            },
            good: read.damages_in_all == 0 && missing.is_none(),
            damages: read.damages,
            damages_in_all: read.damages_in_all,
            missing_log: missing.map(|one| one.missing.to_string()),
        })
    }
}

async fn read(opened: &Opened, id: &BackupId, teller: &Teller) -> Result<Read, Failure> {
    let (progress, shown) = watch::channel(Moved::default());
    let place = (&opened.store, &opened.layout);
    let mut reading =
        std::pin::pin!(restore::verify(place, id, restore::Options::default(), progress));
    loop {
        tokio::select! {
            read = &mut reading => return read.map_err(|error| {
                let what = format!("backup {id} cannot be read");
                Failure::new(Kind::Failed, what).because(chain(&error).to_string())
            }),
            () = tokio::time::sleep(BETWEEN_LOOKS) => {
                let now = *shown.borrow();
                let detail = format!("{} of {}", now.done, now.total);
                teller.send_replace(Step { step: "reading".to_owned(), detail });
            }
        }
    }
}

impl Answer for Verified {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("backup/{}", self.backup)]
    }

    fn lines(&self) -> Vec<String> {
        if !self.good {
            return Vec::new();
        }
        let (id, bytes) = (&self.backup, Bytes(self.bytes));
        let files = counted(self.files, "file");
        let verb = if self.files == 1 { "is" } else { "are" };
        vec![format!(
            "backup/{id} is good: {files} ({bytes}) {verb} what was stored, and its log is there"
        )]
    }

    fn failure(&self) -> Option<Failure> {
        if self.good {
            return None;
        }
        let missing = self.missing_log.iter();
        let missing = missing.map(|missing| format!("{missing} is missing"));
        let causes: Vec<String> = self.damages.iter().cloned().chain(missing).collect();
        let what = match self.damages_in_all {
            0 => format!("backup {} cannot be restored", self.backup),
            damages => {
                format!("backup {} is damaged in {}", self.backup, counted(damages, "place"))
            }
        };
        let failure = Failure::new(Kind::Failed, what).because(causes.join("; "));
        Some(failure.fix("take another one: pgherd local backup"))
    }
}
