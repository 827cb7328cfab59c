//! Names what agents are asked for, and says what of the same kind comes first in a cluster.
//!
//! Never the same name for two attempts, or for two objects of the same name.

use super::Work;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pgherd_core::backup::course::Order;

/// The longest that a name may be, less what is added to it.
const LONGEST: usize = 230;
const OF_UID: usize = 8;

/// What an agent is asked for under.
pub(super) fn name(metadata: &ObjectMeta, attempt: u32) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let (name, uid) = (of(&metadata.name), of(&metadata.uid));
    let name = name.get(..name.floor_char_boundary(LONGEST)).unwrap_or_default();
    let uid = uid.get(..uid.floor_char_boundary(OF_UID)).unwrap_or_default();
    match attempt {
        0 | 1 => format!("{name}.{uid}"),
        _ => format!("{name}.{uid}.{attempt}"),
    }
}

/// Which attempt was noted last.
pub(super) fn attempt<E: Work>(errand: &E) -> u32 {
    let going = errand.going();
    let first = name(errand.meta(), 1);
    let noted = going.session();
    let further = noted.and_then(|noted| noted.strip_prefix(&first)?.strip_prefix('.'));
    further.and_then(|further| further.parse().ok()).unwrap_or(1)
}

/// The name of one of the same kind and cluster that comes before this one and has not ended.
pub(super) fn behind<'a, E: Work>(errand: &E, all: impl Iterator<Item = &'a E>) -> Option<&'a str> {
    let own = place(errand);
    let before = all.filter(|other| {
        let is_of_the_same = other.cluster() == errand.cluster()
            && other.meta().namespace == errand.meta().namespace
            && other.meta().uid != errand.meta().uid;
        let ends = other.unable().is_some()
            || other.meta().deletion_timestamp.is_some()
            || other.going().is_over();
        is_of_the_same && !ends && place(*other) < own
    });
    before.min_by_key(|other| place(*other))?.meta().name.as_deref()
}

fn place<E: Work>(errand: &E) -> (Order, (Option<i64>, Option<String>)) {
    let made = errand.meta().creation_timestamp.as_ref().map(|made| made.0.as_second());
    let order = if errand.going().taker().is_some() { Order::Begun } else { Order::Waits };
    (order, (made, errand.meta().name.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::status;
    use super::*;
    use crate::backup::fixtures::backup;
    use k8s_openapi::jiff::Timestamp;
    use pgherd_api::backup::Backup;

    #[test]
    fn each_attempt_has_a_name_of_its_own_and_is_known_by_it() {
        let mut one = backup("nightly", 1);
        assert_eq!(
            [1, 2].map(|it| name(&one.metadata, it)),
            ["nightly.uid-nigh", "nightly.uid-nigh.2"]
        );
        assert_eq!(attempt(&one), 1);
        let third = name(&one.metadata, 3);
        one.status = Some(status::anew((third, "lost"), Timestamp::UNIX_EPOCH));
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
