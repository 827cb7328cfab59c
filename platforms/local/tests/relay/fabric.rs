//! A cluster's network: who reaches whom after which disturbance.
//!
//! Never describes a partition by relay: by parties only, as people do.

use super::fixtures::*;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_local::relay::Flow;
use pgherd_local::relay::fabric::{Fabric, Party, Reach, Route, Service};
use std::time::Duration;
use tokio::net::TcpListener;

fn name(serial: u32) -> InstanceName {
    InstanceName::new(&ClusterName::parse("db").unwrap(), serial)
}

fn party(serial: u32) -> Party {
    Party::Instance(name(serial))
}

fn between(from: u32, to: u32) -> Route {
    Route::Between { from: name(from), to: name(to), service: Service::Agent }
}

/// Nobody listens at the targets: what counts here is the state of the ways.
fn fabric(instances: u32) -> Fabric {
    let mut fabric = Fabric::default();
    for serial in 1..=instances {
        join(&mut fabric, serial, instances);
    }
    fabric
}

fn join(fabric: &mut Fabric, serial: u32, instances: u32) {
    let mut routes =
        vec![Route::ToRecord { from: name(serial) }, Route::FromClients { to: name(serial) }];
    for other in (1..=instances).filter(|other| *other != serial) {
        routes.push(between(serial, other));
        routes.push(between(other, serial));
    }
    for route in routes {
        fabric.open(route, ANYWHERE, ANYWHERE).unwrap();
    }
}

fn disturbed(fabric: &Fabric) -> String {
    let lines = fabric.disturbances().into_iter();
    let lines = lines.map(|link| format!("{} -> {}: {}", link.from, link.to, link.flow));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_one_way_cut_holds_what_one_says_whoever_dialled() {
    let (first, second) =
        (TcpListener::bind(ANYWHERE).await.unwrap(), TcpListener::bind(ANYWHERE).await.unwrap());
    let mut fabric = Fabric::default();
    let there = fabric.open(between(1, 2), ANYWHERE, second.local_addr().unwrap()).unwrap();
    let back = fabric.open(between(2, 1), ANYWHERE, first.local_addr().unwrap()).unwrap();
    assert_eq!(fabric.address(&between(1, 2)), Some(there));
    let mut asking_1 = dial(there).await;
    let mut asked_2 = soon("a dial", second.accept()).await.unwrap().0;
    let mut asking_2 = dial(back).await;
    let mut asked_1 = soon("a dial", first.accept()).await.unwrap().0;

    fabric.cut(&party(1), &party(2));
    say(&mut asking_1, "question of 1").await;
    say(&mut asked_1, "answer of 1").await;
    say(&mut asking_2, "question of 2").await;
    say(&mut asked_2, "answer of 2").await;
    hear(&mut asked_1, "question of 2").await;
    hear(&mut asking_1, "answer of 2").await;
    hears_nothing(&mut asked_2).await;
    hears_nothing(&mut asking_2).await;

    fabric.heal(&party(1), &party(2));
    hear(&mut asked_2, "question of 1").await;
    hear(&mut asking_2, "answer of 1").await;
    assert_eq!(fabric.ways().iter().map(|way| way.connections).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn disturbances_are_told_by_party_and_healed_by_party() {
    let mut fabric = fabric(3);
    assert_eq!(disturbed(&fabric), "");
    fabric.cut(&party(1), &party(2));
    fabric.cut_both(&party(3), &Party::Record);
    fabric.delay(&party(2), &party(3), Duration::from_millis(40));
    fabric.set(&Party::Clients, &party(1), Flow::Reset);
    expect_test::expect![[r"
        db-1 -> db-2: cut
        db-2 -> db-3: delay of 40ms
        db-3 -> record: cut
        record -> db-3: cut
        clients -> db-1: reset"]]
    .assert_eq(&disturbed(&fabric));
    fabric.heal(&party(2), &party(1));
    fabric.heal_instance(&name(3));
    expect_test::expect!["clients -> db-1: reset"].assert_eq(&disturbed(&fabric));
    fabric.heal_all();
    assert_eq!(disturbed(&fabric), "");
}

#[tokio::test]
async fn isolation_holds_for_who_comes_later_and_outlives_other_healing() {
    let mut fabric = fabric(2);
    fabric.isolate(&name(1), Reach::Cluster);
    expect_test::expect![[r"
        db-1 -> db-2: cut
        db-1 -> record: cut
        db-2 -> db-1: cut
        record -> db-1: cut"]]
    .assert_eq(&disturbed(&fabric));
    fabric.cut(&party(1), &party(2));
    fabric.heal(&party(1), &party(2));
    join(&mut fabric, 3, 3);
    expect_test::expect![[r"
        db-1 -> db-2: cut
        db-1 -> db-3: cut
        db-1 -> record: cut
        db-2 -> db-1: cut
        db-3 -> db-1: cut
        record -> db-1: cut"]]
    .assert_eq(&disturbed(&fabric));
    fabric.isolate(&name(1), Reach::Everybody);
    expect_test::expect![[r"
        db-1 -> db-2: cut
        db-1 -> db-3: cut
        db-1 -> record: cut
        db-1 -> clients: cut
        db-2 -> db-1: cut
        db-3 -> db-1: cut
        record -> db-1: cut
        clients -> db-1: cut"]]
    .assert_eq(&disturbed(&fabric));
    fabric.heal_instance(&name(1));
    assert_eq!(disturbed(&fabric), "");
}

#[tokio::test]
async fn a_removed_instance_takes_its_ways_along() {
    let mut fabric = fabric(3);
    fabric.cut_both(&party(3), &party(1));
    fabric.cut(&party(1), &party(2));
    fabric.remove(&name(3));
    assert_eq!(disturbed(&fabric), "db-1 -> db-2: cut");
    let ways: Vec<String> = fabric.ways().into_iter().map(|way| way.route).collect();
    expect_test::expect![[r"
        db-1 to db-2 (agent)
        db-2 to db-1 (agent)
        db-1 to record
        db-2 to record
        clients to db-1
        clients to db-2"]]
    .assert_eq(&ways.join("\n"));
    // One that comes back under the name starts undisturbed.
    join(&mut fabric, 3, 3);
    assert_eq!(disturbed(&fabric), "db-1 -> db-2: cut");
}

#[tokio::test]
async fn states_are_written_as_json() {
    let mut fabric = Fabric::default();
    fabric.open(between(1, 2), ANYWHERE, ANYWHERE).unwrap();
    fabric.delay(&party(2), &party(1), Duration::from_millis(40));
    fabric.cut(&party(1), &party(2));
    let written = serde_json::to_string_pretty(&fabric.disturbances()).unwrap();
    expect_test::expect![[r#"
        [
          {
            "from": "db-1",
            "to": "db-2",
            "flow": "cut"
          },
          {
            "from": "db-2",
            "to": "db-1",
            "flow": "delay of 40ms"
          }
        ]"#]]
    .assert_eq(&written);
}
