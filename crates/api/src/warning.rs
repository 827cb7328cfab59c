//! What is accepted, but not without a word. Never a reason to stop.

use crate::cluster::object_store::Compression;
use crate::field::FieldPath;
use pgherd_core::units::Bytes;
use std::fmt;

/// Something in a manifest that is accepted, but that its author should know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it is; nowhere in particular if absent.
    pub path: Option<FieldPath>,
    /// What it is.
    pub caution: Caution,
}

impl Warning {
    pub(crate) fn at(path: FieldPath, caution: Caution) -> Self {
        Self { path: Some(path), caution }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{path} {}", self.caution),
            None => write!(f, "{}", self.caution),
        }
    }
}

/// What is said of settings that CloudNativePG adds to a specification.
pub(crate) const OF_CLOUDNATIVEPG: &str =
    "is what CloudNativePG writes down for its own servers, and has no effect here: remove it";

const WITH_GZIP: &str = "but base backups are packed with gzip instead: write gzip or lz4";

/// What somebody should know about a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caution {
    /// Another document in the same file is not looked at.
    DocumentSkipped {
        /// Where it begins.
        line: usize,
        /// What it says it is.
        kind: String,
    },
    /// The status is what was true elsewhere.
    StatusSkipped,
    /// More instances than help.
    ManyInstances {
        /// How many.
        given: i64,
    },
    /// A setting that gives up durability.
    MayLoseCommits {
        /// The value that does.
        value: String,
    },
    /// A setting that has one value in every cluster.
    Kept {
        /// What was asked for.
        value: String,
        /// What it is.
        kept: &'static str,
    },
    /// A setting that is on in every cluster, though a single instance would not need it.
    StaysOn {
        /// What was asked for.
        value: String,
    },
    /// A setting that CloudNativePG adds to a specification.
    WrittenByCloudNativePg,
    /// An access rule lets people in without a password.
    Trust,
    /// No time is left for a fast stop.
    NoTimeToStop {
        /// `spec.smartShutdownTimeout`.
        given: i64,
        /// `spec.stopDelay`.
        stop_delay: i64,
    },
    /// The older way to ask for synchronous commits.
    LegacySynchronous {
        /// What `number` has to be for the same effect.
        number: i64,
    },
    /// Priorities among standbys are not kept.
    FirstIsAny,
    /// Commits never wait for as many standbys as asked for.
    FewerStandbys {
        /// How many standbys there can be.
        standbys: u64,
    },
    /// A key of an archive that is not there.
    NothingToEncrypt,
    /// The limit is only used for asynchronous clusters.
    MaxLagUnused {
        /// The limit.
        given: Bytes,
    },
    /// Pages get checksums whatever is written.
    ChecksumsAnyway,
    /// Applications would connect as superuser.
    OwnedBySuperuser,
    /// A value that switches nothing.
    NoSuchSwitch {
        /// The value that would.
        known: &'static str,
    },
    /// A way to pack base backups that cannot be read in parallel.
    PackedWithGzip {
        /// What was asked for.
        given: Compression,
    },
    /// An annotation that means nothing.
    UnknownAnnotation {
        /// Which one was probably meant.
        guess: Option<&'static str>,
    },
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DocumentSkipped { line, kind } => {
                write!(f, "the {kind} at line {line} is skipped: only the Cluster is used")
            }
            Self::StatusSkipped => f.write_str("is skipped: it tells what was true elsewhere"),
            Self::ManyInstances { given } => write!(
                f,
                "is {given}: beyond 5, each instance costs more than it adds to safety; 3 or 5 do"
            ),
            Self::MayLoseCommits { value } => write!(
                f,
                "is {value}: confirmed commits can be lost in a failover, in spite of \
                 spec.postgresql.synchronous"
            ),
            Self::Kept { value, kept } => {
                write!(f, "is {value}, but stays {kept}, which failovers are timed for: remove it")
            }
            Self::StaysOn { value } => {
                write!(f, "is {value}, but stays on, which a second instance needs: remove it")
            }
            Self::WrittenByCloudNativePg => f.write_str(OF_CLOUDNATIVEPG),
            Self::Trust => f.write_str(
                "lets everybody in whom it matches, without a password: prefer scram-sha-256",
            ),
            Self::NoTimeToStop { given, stop_delay } => write!(
                f,
                "is {given}, not less than stopDelay ({stop_delay}), so PostgreSQL gets no time for a fast \
                 stop: lower it"
            ),
            Self::LegacySynchronous { number } => write!(
                f,
                "is the older way to ask for synchronous commits: write \
                 spec.postgresql.synchronous with method: any, number: {number} and \
                 dataDurability: preferred"
            ),
            Self::FirstIsAny => f.write_str(
                "is first, which is treated like any: commits wait for as many standbys, but for \
                 whichever confirm first",
            ),
            Self::FewerStandbys { standbys } => write!(
                f,
                "is more than there can be standbys ({standbys}): commits wait for those only"
            ),
            Self::NothingToEncrypt => {
                f.write_str("encrypts and opens nothing: there is no archive that it would be for")
            }
            Self::MaxLagUnused { given } => write!(
                f,
                "is {given}, but is not used: with synchronous commits no standby that lags is \
                 promoted"
            ),
            Self::ChecksumsAnyway => f.write_str(
                "is false, but pages get checksums all the same: they show damage, and pg_rewind \
                 relies on them",
            ),
            Self::OwnedBySuperuser => f.write_str(
                "is postgres, so applications connect as superuser: prefer a role of their own",
            ),
            Self::NoSuchSwitch { known } => {
                write!(f, "switches nothing: only {known:?} does")
            }
            Self::PackedWithGzip { given } => write!(f, "is {given}, {WITH_GZIP}"),
            Self::UnknownAnnotation { guess: Some(guess) } => {
                write!(f, "means nothing: did you mean {guess}?")
            }
            Self::UnknownAnnotation { guess: None } => f.write_str("means nothing: remove it"),
        }
    }
}
