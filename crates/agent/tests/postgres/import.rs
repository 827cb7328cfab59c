//! New clusters that begin with databases of a server outside of them.

use super::rig::{APPLICATION_PASSWORD, Instance, LONG, Rig, new_cluster, statements};
use pgherd_agent::postgres::config::{Password, Transport};
use pgherd_agent::postgres::external::Source;
use pgherd_agent::postgres::import::{Import, ImportError};
use pgherd_agent::postgres::initdb::{self, InitError, NewCluster, Patience};
use pgherd_agent::postgres::server::Mode;
use pgherd_agent::postgres::session::Session;
use pgherd_agent::process::tree::Reaper;
use pgherd_api::agent::{ExternalServer, ImportChoice, ImportSpec, ImportWhat};
use std::collections::BTreeMap;
use std::error::Error;

/// Rows, an index, a view and a function in a database, all of which belong to this role.
const FILL: &str = "create table stock (id int primary key, name text); \
    insert into stock select n, md5(n::text) from generate_series(1, 5000) n; \
    create index stock_name on stock (name); \
    create view many as select count(*) from stock; \
    grant select on stock to public";
const SUM: &str = "select count(*) || md5(string_agg(stock::text, ',' order by id)) from stock";
const OWNERS: &str = "select string_agg(distinct pg_get_userbyid(relowner), ' ') from pg_class \
    where relname ~ '^(stock|many)'";

async fn origin(rig: &Rig) -> Instance {
    let source = rig.primary("origin-1").await;
    source.run("create role clerk superuser login password 'ledger'").await;
    source.run("create role other; grant other to clerk").await;
    source.run("create database sales owner clerk").await;
    for (database, role) in [("app", "app"), ("sales", "clerk")] {
        let mut session = session(&source, database).await;
        session.run("drop table if exists everywhere", LONG).await.unwrap();
        session
            .run(&format!("grant create on schema public to {role}; set role {role}"), LONG)
            .await
            .unwrap();
        session.run(FILL, LONG).await.unwrap();
    }
    source
}

async fn session(instance: &Instance, database: &str) -> Session {
    Session::open_for_users(&instance.site, database, LONG).await.unwrap()
}

async fn value(instance: &Instance, database: &str, sql: &str) -> String {
    session(instance, database).await.value(sql, LONG).await.unwrap()
}

fn import(parameters: &[(&str, String)], password: Option<&str>, what: ImportWhat) -> Import {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let parameters: BTreeMap<String, String> = parameters.collect();
    let server = ExternalServer {
        name: "origin".to_owned(),
        parameters: parameters.clone(),
        files: [].into(),
    };
    Import {
        spec: ImportSpec {
            server,
            what,
            schema_only: false,
            dump_options: vec!["--jobs=2".to_owned()],
            restore_options: Vec::new(),
            predata_options: Vec::new(),
            data_options: vec!["--jobs=2".to_owned()],
            postdata_options: Vec::new(),
        },
        source: Source { parameters, password: password.map(|it| Password(it.to_owned())) },
    }
}

/// As the application, over the network.
fn application(source: &Instance, what: ImportWhat) -> Import {
    let mut parameters = vec![
        ("host", "127.0.0.1".to_owned()),
        ("port", source.site.port.to_string()),
        ("user", "app".to_owned()),
        ("dbname", "app".to_owned()),
    ];
    parameters.push(match &source.settings.transport {
        Transport::Tls(_) => ("sslmode", "require".to_owned()),
        Transport::Plain => ("sslmode", "disable".to_owned()),
    });
    import(&parameters, Some(APPLICATION_PASSWORD), what)
}

/// As the superuser.
fn superuser(source: &Instance, what: ImportWhat) -> Import {
    let parameters = [
        ("host", source.site.sockets.display().to_string()),
        ("port", source.site.port.to_string()),
        ("user", "postgres".to_owned()),
        ("dbname", "postgres".to_owned()),
    ];
    import(&parameters, None, what)
}

async fn create(instance: &Instance, import: Import) -> Result<(), InitError> {
    let mut new = NewCluster { import: Some(import), template_statements: vec![], ..new_cluster() };
    new.application.owner = "shop".to_owned();
    new.statements.clear();
    new.application.statements = statements(&["create table before ()"]);
    let made = initdb::create(&instance.site, &new, &instance.settings, Patience::default()).await;
    made.map(drop)
}

