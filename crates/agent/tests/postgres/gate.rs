//! The gate that keeps clients out, and lines of pg_hba.conf.

use super::rig::{APPLICATION_PASSWORD, LONG, Rig};
use pgherd_agent::postgres::config::hba::Lines;
use pgherd_agent::postgres::config::trial;
use pgherd_core::seen::Gate;

#[tokio::test(flavor = "current_thread")]
async fn a_closed_gate_lets_standbys_and_the_agent_in_and_nobody_else() {
    let rig = Rig::new();
    let mut primary = rig.stopped("db-1").await;
    primary.settings.gate = Gate::Closed;
    // Even the line of a user who wants everything.
    primary.settings.hba = Lines::accept(&["host all all all trust".to_owned()]).0;
    primary.start(pgherd_agent::postgres::server::Mode::ReadWrite).await;
    let _standby = rig.standby("db-2", &primary).await;
    let said = primary.psql("app", APPLICATION_PASSWORD, "select 1");
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(complaint.contains("pg_hba.conf rejects connection"), "{complaint}");

    primary.settings.gate = Gate::Open;
    primary.settings.hba = Lines::default();
    primary.acting().configure(&primary.settings).await.unwrap();
    let began = std::time::Instant::now();
    let mut said = primary.psql("app", APPLICATION_PASSWORD, "select 1");
    while !said.status.success() && began.elapsed() < LONG {
        said = primary.psql("app", APPLICATION_PASSWORD, "select 1");
    }
    assert_eq!(String::from_utf8_lossy(&said.stdout), "1\n");
    assert!(!primary.psql("app", "wrong", "select 1").status.success());
}

#[tokio::test(flavor = "current_thread")]
async fn what_postgres_would_not_accept_is_left_out() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let given = [
        ("WORK_MEM", "lots"),
        ("max_connections", "150"),
        ("no_such", "1"),
        ("port", "1"),
        ("log_min_messages", "loud"),
        ("max_wal_size", "-5"),
        ("auto_explain.log_min_duration", "1s"),
        ("log_line_prefix", "it's \\ \n "),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (accepted, refused) = trial::accept(&primary.site, &given.into()).await.unwrap();
    let said: Vec<_> = refused.iter().map(ToString::to_string).collect();
    let names: Vec<_> = refused.iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(
        names,
        ["port", "no_such", "WORK_MEM", "log_min_messages", "max_wal_size"],
        "{said:?}"
    );
    primary.settings.parameters = accepted;
    primary.configure();
    primary.running().reload().unwrap();
    primary.until("reloaded", r"select current_setting('log_line_prefix') = E'it\'s \\ \n '").await;
    let pending = "select string_agg(name, ' ') from pg_settings where pending_restart";
    assert_eq!(primary.sql(pending).await, "max_connections");
    // Nothing else is wrong in the file: the server would start with it.
    let wrong = "select count(*) from pg_file_settings where error is not null";
    assert_eq!(primary.sql(wrong).await, "1");
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_server_could_not_start_with_is_left_out() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let given = [
        ("shared_buffers", "900TB"),
        ("shared_preload_libraries", "pg_stat_statements, no_such_library"),
        ("session_preload_libraries", "auto_explain, no_such_plugin"),
        ("superuser_reserved_connections", "200"),
        ("work_mem", "5MB"),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (accepted, refused) = trial::accept(&primary.site, &given.into()).await.unwrap();
    let mut names: Vec<_> = refused.iter().map(|refused| refused.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "session_preload_libraries",
            "shared_buffers",
            "shared_preload_libraries",
            "superuser_reserved_connections"
        ],
        "{refused:?}"
    );
    let earlier = [("shared_buffers".to_owned(), "64MB".to_owned())].into();
    let (earlier, _) = trial::accept(&primary.site, &earlier).await.unwrap();
    let wanted = [("shared_buffers", "900TB"), ("work_mem", "5MB")];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let kept = format!("{:?}", accepted.with_earlier(&earlier, &wanted));
    assert!(kept.contains("64MB") && kept.contains("5MB") && !kept.contains("900TB"), "{kept}");
}

const LINES: [&str; 34] = [
    "local all all trust",
    "local app app peer map=pgherd",
    "local all +group, \"Quoted Name\" md5",
    "local all all ident",
    "host all all all scram-sha-256",
    "host all all 10.0.0.0/8 md5",
    "host all all 10.0.0.0 255.0.0.0 password",
    "host all all ::1/128 reject",
    "host all all fe80:: ffff:: reject",
    "host a,b, c all samenet reject",
    "host replication all samehost reject",
    "hostnossl all all .example.com reject",
    "hostssl all all all cert clientname=DN map=x",
    "hostssl all all all scram-sha-256 clientcert=verify-full",
    "host all all 0.0.0.0/0 ldap ldapserver=x ldapprefix=\"cn=\" ldapsuffix=\",dc=x\"",
    "host all all 0.0.0.0/0 ldap ldapserver=x ldapbasedn=y ldapsearchattribute=uid",
    "host all all 0.0.0.0/0 radius radiusservers=10.0.0.1 radiussecrets=x",
    "host all all 0.0.0.0/0 pam pamservice=postgresql",
    "host all all 0.0.0.0/0 reject # why not",
    // And some that are wrong.
    "host all all 10.0.0.0/8",
    "host a , b all all reject",
    "host all all 10.0.0.0/99 md5",
    "host all all 10.0.0.0 md5",
    "host all all ::1/129 md5",
    "host all all all peer",
    "host all all all cert",
    "host all all all md5 map=x",
    "host all all all md5 clientcert=verify-ca",
    "hostssl all all all cert clientcert=verify-ca",
    "host all all 0.0.0.0/0 ldap",
    "host all all 0.0.0.0/0 radius radiusservers=10.0.0.1",
    "host all all all nonsense",
    "hots all all all md5",
    "local all all all md5",
];

#[tokio::test(flavor = "current_thread")]
async fn what_we_accept_for_pg_hba_postgres_accepts_too() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let (accepted, refused) = Lines::accept(&LINES.map(str::to_owned));
    assert_eq!(refused.len(), 15, "{refused:?}");
    primary.settings.hba = accepted;
    primary.configure();
    // A build may lack methods that others have.
    let wrong = "select string_agg(error, ' ') from pg_hba_file_rules \
                 where error !~ 'not supported by this build'";
    let wrong = primary.session().await.ask(wrong, LONG).await.unwrap();
    assert_eq!(wrong[0][0].get(0), None);
    // What we refuse, it refuses too.
    for line in refused {
        std::fs::write(primary.site.data.join("pg_hba.conf"), format!("{}\n", line.line)).unwrap();
        let wrong = primary.sql("select count(*) from pg_hba_file_rules where error is not null");
        assert_eq!(wrong.await, "1", "{line}");
    }
}
