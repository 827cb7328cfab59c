//! Says what is in the way of long work that a platform orders, be it a backup or a dump, and whether
//! it may have passed by itself.
//!
//! Never begins it.

use crate::archive::repository::OpenError;
use crate::http::refusal::{Kind, Refusal};
use pgherd_backup::store::{Retry, StoreError};
use pgherd_core::backup::BackupId;
use pgherd_core::names::InstanceName;
use std::error::Error;

/// Names stand in file names of others and on command lines, and must not be taken for ids or for
/// `words` that stand for one.
pub(crate) fn check_name(what: &str, name: &str, words: &[&str]) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let is_taken = words.contains(&name) || BackupId::parse(name).is_ok();
    if starts && name.len() <= 253 && name.bytes().all(plain) && !is_taken {
        return Ok(());
    }
    let why = format!(
        "{name:?} cannot be the name of a {what}: use letters, digits, '.', '-' and '_', and no id"
    );
    Err(Refusal::new(Kind::Malformed, why))
}

/// Where it goes, and what it is of, if there is both.
pub(crate) fn ready<Archive, Subject>(
    me: &InstanceName,
    archive: Option<Archive>,
    subject: Option<Subject>,
) -> Result<(Archive, Subject), Refusal> {
    let archive = archive.ok_or_else(|| {
        let why = "the cluster has no archive: add spec.backup.barmanObjectStore to its manifest";
        Refusal::new(Kind::Absent, why)
    })?;
    let subject = subject.ok_or_else(|| {
        let why = format!(
            "PostgreSQL of {me} does not run, or not as it should: choose another instance"
        );
        Refusal::new(Kind::Unavailable, why)
    })?;
    Ok((archive, subject))
}

/// Whether it failed at a store that may answer again soon, or at what opens it: a Secret comes into one
/// pod up to two minutes later than into another.
pub(crate) fn passes(error: &(dyn Error + 'static)) -> bool {
    let mut below = Some(error);
    while let Some(error) = below {
        if let Some(OpenError::Missing { .. }) = error.downcast_ref() {
            return true;
        }
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return error.retry() == Retry::Soon;
        }
        below = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_api::agent::ArchiveFile;

    #[test]
    fn what_opens_the_store_may_be_on_its_way() {
        let missing = OpenError::Missing { file: ArchiveFile::AccessKeyId };
        let wrong = OpenError::NoText { file: "accessKeyId" };
        assert_eq!([&missing, &wrong].map(|error| passes(error)), [true, false]);
    }
}
