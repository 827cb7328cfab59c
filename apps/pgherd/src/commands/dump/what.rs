//! What a dump is asked to be of, on a command line.
//!
//! Never says whose.

use super::super::backup::Target;
use super::super::local::place::duration;
use super::super::repository::expire::policy;
use pgherd_api::agent::{DumpFormat, DumpPasswords};
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_api::dump::DumpContent;
use std::time::Duration;

#[derive(Clone, clap::Args)]
pub(crate) struct What {
    /// The databases (default: all but templates)
    #[arg(value_name = "DB")]
    databases: Vec<String>,
    /// Only these tables of one database (default: the application's), as patterns of pg_dump
    #[arg(long = "table", value_name = "PATTERN")]
    tables: Vec<String>,
    /// One file for each database, or a file for each table (default: custom)
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How many tables are dumped at once, with --format directory (default: 2)
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// As pg_dump --compress takes it
    #[arg(long, value_name = "LEVEL")]
    compress: Option<String>,
    /// Leave the passwords of roles out, which are stored as verifiers
    #[arg(long)]
    no_role_passwords: bool,
    /// Whom to take it from (default: as the manifest says, else prefer-standby)
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// Give up when a snapshot was held for so long (default: 24h)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    snapshot_limit: Option<Duration>,
    /// Which dumps are kept: 30d, 4w, 6m, or a number (default: spec.backup.retentionPolicy)
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    retention: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Custom,
    Directory,
}

impl What {
    /// Whether nothing is said.
    pub(crate) fn is_plain(&self) -> bool {
        self.databases.is_empty()
            && self.tables.is_empty()
            && self.format.is_none()
            && self.jobs.is_none()
            && self.compress.is_none()
            && self.target.is_none()
            && self.snapshot_limit.is_none()
            && self.retention.is_none()
            && !self.no_role_passwords
    }

    pub(crate) fn target(&self) -> Option<BackupTarget> {
        self.target.map(Target::wanted)
    }

    /// As a manifest says it; `usual` is the database that tables are of, unless it is said.
    pub(crate) fn content(&self, usual: &str) -> DumpContent {
        let databases = if self.databases.is_empty() && !self.tables.is_empty() {
            vec![usual.to_owned()]
        } else {
            self.databases.clone()
        };
        let seconds = |limit: Duration| i64::try_from(limit.as_secs().max(1)).unwrap_or(i64::MAX);
        DumpContent {
            databases,
            tables: self.tables.clone(),
            format: match self.format {
                Some(Format::Directory) => DumpFormat::Directory,
                Some(Format::Custom) | None => DumpFormat::Custom,
            },
            jobs: self.jobs.map(i64::from),
            compress: self.compress.clone(),
            role_passwords: if self.no_role_passwords {
                DumpPasswords::LeftOut
            } else {
                DumpPasswords::Kept
            },
            target: self.target(),
            snapshot_limit_seconds: self.snapshot_limit.map(seconds),
            retention_policy: self.retention.clone(),
        }
    }
}
