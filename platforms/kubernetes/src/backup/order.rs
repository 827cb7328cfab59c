//! Names what agents are asked for, and says which backup of a cluster comes first.
//!
//! Never the same name for two attempts, or for two objects of the same name.

use super::status;
use pgherd_api::backup::{Backup, BackupMethod};
use pgherd_core::backup::course::{Order, comes_before};

/// The longest that a name may be, less what is added to it.
const LONGEST: usize = 230;
const OF_UID: usize = 8;

/// What an agent is asked for under.
pub(super) fn name(backup: &Backup, attempt: u32) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let (name, uid) = (of(&backup.metadata.name), of(&backup.metadata.uid));
    let name = name.get(..name.floor_char_boundary(LONGEST)).unwrap_or_default();
    let uid = uid.get(..uid.floor_char_boundary(OF_UID)).unwrap_or_default();
    match attempt {
        0 | 1 => format!("{name}.{uid}"),
        _ => format!("{name}.{uid}.{attempt}"),
    }
}

/// Which attempt was noted last.
pub(super) fn attempt(backup: &Backup) -> u32 {
    let noted = || backup.status.as_ref()?.instance_id.as_ref()?.session_id.as_ref();
    let first = name(backup, 1);
    let further = noted().and_then(|noted| noted.strip_prefix(&first)?.strip_prefix('.'));
    further.and_then(|further| further.parse().ok()).unwrap_or(1)
}

/// The name of a backup of the same cluster that comes before this one and has not ended.
pub(super) fn behind<'a>(
    backup: &Backup,
    all: impl Iterator<Item = &'a Backup>,
) -> Option<&'a str> {
    let own = place(backup);
    let before = all.filter(|other| {
        let is_of_the_same = other.spec.cluster == backup.spec.cluster
            && other.metadata.namespace == backup.metadata.namespace
            && other.metadata.uid != backup.metadata.uid;
        let ends = other.spec.method != BackupMethod::BarmanObjectStore
            || other.metadata.deletion_timestamp.is_some()
            || other.status.as_ref().is_some_and(status::is_over);
        is_of_the_same && !ends && comes_before(place(other), own.clone())
    });
    before.min_by_key(|other| place(other))?.metadata.name.as_deref()
}

fn place(backup: &Backup) -> (Order, (Option<i64>, Option<String>)) {
    let has_begun = backup.status.as_ref().is_some_and(|it| status::taker(it).is_some());
    let made = backup.metadata.creation_timestamp.as_ref().map(|made| made.0.as_second());
    let order = if has_begun { Order::Begun } else { Order::Waits };
    (order, (made, backup.metadata.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::backup;
    use super::*;
    use pgherd_api::backup::BackupStatus;

    #[test]
    fn each_attempt_has_a_name_of_its_own_and_is_known_by_it() {
        let mut one = backup("nightly", 1);
        assert_eq!([1, 2].map(|it| name(&one, it)), ["nightly.uid-nigh", "nightly.uid-nigh.2"]);
        assert_eq!(attempt(&one), 1);
        one.status = Some(status::anew(BackupStatus::default(), name(&one, 3), "lost"));
        assert_eq!(attempt(&one), 3);
    }

    #[test]
    fn one_waits_for_those_that_began_or_were_asked_for_before() {
        let mut all = [backup("a", 1), backup("b", 1), backup("c", 2)];
        let told = |all: &[Backup; 3]| {
            let behind = |one| behind(one, all.iter()).unwrap_or("-");
            [behind(&all[0]), behind(&all[1]), behind(&all[2])].join(" ")
        };
        assert_eq!(told(&all), "- a a");
        let status = all[2].status.get_or_insert_default();
        status.instance_id.get_or_insert_default().pod_name = Some("db-1".to_owned());
        assert_eq!(told(&all), "c c -");
        all[2].status.get_or_insert_default().phase = Some("completed".to_owned());
        assert_eq!(told(&all), "- a -");
        all[1].spec.cluster.name = "other".to_owned();
        assert_eq!(told(&all), "- - -");
    }
}
