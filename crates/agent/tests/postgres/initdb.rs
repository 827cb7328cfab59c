//! Making a new cluster.

use super::rig::{APPLICATION_PASSWORD, LONG, Rig, new_cluster, statements};
use pgherd_agent::postgres::control::State;
use pgherd_agent::postgres::initdb::{self, InitError, Patience};
use pgherd_agent::postgres::server::Mode;
use pgherd_agent::process::tree::Reaper;

#[tokio::test(flavor = "current_thread")]
async fn a_new_cluster_has_roles_databases_and_no_secret_in_its_log() {
    let rig = Rig::new();
    let mut instance = rig.instance("db-1");
    // What an interrupted attempt left is no obstacle.
    std::fs::create_dir_all(instance.site.staging().join("base")).unwrap();
    let new = new_cluster();
    let control = initdb::create(&instance.site, &new, &instance.settings, Patience::default())
        .await
        .unwrap();
    assert_eq!(control.state, State::ShutDown);
    assert!(!instance.site.staging().exists());

    instance.start(Mode::ReadWrite).await;
    let roles = "select string_agg(rolname, ' ' order by rolname) from pg_roles \
                 where rolname !~ '^pg_'";
    assert_eq!(instance.sql(roles).await, "app extra postgres streaming_replica");
    assert_eq!(instance.sql("show data_checksums").await, "on");
    let said = instance.psql("app", APPLICATION_PASSWORD, "select count(*) from made, everywhere");
    // The database has what the template has, and that belongs to the superuser.
    assert!(
        String::from_utf8_lossy(&said.stderr).contains("denied for table everywhere"),
        "{said:?}"
    );
    let said = instance.psql("app", APPLICATION_PASSWORD, "select count(*) from made");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "0\n", "{said:?}");
    let said = instance.psql("app", "wrong", "select 1");
    assert!(!said.status.success());
    let log = std::fs::read_to_string(instance.site.log()).unwrap();
    assert!(!log.contains("SCRAM-SHA-256"), "{log}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_users_wrong_statement_is_named_and_nothing_is_left() {
    let rig = Rig::new();
    let instance = rig.instance("db-1");
    let mut new = new_cluster();
    new.statements = statements(&["select 1", "selec 2"]);
    let error = initdb::create(&instance.site, &new, &instance.settings, Patience::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "running statement 2 of the list: correct it there");
    let InitError::RunStatement { source, .. } = &error else { panic!("{error}") };
    let said = source.server_error().unwrap().message();
    assert_eq!(said, "syntax error at or near \"selec\"");
    assert!(!instance.site.data.exists());
    assert_eq!(Reaper::new(&instance.site.staging()).unwrap().count().unwrap(), 0);
    Reaper::new(&instance.site.staging()).unwrap().kill(None, LONG).unwrap();
}
