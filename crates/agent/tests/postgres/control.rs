//! pg_control as we read it and as pg_controldata reads it.

use super::rig::{LONG, Rig, run};
use pgherd_agent::postgres::control::{self, ControlError, State};
use pgherd_agent::postgres::server::{Mode, Stop};

#[tokio::test(flavor = "current_thread")]
async fn it_says_what_pg_controldata_says() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    primary.run("create table t (n int)").await;
    compare(&primary);
    compare(&standby);
    primary.running().stop(&primary.site, Stop::Immediate, LONG).await.unwrap();
    compare(&primary);
    standby.running().stop(&standby.site, Stop::Fast, LONG).await.unwrap();
    compare(&standby);
    let control = control::read_file(&standby.site.data).unwrap();
    assert_eq!(control.state, State::ShutDownInRecovery);
    assert_eq!(control.page_checksums, control::Setting::On);
    assert_eq!(control.wal_log_hints, control::Setting::On);
    standby.start(Mode::Standby).await;
    compare(&standby);
}

fn compare(instance: &super::rig::Instance) {
    let control = control::read_file(&instance.site.data).unwrap();
    let said = run(instance.program("pg_controldata").arg(&instance.site.data));
    let reported = control::parse_report(&said).unwrap();
    assert_eq!(control, reported);
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_file_is_not_believed() {
    let rig = Rig::new();
    let instance = rig.stopped("db-1").await;
    let path = instance.site.data.join("global/pg_control");
    let mut content = std::fs::read(&path).unwrap();
    content[40] ^= 1;
    std::fs::write(&path, &content).unwrap();
    let error = control::read_file(&instance.site.data).unwrap_err();
    assert!(matches!(error, ControlError::VerifyControlFile { .. }), "{error}");
}
