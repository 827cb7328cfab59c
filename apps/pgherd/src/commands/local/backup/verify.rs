//! Reads a backup from end to end, and looks whether its log is there.
//!
//! Never calls one good of which anything is missing.

use super::super::output::{Output, say, say_json};
use super::super::place::Place;
use super::super::progress::Progress;
use super::super::repository::{self, Opened};
use pgherd_agent::chain::chain;
use pgherd_backup::base::Progress as Moved;
use pgherd_backup::restore::{self, By, Verified};
use pgherd_core::backup::BackupId;
use pgherd_core::wal::Segment;
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::watch;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Read a backup from end to end, compare its checksums, and look for its log
#[derive(clap::Args)]
#[command(after_help = "\
Ends with 1 when anything is damaged or missing.

Example:
  pgherd local backup verify 20261122T112233")]
pub(super) struct Verify {
    /// Its id or name, or first or latest
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    backup: String,
    files: u64,
    bytes: u64,
    /// `checksums` of each part, or that `archives` can be unpacked.
    checked: &'static str,
    damages: Vec<String>,
    damages_in_all: u64,
    /// The first segment of its log that is not there.
    missing_log: Option<String>,
    good: bool,
}

impl Verify {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            let failed = |error| opened.failed(&error);
            let (catalogue, id) = opened.find(&self.backup).await?;
            let (_, window) = opened.repository.window(&catalogue).await.map_err(failed)?;
            let missing = window.unusable.iter().find(|one| one.backup == id);
            let verified = read(&opened, &id).await?;
            tell(output, &id, &verified, missing.map(|one| one.missing))
        })
    }
}

async fn read(opened: &Opened, id: &BackupId) -> Result<Verified, Failure> {
    let (progress, shown) = watch::channel(Moved::default());
    let place = (&opened.store, &opened.layout);
    let mut reading =
        std::pin::pin!(restore::verify(place, id, restore::Options::default(), progress));
    let mut teller = Progress::new();
    loop {
        tokio::select! {
            read = &mut reading => return read.map_err(|error| {
                let what = format!("backup {id} cannot be read");
                Failure::new(Kind::Failed, what).because(chain(&error).to_string())
            }),
            () = tokio::time::sleep(BETWEEN_LOOKS) => {
                let now = *shown.borrow();
                teller.tell_step("reading", &format!("{} of {}", now.done, now.total));
            }
        }
    }
}

fn tell(
    output: Output,
    id: &BackupId,
    verified: &Verified,
    missing: Option<Segment>,
) -> Result<(), Failure> {
    let good = verified.damages_in_all == 0 && missing.is_none();
    if output == Output::Json {
        say_json(&Told {
            backup: id.to_string(),
            files: verified.files,
            bytes: verified.bytes.0,
            checked: match verified.by {
                By::Contents => "checksums",
                By::Archives => "archives",
            },
            damages: verified.damages.clone(),
            damages_in_all: verified.damages_in_all,
            missing_log: missing.map(|missing| missing.to_string()),
            good,
        })?;
    }
    if good {
        if output == Output::Text {
            let (files, bytes) = (verified.files, verified.bytes);
            say(&format!(
                "backup/{id} is good: {files} files ({bytes}) are what was stored, and its log is there"
            ));
        }
        return Ok(());
    }
    let mut causes = verified.damages.clone();
    causes.extend(missing.map(|missing| format!("{missing} of its log is missing")));
    let what = match verified.damages_in_all {
        0 => format!("backup {id} lacks log"),
        damages => format!("backup {id} is damaged in {damages} places"),
    };
    Err(Failure::new(Kind::Failed, what)
        .because(causes.join("; "))
        .fix("take another one: pgherd local backup"))
}
