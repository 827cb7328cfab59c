//! The thread that kills PostgreSQL when its time is over.

use super::rig::{LONG, Rig};
use pgherd_agent::postgres::server::Stop;
use pgherd_agent::process::clock;
use pgherd_agent::process::fence::{Cause, Fence, FenceError, State, TICK};
use pgherd_agent::process::tree::Reaper;
use pgherd_core::units::Epoch;
use std::time::Duration;

#[tokio::test(flavor = "current_thread")]
async fn it_kills_when_the_time_is_over_and_not_before() {
    let rig = Rig::new();
    let instance = rig.primary("db-1").await;
    let fence = Fence::start(&instance.site.data, TICK).unwrap();
    fence.watch(Some(instance.running().pid()));
    let until = clock::now().after(Duration::from_millis(200));
    fence.arm(Epoch(3), until).unwrap();
    let until = until.after(Duration::from_millis(200));
    fence.extend(Epoch(3), until).unwrap();
    assert_eq!(fence.extend(Epoch(4), until), Err(FenceError::NotArmed { epoch: Epoch(4) }));

    let fenced = tokio::time::timeout(LONG, fence.fenced()).await.unwrap();
    println!("late by {:?}, took {:?}", fenced.began.since(until), fenced.at.since(fenced.began));
    assert_eq!((fenced.epoch, fenced.cause), (Epoch(3), Cause::Expired));
    assert!(fenced.began >= until);
    assert_eq!(Reaper::new(&instance.site.data).unwrap().count().unwrap(), 0);
    assert_eq!(fence.extend(Epoch(3), until), Err(FenceError::TooLate { epoch: Epoch(3) }));
    assert_eq!(fence.state(), State::Fenced(fenced));
    // The next epoch begins anew.
    fence.arm(Epoch(4), clock::now().after(LONG)).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn it_kills_at_once_when_asked_also_when_nothing_is_armed() {
    let rig = Rig::new();
    let instance = rig.primary("db-1").await;
    // It would look around by itself only long after this test has given up.
    let fence = Fence::start(&instance.site.data, LONG * 2).unwrap();
    fence.watch(Some(instance.running().pid()));
    let asked = clock::now();
    fence.fire_now();
    let fenced = tokio::time::timeout(LONG, fence.fenced()).await.unwrap();
    println!("fenced {:?} after it was asked", fenced.at.since(asked));
    assert_eq!(fenced.cause, Cause::Asked);
    assert_eq!(Reaper::new(&instance.site.data).unwrap().count().unwrap(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_clean_stop_disarms_it() {
    let rig = Rig::new();
    let instance = rig.primary("db-1").await;
    let fence = Fence::start(&instance.site.data, TICK).unwrap();
    fence.watch(Some(instance.running().pid()));
    fence.arm(Epoch(3), clock::now().after(LONG)).unwrap();
    let dead = instance.running().stop(&instance.site, Stop::Fast, LONG).await.unwrap();
    assert_eq!(fence.disarm(Epoch(2), dead), Err(FenceError::NotArmed { epoch: Epoch(2) }));
    fence.disarm(Epoch(3), dead).unwrap();
    assert_eq!(fence.state(), State::Disarmed);
    let ticked = fence.ticked_at();
    let began = std::time::Instant::now();
    while fence.ticked_at() == ticked && began.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(fence.ticked_at() > ticked);
    println!("{:?}", fence.privileges());
}
