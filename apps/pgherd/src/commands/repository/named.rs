//! Opens the repository that a manifest names, for whoever has nothing else.
//!
//! Never writes there, and never asks whose data it is: there may be no cluster any more.

use super::super::form::Form;
use super::super::manifest::read;
use super::plan::Plan;
use super::{Around, Asked, Opened, follow, open_with_keys};
use pgherd_api::agent::ArchiveSpec;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::manifest::{self, Keys, Manifest};
use std::path::{Path, PathBuf};

/// Where it is said which repository is meant.
#[derive(clap::Args)]
pub(super) struct Named {
    /// A Cluster manifest, with the Secrets that it names; - reads it from stdin
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Read the repository that the cluster begins with, not its own
    #[arg(long)]
    source: bool,
}

impl Named {
    /// Asks it, and writes what it says.
    pub(super) fn ask(&self, asked: &Asked, form: Form) -> Result<(), Failure> {
        let asking = || {
            let manifest = understood(&self.file)?;
            let opened = if self.source { source(&manifest) } else { own(&manifest) };
            self.tell(&opened?, asked, form)
        };
        asking().map_err(|failure| failure.reworded(|text| self.here(text)))
    }

    /// Tells how the cluster would begin.
    pub(super) fn plan(&self, form: Form) -> Result<(), Failure> {
        let planning = || {
            let manifest = understood(&self.file)?;
            let (opened, checked) = (source(&manifest)?, manifest.checked);
            let spec = checked.postgres.recovery.ok_or_else(without_source)?;
            let (new, instances) = (checked.name, checked.instances);
            let asked = Asked::Plan(Box::new(Plan { new, instances, spec, own: None }));
            self.tell(&opened, &asked, form)
        };
        planning().map_err(|failure| failure.reworded(|text| self.here(text)))
    }

    fn tell(&self, opened: &Opened, asked: &Asked, form: Form) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let told = runtime.block_on(follow(opened, asked))?;
        told.tell(form, &|text| self.here(text))
    }

    /// With commands that work here.
    fn here(&self, text: &str) -> String {
        let source = if self.source { " --source" } else { "" };
        let of = format!(" -f {}{source}", self.file.display());
        let words = [
            ("pgherd local backup list", "list"),
            ("pgherd local dump list", "dumps"),
            ("pgherd local window", "window"),
        ];
        words.iter().fold(text.to_owned(), |text, (local, verb)| {
            text.replace(local, &format!("pgherd repository {verb}{of}"))
        })
    }
}

fn understood(file: &Path) -> Result<Manifest, Failure> {
    manifest::understand(&read(file)?, None)?.with_key_files()
}

/// What the cluster writes to.
fn own(manifest: &Manifest) -> Result<Opened, Failure> {
    let spec = manifest.checked.postgres.archive.clone().ok_or_else(without_archive)?;
    open(manifest, (spec, &manifest.keys))
}

/// What the cluster begins with.
fn source(manifest: &Manifest) -> Result<Opened, Failure> {
    let recovery = manifest.checked.postgres.recovery.as_ref().ok_or_else(without_source)?;
    open(manifest, (recovery.source.clone(), &manifest.recovery_keys))
}

fn open(manifest: &Manifest, place: (ArchiveSpec, &Keys)) -> Result<Opened, Failure> {
    let cluster = manifest.checked.name.to_string();
    let around = Around { cluster, system: None, major: None, disk: None };
    open_with_keys(place, around)
}

fn without_archive() -> Failure {
    Failure::new(Kind::Usage, "the manifest has no archive of its own").fix(
        "add spec.backup.barmanObjectStore to it, or say --source for the one that it begins with",
    )
}

fn without_source() -> Failure {
    Failure::new(Kind::Usage, "the manifest is of a cluster that does not begin with a backup")
        .fix("add bootstrap.recovery to it: docs/features/restore.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_texts_are_those_that_need_no_cluster() {
        let named = Named { file: PathBuf::from("shop.yaml"), source: true };
        expect_test::expect![
            "pgherd repository window -f shop.yaml --source and pgherd repository list -f shop.yaml --source"
        ]
        .assert_eq(&named.here("pgherd local window and pgherd local backup list"));
    }
}
