//! Why a manifest that could be read is refused. Never stops at the first reason.

use super::access::LineRefusal;
use super::annotations::AnnotationRefusal;
use super::archive::ArchiveRefusal;
use super::external::ExternalRefusal;
use super::import::ImportRefusal;
use super::initdb::InitDbRefusal;
use super::parameters::ParameterRefusal;
use super::recovery::RecoveryRefusal;
use super::synchronous::SynchronousRefusal;
use crate::field::FieldPath;
use crate::quantity::QuantityError;
use crate::warning::{Caution, Warning};
use pgherd_core::names::NameError;

/// Something in a manifest that has to be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {refusal}")]
pub struct Problem {
    /// Where it is.
    pub path: FieldPath,
    /// What is wrong with it, and what to write instead.
    pub refusal: Refusal,
}

/// What is wrong, and what to write instead; reads on behind the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum Refusal {
    #[error("is refused: {0}")]
    Name(NameError),
    #[error(
        "is {given}, but a cluster has at least one instance: write a number from 1 to 9, for example 3"
    )]
    NoInstance { given: i64 },
    #[error("is {given}, but at most 9 instances can agree in time: write a number from 1 to 9")]
    TooManyInstances { given: i64 },
    #[error("is {given}, but a time cannot be negative: write a number of seconds")]
    NegativeTime { given: i32 },
    #[error("is refused: {0}")]
    Quantity(QuantityError),
    #[error(
        "is {given:?}, but no data fits into that: write how much the cluster needs, for example 10Gi"
    )]
    NoSpace { given: String },
    #[error("and {other} are both set, but only one of them can be meant: remove one")]
    Both { other: &'static str },
    #[error(
        "is not acted upon yet, and a cluster that starts without its data would look healthy: \
         remove it to start with an empty database"
    )]
    WithoutItsData,
    #[error(
        "lets the cluster follow another one, which is not acted upon yet, and it would become a \
         primary of its own: remove it to have that"
    )]
    Follower,
    #[error(
        "names a plugin that archives the log, which is not acted upon, and a cluster without its \
         archive would look healthy: write where the archive is below spec.backup.barmanObjectStore, \
         and set isWALArchiver to false or remove the plugin"
    )]
    ForeignArchiver,
    #[error(transparent)]
    Parameter(ParameterRefusal),
    #[error(transparent)]
    Line(LineRefusal),
    #[error(transparent)]
    Synchronous(SynchronousRefusal),
    #[error(transparent)]
    InitDb(InitDbRefusal),
    #[error(transparent)]
    External(ExternalRefusal),
    #[error(transparent)]
    Import(ImportRefusal),
    #[error(transparent)]
    Annotation(AnnotationRefusal),
    #[error(transparent)]
    Archive(ArchiveRefusal),
    #[error(transparent)]
    Recovery(RecoveryRefusal),
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl Findings {
    pub(super) fn refuse(&mut self, path: &FieldPath, refusal: Refusal) {
        self.problems.push(Problem { path: path.clone(), refusal });
    }

    pub(super) fn warn(&mut self, path: &FieldPath, caution: Caution) {
        self.warnings.push(Warning::at(path.clone(), caution));
    }
}
