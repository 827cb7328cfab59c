//! Keeps measurements, one per line, so that a long comparison can go on where it ended.
//!
//! Never measures, and never takes a line that it cannot read for one that is not there.

use super::{Measurement, Product};
use crate::rig::{Durability, Fault};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// What was measured so far, here and in a file if there is one.
#[derive(Debug, Default)]
pub struct Sheet {
    all: Vec<Measurement>,
    file: Option<File>,
}

impl Sheet {
    /// Reads what earlier runs have measured; what this one measures is added.
    pub fn open(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let read = |(number, line): (usize, &str)| {
            let place = || format!("{} line {}: remove it", path.display(), number + 1);
            serde_json::from_str(line).with_context(place)
        };
        let all = text.lines().enumerate().map(read).collect::<Result<_>>()?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { all, file: Some(file) })
    }

    pub fn all(&self) -> &[Measurement] {
        &self.all
    }

    pub(super) fn has(&self, wanted: (Product, Durability, Fault, u32)) -> bool {
        self.all.iter().any(|one| (one.product, one.durability, one.fault, one.round) == wanted)
    }

    pub(super) fn add(&mut self, one: Measurement) -> Result<()> {
        if let Some(file) = &mut self.file {
            let line = format!("{}\n", serde_json::to_string(&one)?);
            file.write_all(line.as_bytes()).context("adding to the sheet")?;
        }
        self.all.push(one);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_not_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet");
        let one = Measurement {
            product: Product::PatroniFastest,
            durability: Durability::Sync,
            fault: Fault::NodeLoss,
            round: 2,
            gap_milliseconds: 20_000,
            unluckiest_milliseconds: 20_100,
            acknowledged: 100,
            lost: 0,
            unknown: 1,
            wrong: String::new(),
        };
        Sheet::open(&path).unwrap().add(one.clone()).unwrap();
        let again = Sheet::open(&path).unwrap();
        assert_eq!(again.all(), [one]);
        let asked =
            |round| again.has((Product::PatroniFastest, Durability::Sync, Fault::NodeLoss, round));
        assert!(asked(2) && !asked(1));
        std::fs::write(&path, "{").unwrap();
        let complaint = Sheet::open(&path).unwrap_err().to_string();
        assert!(complaint.ends_with("sheet line 1: remove it"), "{complaint}");
    }
}
