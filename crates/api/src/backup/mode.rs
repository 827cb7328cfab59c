//! Decides from its annotations whether a backup is to be full or incremental.
//!
//! Never passes over a word that it does not understand.

use crate::agent::Incremental;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pgherd_core::backup::increment::LONGEST;
use std::collections::BTreeMap;

/// `incremental` stores only what has changed since the last backup, `full` all of it. Default:
/// full. On a Backup, and on a ScheduledBackup for all that it makes.
pub const BACKUP_MODE: &str = "pgherd.dev/backupMode";
/// Every so many backups there is a full one although incremental ones are asked for: a number from
/// 1 to 64. Default: 64.
pub const FULL_EVERY: &str = "pgherd.dev/fullEvery";

/// In `pluginMetadata` of the status of a Backup that was to be incremental: why it is a full one.
pub const FULL_BECAUSE: &str = "pgherd.dev/fullBecause";
/// In the same place, of an incremental one: the id of the backup that it builds on.
pub const BUILDS_ON: &str = "pgherd.dev/buildsOn";
/// In the same place, of one that builds on another: why all pages were read for it.
pub const ALL_READ_BECAUSE: &str = "pgherd.dev/allReadBecause";
/// How the line of `commandOutput` begins that says the first of these to people.
pub const FULL_TAKEN: &str = "a full backup is taken: ";

/// Why an annotation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum ModeRefusal {
    #[error("annotation {BACKUP_MODE} is {given:?}: write full or incremental")]
    Mode { given: String },
    #[error("annotation {FULL_EVERY} is {given:?}: write a number from 1 to {LONGEST}, such as 7")]
    FullEvery { given: String },
}

/// How a backup with these annotations builds on others; on none when it is to be full.
pub fn incremental(metadata: &ObjectMeta) -> Result<Option<Incremental>, ModeRefusal> {
    let said = |name| metadata.annotations.as_ref().and_then(|all| all.get(name));
    let number = |given: &String| {
        let number = given.trim().parse().ok().filter(|number| (1..=LONGEST).contains(number));
        number.ok_or_else(|| ModeRefusal::FullEvery { given: given.clone() })
    };
    let full_every = said(FULL_EVERY).map(number).transpose()?;
    match said(BACKUP_MODE).map(String::as_str) {
        None | Some("full") => Ok(None),
        Some("incremental") => Ok(Some(Incremental { full_every })),
        Some(given) => Err(ModeRefusal::Mode { given: given.to_owned() }),
    }
}

/// The annotations for a backup that is to be like this.
pub fn annotations(wanted: Option<Incremental>) -> Option<BTreeMap<String, String>> {
    let Incremental { full_every } = wanted?;
    let mode = (BACKUP_MODE.to_owned(), "incremental".to_owned());
    let every = full_every.map(|every| (FULL_EVERY.to_owned(), every.to_string()));
    Some(std::iter::once(mode).chain(every).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mode: Option<&str>, every: Option<&str>) -> Result<Option<Incremental>, ModeRefusal> {
        let all = [(BACKUP_MODE, mode), (FULL_EVERY, every)];
        let all = all.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
        incremental(&ObjectMeta { annotations: Some(all.collect()), ..ObjectMeta::default() })
    }

    #[test]
    fn backups_are_full_unless_it_is_said_and_what_is_not_understood_is_refused() {
        assert_eq!(incremental(&ObjectMeta::default()), Ok(None));
        assert_eq!(said(Some("full"), Some("7")), Ok(None));
        let every = |full_every| Ok(Some(Incremental { full_every }));
        assert_eq!(said(Some("incremental"), None), every(None));
        assert_eq!(said(Some("incremental"), Some("7")), every(Some(7)));
        for (mode, full_every) in [
            (Some("differential"), None),
            (Some("incremental"), Some("0")),
            (Some("incremental"), Some("65")),
            (None, Some("weekly")),
        ] {
            assert!(said(mode, full_every).is_err(), "{mode:?} {full_every:?}");
        }
        let wanted = Some(Incremental { full_every: Some(7) });
        let metadata = ObjectMeta { annotations: annotations(wanted), ..ObjectMeta::default() };
        assert_eq!(incremental(&metadata), Ok(wanted));
        assert_eq!(annotations(None), None);
    }
}
