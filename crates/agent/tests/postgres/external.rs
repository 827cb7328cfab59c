//! New clusters that begin as a copy of a server outside of them.

use super::rig::{APPLICATION_PASSWORD, Instance, LONG, REPLICATION_PASSWORD, Rig};
use pgherd_agent::postgres::config::{Password, Transport};
use pgherd_agent::postgres::control::State;
use pgherd_agent::postgres::external::{self, ExternalError, NewCopy, Patience, Source};
use pgherd_agent::postgres::initdb::Application;
use pgherd_agent::postgres::scram::Verifier;
use pgherd_agent::postgres::server::Mode;
use pgherd_agent::process::tree::Reaper;
use std::collections::BTreeMap;

const THEIR_PASSWORD: &str = r"th'eirs:\ ";

/// How whoever may copy `source` reaches it.
fn reach(source: &Instance) -> Source {
    let mut parameters = BTreeMap::from([
        ("host", "127.0.0.1".to_owned()),
        ("port", source.site.port.to_string()),
        ("user", "streaming_replica".to_owned()),
    ]);
    match &source.settings.transport {
        Transport::Tls(files) => parameters.extend([
            ("sslmode", "verify-ca".to_owned()),
            ("sslcert", files.client_certificate.display().to_string()),
            ("sslkey", files.client_key.display().to_string()),
            ("sslrootcert", files.servers_authority.display().to_string()),
        ]),
        Transport::Plain => parameters.extend([("sslmode", "disable".to_owned())]),
    }
    let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value));
    Source { parameters: parameters.collect(), password: Some(Password(THEIR_PASSWORD.to_owned())) }
}

fn new_copy(source: &Instance) -> NewCopy {
    NewCopy {
        source: reach(source),
        replication_password: Verifier::of(REPLICATION_PASSWORD),
        application: Application {
            database: "app".to_owned(),
            owner: "shop".to_owned(),
            password: Verifier::of(APPLICATION_PASSWORD),
            statements: Vec::new(),
        },
    }
}

async fn create(instance: &Instance, new: &NewCopy) -> Result<State, ExternalError> {
    let patience = Patience { ask: LONG, copy: LONG, start: LONG, stop: LONG };
    let (site, settings) = (&instance.site, &instance.settings);
    let created = external::create(site, new, settings, patience, &mut |_| ()).await;
    created.map(|control| control.state)
}

fn nothing_is_left_of(instance: &Instance) {
    assert!(!instance.site.staging().exists());
    assert!(!instance.site.external_passfile().exists());
    assert_eq!(Reaper::new(&instance.site.staging()).unwrap().count().unwrap(), 0);
}

/// A server with data, with limits that are higher than ours, and with passwords of its own.
async fn origin(rig: &Rig) -> Instance {
    let mut source = rig.stopped("origin-1").await;
    source.set(&[("max_connections", "150"), ("max_worker_processes", "20")]).await;
    source.start(Mode::ReadWrite).await;
    let password = r"'th''eirs:\ ' valid until '2100-01-01'";
    source.run(&format!("alter role streaming_replica password {password}")).await;
    source.run("alter role postgres password 'theirs'").await;
    source.run("create table t as select generate_series(1, 1000) n").await;
    source
}

#[tokio::test(flavor = "current_thread")]
async fn a_copy_has_the_data_and_roles_of_its_own() {
    let rig = Rig::new();
    let source = origin(&rig).await;
    let mut copy = rig.instance("db-1");
    // What an interrupted attempt left is no obstacle.
    std::fs::create_dir_all(copy.site.staging().join("base")).unwrap();
    assert_eq!(create(&copy, &new_copy(&source)).await.unwrap(), State::ShutDown);
    nothing_is_left_of(&copy);

    copy.start(Mode::ReadWrite).await;
    assert_eq!(copy.sql("select count(*) from t").await, "1000");
    let timeline = "select timeline_id from pg_control_checkpoint()";
    assert_eq!((source.sql(timeline).await, copy.sql(timeline).await), ("1".into(), "2".into()));
    let identity = "select system_identifier from pg_control_system()";
    assert_eq!(source.sql(identity).await, copy.sql(identity).await);
    let superuser = "select rolpassword is null from pg_authid where rolname = 'postgres'";
    assert_eq!((source.sql(superuser).await, copy.sql(superuser).await), ("f".into(), "t".into()));
    let owner = "select datdba::regrole from pg_database where datname = 'app'";
    assert_eq!(copy.sql(owner).await, "shop");
    assert_eq!(copy.sql("show max_connections").await, "100");
    let said = copy.psql("shop", APPLICATION_PASSWORD, "select 1");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "1\n", "{said:?}");
    let log = std::fs::read_to_string(copy.site.log()).unwrap();
    assert!(!log.contains("SCRAM-SHA-256"), "{log}");

    // A standby comes in with the new password, and both go on without the source.
    copy.run("insert into t values (1001)").await;
    let standby = rig.copy_of("db-2", &copy).await;
    standby.until_caught_up(&copy).await;
    assert_eq!(standby.sql("select count(*) from t").await, "1001");
    assert_eq!(source.sql("select count(*) from t").await, "1000");
}

#[tokio::test(flavor = "current_thread")]
async fn a_standby_can_be_copied_too() {
    let rig = Rig::new();
    let primary = rig.primary("origin-1").await;
    primary.run("create table t as select generate_series(1, 1000) n").await;
    let standby = rig.copy_of("origin-2", &primary).await;
    standby.until_caught_up(&primary).await;
    let mut copy = rig.instance("db-1");
    let mut new = new_copy(&standby);
    new.source.password = Some(Password(REPLICATION_PASSWORD.to_owned()));
    create(&copy, &new).await.unwrap();
    copy.start(Mode::ReadWrite).await;
    assert_eq!(copy.sql("select count(*) from t").await, "1000");
    assert_eq!(copy.sql("select pg_is_in_recovery()").await, "f");
}

#[tokio::test(flavor = "current_thread")]
async fn a_source_that_lets_nobody_in_is_named_and_nothing_is_left() {
    let rig = Rig::new();
    let source = origin(&rig).await;
    let copy = rig.instance("db-1");
    let mut new = new_copy(&source);
    new.source.password = Some(Password("wrong".to_owned()));
    let error = create(&copy, &new).await.unwrap_err();
    let ExternalError::Ask { source: said } = &error else { panic!("{error:?}") };
    let complaint = said.complaint().unwrap();
    assert!(complaint.contains("password authentication failed"), "{complaint}");
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    nothing_is_left_of(&copy);
    assert!(!copy.site.data.exists());

    source.crash();
    let error = create(&copy, &new_copy(&source)).await.unwrap_err();
    let ExternalError::Ask { source: said } = &error else { panic!("{error:?}") };
    assert!(said.complaint().unwrap().contains("refused"), "{error:?}");
    nothing_is_left_of(&copy);
}
