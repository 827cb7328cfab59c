//! One look at a server.

use super::rig::{LONG, Rig};
use pgherd_agent::postgres::config::{Receive, slot_of};
use pgherd_agent::postgres::probe::{Depth, ProbeError, Prober, Role};
use pgherd_agent::postgres::server::{self, Mode};
use pgherd_agent::postgres::{seal, slots};
use pgherd_core::units::Timeline;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "current_thread")]
async fn a_primary_and_its_standby_are_seen() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    let slot = slot_of("_cnpg_", &standby.settings.instance);
    let names = BTreeSet::from([slot.clone()]);
    slots::ensure(primary.acting(), &names, LONG).await.unwrap();
    slots::ensure(primary.acting(), &names, LONG).await.unwrap();
    slots::ensure(standby.acting(), &names, LONG).await.unwrap();
    primary.set(&[("max_connections", "70")]).await;
    primary.configure();
    primary.running().reload().unwrap();
    let pending = "select count(*) = 1 from pg_settings where pending_restart";
    primary.until("pending", pending).await;

    let mut prober = Prober::new(primary.site.clone());
    let seen = prober.observe(Depth::WithParameters, LONG).await.unwrap();
    let Role::Primary(role) = &seen.role else { panic!("{seen:?}") };
    assert_eq!((role.position.timeline, role.began), (Timeline(1), None));
    assert_eq!(seen.pending_restart, ["max_connections"]);
    let [sender] = seen.senders.as_slice() else { panic!("{seen:?}") };
    assert_eq!((sender.application_name.as_str(), sender.state.as_str()), ("db-2", "streaming"));
    assert!(sender.flushed.is_some() && sender.replied.is_some());
    assert_eq!(seen.slots.len(), 1);
    assert!(seen.disk_free.unwrap().0 > 0);

    let began = Instant::now();
    for _ in 0..20 {
        prober.observe(Depth::Brief, LONG).await.unwrap();
    }
    println!("one look takes {:?}", began.elapsed() / 20);

    let mut prober = Prober::new(standby.site.clone());
    let seen = prober.observe(Depth::Brief, LONG).await.unwrap();
    let Role::Standby(role) = &seen.role else { panic!("{seen:?}") };
    let receiver = role.receiver.as_ref().unwrap();
    assert_eq!((receiver.status.as_str(), receiver.from.as_deref()), ("streaming", Some("db-1")));
    assert!(role.settled);

    let lsn = role.position.lsn;
    slots::advance(standby.acting(), &slot, lsn, LONG).await.unwrap();
    slots::drop_others(standby.acting(), "_cnpg_", &BTreeSet::new(), LONG).await.unwrap();
    standby.settings.receive = Receive::FromNobody;
    seal::seal(standby.acting(), &standby.settings, LONG).await.unwrap();
    let seen = prober.observe(Depth::Brief, LONG).await.unwrap();
    assert_eq!(seen.slots, []);
    let Role::Standby(role) = &seen.role else { panic!("{seen:?}") };
    assert_eq!((role.receiver.as_ref(), role.primary_conninfo.as_str()), (None, ""));
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_stands_still_is_noticed_and_a_new_one_is_found() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let mut prober = Prober::new(primary.site.clone());
    prober.observe(Depth::Brief, LONG).await.unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().count();
    assert!(pids > 0);
    primary.freeze();
    let error = prober.observe(Depth::Brief, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Ask { .. }), "{error}");
    let error = prober.observe(Depth::Brief, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Ask { .. } | ProbeError::Connect { .. }), "{error}");
    primary.crash();
    let error = prober.observe(Depth::Brief, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Connect { .. }), "{error}");
    primary.start(Mode::Standby).await;
    let seen = prober.observe(Depth::Brief, LONG).await.unwrap();
    assert!(matches!(seen.role, Role::Standby(_)));
    server::sweep(&primary.site, LONG).await.unwrap();
}