fn nothing_is_left_of(instance: &Instance) {
    assert!(!instance.site.external_passfile().exists());
    assert!(!instance.site.base.join("scratch/import/dump").exists());
    assert_eq!(Reaper::new(&instance.site.staging()).unwrap().count().unwrap(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn one_database_comes_into_the_applications() {
    let rig = Rig::new();
    let source = origin(&rig).await;
    let mut instance = rig.instance("db-1");
    let statements = vec!["create table after as select * from many".to_owned()];
    let what = ImportWhat::Database { name: "app".to_owned(), statements };
    create(&instance, application(&source, what)).await.unwrap();
    nothing_is_left_of(&instance);

    instance.start(Mode::ReadWrite).await;
    assert_eq!(value(&instance, "app", SUM).await, value(&source, "app", SUM).await);
    assert_eq!(value(&instance, "app", OWNERS).await, "shop");
    let owner = "select rolsuper from pg_roles where rolname = 'shop'";
    assert_eq!(value(&instance, "app", owner).await, "f");
    let granted = "select coalesce(relacl::text, 'nothing') from pg_class where relname = 'stock'";
    assert_eq!(value(&instance, "app", granted).await, "nothing");
    assert_eq!(value(&instance, "app", "select count from after").await, "5000");
    let known = "select reltuples from pg_class where relname = 'stock'";
    assert_eq!(value(&instance, "app", known).await, "5000");
    assert_eq!(value(&instance, "app", "select count(*) from before").await, "0");
}

#[tokio::test(flavor = "current_thread")]
async fn databases_come_with_their_roles() {
    let rig = Rig::new();
    let source = origin(&rig).await;
    let mut instance = rig.instance("db-1");
    let what = ImportWhat::Server { databases: ImportChoice::All, roles: ImportChoice::All };
    create(&instance, superuser(&source, what)).await.unwrap();
    nothing_is_left_of(&instance);

    instance.start(Mode::ReadWrite).await;
    for database in ["app", "sales"] {
        let wanted = value(&source, database, SUM).await;
        assert_eq!(value(&instance, database, SUM).await, wanted, "{database}");
        let wanted = value(&source, database, OWNERS).await;
        assert_eq!(value(&instance, database, OWNERS).await, wanted, "{database}");
    }
    let clerk = "select concat_ws(' ', rolsuper, rolcanlogin, pg_has_role('clerk', 'other', 'member')) \
        from pg_roles where rolname = 'clerk'";
    assert_eq!(value(&instance, "sales", clerk).await, "f t t");
    let verifier = "select rolpassword from pg_authid where rolname = 'clerk'";
    let theirs = value(&source, "sales", verifier).await;
    assert_eq!(value(&instance, "sales", verifier).await, theirs);
    let log = std::fs::read_to_string(instance.site.log()).unwrap();
    assert!(!log.contains("SCRAM-SHA-256"), "{log}");
    let ours = "select rolpassword from pg_authid where rolname = 'streaming_replica'";
    assert_ne!(value(&instance, "sales", ours).await, value(&source, "sales", ours).await);
}

#[tokio::test(flavor = "current_thread")]
async fn what_cannot_be_imported_is_named_and_nothing_is_left() {
    let rig = Rig::new();
    let source = origin(&rig).await;
    let instance = rig.instance("db-1");
    let named =
        |names: &[&str]| ImportChoice::Named(names.iter().map(|name| (*name).to_owned()).collect());
    let without_roles = ImportWhat::Server { databases: named(&["sales"]), roles: named(&[]) };
    let unknown = ImportWhat::Server { databases: named(&["sale"]), roles: named(&[]) };
    let nobody = ImportWhat::Server { databases: named(&["sales"]), roles: named(&["eve"]) };
    let mut told = Vec::new();
    for what in [without_roles, unknown, nobody] {
        let error = create(&instance, superuser(&source, what)).await.unwrap_err();
        let InitError::Import { source: error, .. } = &error else { panic!("{error}") };
        told.push(format!("{error}\n"));
        nothing_is_left_of(&instance);
        assert!(!instance.site.data.exists());
    }
    let statements = vec!["select 1".to_owned(), "selec 2".to_owned()];
    let what = ImportWhat::Database { name: "app".to_owned(), statements };
    let error = create(&instance, application(&source, what.clone())).await.unwrap_err();
    let InitError::Import { source: error, .. } = &error else { panic!("{error}") };
    told.push(format!("{error}\n"));
    expect_test::expect![[r#"
        making database "sales", which belongs to "clerk": name that role in spec.bootstrap.initdb.import.roles
        the server has no database "sale" that can be imported; it has app, postgres, sales: correct spec.bootstrap.initdb.import.databases
        the server has no role "eve": correct spec.bootstrap.initdb.import.roles
        running statement 2 of postImportApplicationSQL: correct it in the cluster's definition
    "#]]
    .assert_eq(&told.concat());

    let mut wrong = application(&source, what);
    wrong.source.password = Some(Password("wrong".to_owned()));
    let error = create(&instance, wrong).await.unwrap_err();
    let InitError::Import { source: error, .. } = &error else { panic!("{error}") };
    assert!(matches!(**error, ImportError::Ask(_)), "{error}");
    let said = error.source().unwrap().to_string();
    assert!(said.contains("password authentication failed"), "{said}");
    nothing_is_left_of(&instance);
}
