//! What is decided about instances in each state: words in, steps and verdict out.
//!
//! Never about a platform.

use super::rollout::Whose;
use super::*;
use crate::names::ClusterName;
use crate::record::{Holder, WriteId};
use crate::units::{SystemId, Timeline};
use expect_test::{Expect, expect};

/// Words such as `1:ready* 2:absent/absent 3!:going`: the number, its pod, and after a slash its
/// volumes (there, if not said); `!` for outdated, `*` for the holder, `-` for leaving.
fn check(words: &str, expected: &Expect) {
    check_as(words, (Shall::Run, Pace::FREE), expected);
}

fn check_as(words: &str, (shall, pace): (Shall, Pace<'_>), expected: &Expect) {
    let cluster = ClusterName::parse("db").unwrap();
    let (mut wishes, mut places, mut record) = (Wishes::default(), BTreeMap::new(), None);
    let mut members = std::collections::BTreeSet::new();
    for word in words.split_whitespace() {
        let (who, what) = word.split_once(':').unwrap();
        let serial: u32 = who.trim_matches(['!', '-', '+']).parse().unwrap();
        let name = InstanceName::new(&cluster, serial);
        let wish = if who.contains('-') { Wish::Leaving } else { Wish::Running };
        wishes.instances.insert(name.clone(), wish);
        if what.ends_with('*') {
            let holder = Holder { instance: name.clone(), volume: 1, incarnation: 1 };
            let (made, written) = (Timeline(1), WriteId::default());
            record = Some(Record::first(holder, SystemId(7), made, written));
        }
        if who.contains('+') {
            members.insert(name.clone());
        }
        let (pod, volumes) = what
            .trim_end_matches('*')
            .split_once('/')
            .unwrap_or((what.trim_end_matches('*'), "there"));
        let place = Place {
            pod: match pod {
                "absent" => Pod::Absent,
                "unready" => Pod::Unready,
                "ready" => Pod::Ready,
                "ended" => Pod::Ended,
                "going" => Pod::Going,
                other => panic!("{other}"),
            },
            volumes: match volumes {
                "absent" => Volumes::Absent,
                "partial" => Volumes::Partial,
                "there" => Volumes::There,
                "going" => Volumes::Going,
                other => panic!("{other}"),
            },
            form: if who.contains('!') { Form::Outdated } else { Form::Wanted },
        };
        places.insert(name, place);
    }
    if let Some(record) = &mut record {
        record.members.extend(members);
    }
    let lines = [PrimaryUpdate::Unsupervised, PrimaryUpdate::Supervised].map(|primary_update| {
        let sight = Sight {
            wishes: &wishes,
            shall,
            record: record.as_ref(),
            places: &places,
            primary_update,
            pace,
        };
        let plan = plan(&sight);
        let steps: Vec<String> = plan.steps.iter().map(told).collect();
        format!("{}: {}", steps.join(", "), spoken(&plan.verdict))
    });
    let [alone, supervised] = lines;
    let same = alone == supervised;
    let all = if same { alone } else { format!("{alone}\nsupervised {supervised}") };
    expected.assert_eq(&all);
}

fn told(step: &Step) -> String {
    match step {
        Step::MakeVolumes(name) => format!("volumes of {name}"),
        Step::MakePod(name) => format!("pod of {name}"),
        Step::EndPod { instance, because } => format!("end {instance} since {because}"),
        Step::RemoveVolumes(name) => format!("remove volumes of {name}"),
        Step::Forget(name) => format!("forget {name}"),
    }
}

fn spoken(verdict: &Verdict) -> String {
    format!("{verdict:?}").replace("InstanceName { cluster: ClusterName(\"db\"), serial: ", "{")
}

#[test]
fn the_first_makes_the_cluster_and_the_others_copy_it() {
    check(
        "1:absent/absent 2:absent/absent 3:absent/absent",
        &expect!["volumes of db-1, pod of db-1: SettingUp { first: {1 } }"],
    );
    check("1:unready 2:absent/absent 3:absent/absent", &expect![": SettingUp { first: {1 } }"]);
    check(
        "1:ready* 2:absent/absent 3:absent/absent",
        &expect![
            "volumes of db-2, pod of db-2, volumes of db-3, pod of db-3: Creating { instances: [{2 }, {3 }] }"
        ],
    );
    check("1:ready* 2:unready 3:unready", &expect![": Creating { instances: [{2 }, {3 }] }"]);
    check("1:ready* 2+:ready 3+:ready", &expect![": Healthy"]);
}

#[test]
fn what_is_lost_is_made_again() {
    check("1:absent* 2+:ready 3+:ready", &expect!["pod of db-1: WithoutPrimary { holder: {1 } }"]);
    check(
        "1:ready* 2+:ended 3+:absent/absent",
        &expect![
            "end db-2 since its pod has ended, volumes of db-3, pod of db-3: Waiting { instances: [{2 }, {3 }] }"
        ],
    );
    check("1:ready* 2+:absent/going 3+:going", &expect![": Waiting { instances: [{2 }, {3 }] }"]);
    check("1+:unready 2:ready* 3+:ready", &expect![": Waiting { instances: [{1 }] }"]);
    check(
        "1:ready* 2+:absent/partial",
        &expect!["volumes of db-2, pod of db-2: Waiting { instances: [{2 }] }"],
    );
}

#[test]
fn who_leaves_is_removed_once_nobody_counts_on_it() {
    check("1:ready* 2+:ready 3-+:ready", &expect![": Removing { instances: [{3 }] }"]);
    check(
        "1:ready* 2+:ready 3-:ready",
        &expect![
            "end db-3 since the cluster has fewer instances now: Removing { instances: [{3 }] }"
        ],
    );
    check("1:ready* 2+:ready 3-:going", &expect![": Removing { instances: [{3 }] }"]);
    check(
        "1:ready* 2+:ready 3-:absent",
        &expect!["remove volumes of db-3: Removing { instances: [{3 }] }"],
    );
    check(
        "1:ready* 2+:ready 3-:absent/partial",
        &expect!["remove volumes of db-3: Removing { instances: [{3 }] }"],
    );
    check("1:ready* 2+:ready 3-:absent/going", &expect![": Removing { instances: [{3 }] }"]);
    check(
        "1:ready* 2+:ready 3-:absent/absent",
        &expect!["forget db-3: Removing { instances: [{3 }] }"],
    );
}

#[test]
fn outdated_pods_are_replaced_one_by_one_and_the_primary_last() {
    check(
        "1!:ready* 2!+:ready 3!+:ready",
        &expect![
            "end db-3 since its pod is not as it would be made now: Updating { instance: {3 }, left: 2 }"
        ],
    );
    check("1!:ready* 2!+:ready 3+:going", &expect![": Waiting { instances: [{3 }] }"]);
    check("1!:ready* 2!+:ready 3+:unready", &expect![": Waiting { instances: [{3 }] }"]);
    check(
        "1!:ready* 2!+:unready 3!+:ready",
        &expect![
            "end db-2 since its pod is not as it would be made now: Updating { instance: {2 }, left: 2 }"
        ],
    );
    check(
        "1!:ready* 2+:ready 3+:ready",
        &expect![[r#"
        end db-1 since its pod is not as it would be made now: Updating { instance: {1 }, left: 0 }
        supervised : UserHasToSwitchOver { primary: {1 } }"#]],
    );
    check(
        "1!:ready*",
        &expect![[r#"
        end db-1 since its pod is not as it would be made now: Updating { instance: {1 }, left: 0 }
        supervised : UserHasToSwitchOver { primary: {1 } }"#]],
    );
    check(
        "1!:unready",
        &expect![
            "end db-1 since its pod is not as it would be made now: SettingUp { first: {1 } }"
        ],
    );
}

#[test]
fn what_works_is_replaced_when_its_time_has_come() {
    let last = Some((Whose::AnotherClusters, Duration::from_secs(20)));
    let pace = Pace { last, between_clusters: Duration::from_mins(1), ..Pace::FREE };
    let later = (Shall::Run, pace);
    check_as(
        "1!:ready* 2!+:ready 3+:ready",
        later,
        &expect![": Delayed { instance: {2 }, left: 40s }"],
    );
    check_as(
        "1!:ready* 2+:ready 3+:ready",
        later,
        &expect![[r#"
        : Delayed { instance: {1 }, left: 40s }
        supervised : UserHasToSwitchOver { primary: {1 } }"#]],
    );
    check_as(
        "1!:ready* 2!+:unready 3+:ready",
        later,
        &expect![
            "end db-2 since its pod is not as it would be made now: Updating { instance: {2 }, left: 1 }"
        ],
    );
    check_as(
        "1:ready* 2+:ready 3+:ended",
        later,
        &expect!["end db-3 since its pod has ended: Waiting { instances: [{3 }] }"],
    );
}

#[test]
fn a_cluster_that_rests_has_no_pods() {
    check_as(
        "1:ready* 2+:unready 3+:ended",
        (Shall::Rest, Pace::FREE),
        &expect![
            "end db-1 since the cluster rests, end db-2 since the cluster rests, end db-3 since the cluster rests: Resting"
        ],
    );
    let rest = (Shall::Rest, Pace::FREE);
    check_as("1:going* 2+:absent 3+:absent", rest, &expect![": Resting"]);
}

#[test]
fn nobody_is_replaced_while_another_one_leaves() {
    check("1!:ready* 2!+:ready 3-+:ready", &expect![": Removing { instances: [{3 }] }"]);
    check(
        "1!:ready* 2!+:unready 3-+:ready",
        &expect![
            "end db-2 since its pod is not as it would be made now: Updating { instance: {2 }, left: 1 }"
        ],
    );
    check(
        "1!:ready* 2!+:ready",
        &expect![
            "end db-2 since its pod is not as it would be made now: Updating { instance: {2 }, left: 1 }"
        ],
    );
}
