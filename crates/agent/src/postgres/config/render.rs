//! Turns settings into the text of the configuration files. Pure: the same in, the same out.
//!
//! Never reads the disk.

use crate::config::ServerName;
use crate::postgres::config::parameters::{FIXED, raised, suggested};
use crate::postgres::config::quote::{conninfo, identifier, setting};
use crate::postgres::config::{
    File, Profile, REPLICATION_ROLE, Receive, Settings, Transport, Upstream, hba,
};
use crate::postgres::control::Floors;
use crate::postgres::said;
use crate::postgres::site::Site;
use pgherd_backup::restore::recovery;
use pgherd_core::names::InstanceName;
use pgherd_core::record::Pair;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) const HEAD: &str = "# Written by pgherd; changes are lost.\n";
/// ALTER SYSTEM writes it, and it would overrule everything else.
pub(super) const OVERRULING: &str = "postgresql.auto.conf";
/// Nobody has this name: a rule without voters must block, not be ignored.
const NOBODY: &str = "_nobody_";
/// Seconds to reach a primary, and milliseconds to wait for it to acknowledge what we sent.
const CONNECT_SECONDS: &str = "2";
/// Makes the name of no instance, because those end in a number.
pub(crate) const UNCOUNTED: &str = "-uncounted";
const USER_TIMEOUT_MILLISECONDS: &str = "3000";

pub(super) fn files(site: &Site, settings: &Settings, floors: Option<&Floors>) -> Vec<File> {
    let user =
        settings.parameters.get().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let suggestions = suggested(settings.profile, settings.volume, settings.parameters.get());
    let mut ours = own(site, settings);
    let raised = floors.map(|floors| raised(floors, &suggestions, settings.parameters.get()));
    let raised = raised.into_iter().flatten();
    ours.extend(raised.map(|(name, value)| (name, value.to_string())));
    vec![
        File {
            name: "pgherd.defaults.conf",
            text: lines(suggestions.iter().map(|(name, value)| (*name, value.as_str()))),
        },
        File { name: "pgherd.user.conf", text: lines(user) },
        File {
            name: "pgherd.conf",
            text: lines(ours.iter().map(|(name, value)| (*name, value.as_str()))),
        },
        File { name: OVERRULING, text: HEAD.to_owned() },
        File { name: "pg_hba.conf", text: hba::hba(settings) },
        File { name: "pg_ident.conf", text: hba::ident(settings) },
        File {
            name: "postgresql.conf",
            text: format!(
                "{HEAD}include 'pgherd.defaults.conf'\ninclude 'pgherd.user.conf'\ninclude 'pgherd.conf'\n"
            ),
        },
    ]
}

fn lines<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = HEAD.to_owned();
    for (name, value) in parameters {
        let _infallible = writeln!(text, "{name} = {}", setting(value));
    }
    text
}

fn own(site: &Site, settings: &Settings) -> BTreeMap<&'static str, String> {
    let mut all: BTreeMap<_, _> =
        FIXED.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let listen: Vec<_> = settings.listen.iter().map(String::as_str).collect();
    all.extend([
        ("cluster_name", settings.instance.to_string()),
        ("listen_addresses", listen.join(",")),
        ("port", site.port.to_string()),
        ("unix_socket_directories", site.sockets.display().to_string()),
        ("synchronous_standby_names", standby_names(settings.commits.as_ref())),
    ]);
    match settings.profile {
        Profile::Laptop => {}
        // A user's own would make it unreadable for the agent.
        Profile::Server => {
            all.insert("log_line_prefix", said::PREFIX.to_owned());
        }
    }
    if site.installation.version.major >= 17 {
        all.insert("allow_alter_system", "off".to_owned());
    }
    tls(&mut all, &settings.transport);
    archive(&mut all, settings);
    receive(&mut all, site, settings);
    all
}

fn tls(all: &mut BTreeMap<&'static str, String>, transport: &Transport) {
    match transport {
        Transport::Plain => {
            all.insert("ssl", "off".to_owned());
        }
        Transport::Tls(files) => all.extend([
            ("ssl", "on".to_owned()),
            ("ssl_ca_file", files.clients_authority.display().to_string()),
            ("ssl_cert_file", files.server_certificate.display().to_string()),
            ("ssl_key_file", files.server_key.display().to_string()),
        ]),
    }
}

fn archive(all: &mut BTreeMap<&'static str, String>, settings: &Settings) {
    let command = settings.archive.command.clone();
    let mode = if command.is_some() { "on" } else { "off" };
    all.insert("archive_mode", mode.to_owned());
    // A server that was started with an archive and has none any more keeps no log for it.
    all.insert("archive_command", command.unwrap_or_else(|| "true".to_owned()));
    let restore = match settings.receive {
        Receive::From(_) => settings.archive.restore_command.clone(),
        // What is sealed, or about to open, must not receive from anywhere.
        Receive::FromNobody
        | Receive::Uncounted(_)
        | Receive::FromCopy
        | Receive::FromArchive(_) => None,
    };
    all.insert("restore_command", restore.unwrap_or_default());
}

fn receive(all: &mut BTreeMap<&'static str, String>, site: &Site, settings: &Settings) {
    let (connection, slot) = match &settings.receive {
        Receive::From(upstream) | Receive::Uncounted(upstream) => {
            (connection_to(site, settings, upstream), upstream.slot.clone().unwrap_or_default())
        }
        Receive::FromNobody => {
            // What was received must be replayed now. Received by streaming, it counts as read
            // from the archive once the receiver has stopped.
            all.insert("max_standby_archive_delay", "0".to_owned());
            all.insert("max_standby_streaming_delay", "0".to_owned());
            (String::new(), String::new())
        }
        Receive::FromCopy => {
            all.insert("hot_standby", "off".to_owned());
            // PostgreSQL insists on one. It is asked for more than the copy has, which is the end.
            all.insert("restore_command", "exit 1".to_owned());
            (String::new(), String::new())
        }
        Receive::FromArchive(recovery) => {
            all.insert("hot_standby", "off".to_owned());
            // PostgreSQL refuses two targets, even if one is empty.
            all.retain(|name, _| !recovery::NAMES.contains(name));
            all.extend(recovery.iter().cloned());
            (String::new(), String::new())
        }
    };
    all.insert("primary_conninfo", connection);
    all.insert("primary_slot_name", slot);
}

/// The connection string by which this instance reaches a primary.
pub fn connection_to(site: &Site, settings: &Settings, upstream: &Upstream) -> String {
    let text = |path: &std::path::Path| path.display().to_string();
    let name = match settings.receive {
        Receive::From(_) | Receive::FromNobody | Receive::FromCopy | Receive::FromArchive(_) => {
            settings.instance.to_string()
        }
        Receive::Uncounted(_) => format!("{}{UNCOUNTED}", settings.instance),
    };
    let mut parts = vec![
        ("host", upstream.primary.to_string()),
        ("hostaddr", upstream.address.to_string()),
        ("port", upstream.port.to_string()),
        ("user", REPLICATION_ROLE.to_owned()),
        ("passfile", text(&site.passfile())),
        ("application_name", name),
        ("connect_timeout", CONNECT_SECONDS.to_owned()),
        ("tcp_user_timeout", USER_TIMEOUT_MILLISECONDS.to_owned()),
        ("gssencmode", "disable".to_owned()),
    ];
    match &settings.transport {
        Transport::Tls(files) => parts.extend([
            ("sslmode", checked(files.server_name).to_owned()),
            ("sslrootcert", text(&files.servers_authority)),
            ("sslcert", text(&files.client_certificate)),
            ("sslkey", text(&files.client_key)),
        ]),
        Transport::Plain => parts.push(("sslmode", "disable".to_owned())),
    }
    let parts: Vec<_> =
        parts.iter().map(|(name, value)| format!("{name}={}", conninfo(value))).collect();
    parts.join(" ")
}

/// How closely a primary's certificate is looked at.
fn checked(server_name: ServerName) -> &'static str {
    match server_name {
        ServerName::Instance => "verify-full",
        ServerName::Any => "verify-ca",
    }
}

/// A rule for commits in the words of `synchronous_standby_names`.
pub fn standby_names(rule: Option<&Pair>) -> String {
    let Some(rule) = rule.filter(|rule| rule.acks > 0) else { return String::new() };
    let mut voters: Vec<_> =
        rule.voters.iter().map(|voter| identifier(&voter.to_string())).collect();
    if voters.is_empty() {
        voters.push(identifier(NOBODY));
    }
    format!("ANY {} ({})", rule.acks, voters.join(", "))
}

/// The name of the slot that keeps WAL for a standby.
pub fn slot_of(prefix: &str, standby: &InstanceName) -> String {
    format!("{prefix}{}", standby.to_string().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::config::{Archive, Parameters, Password, TlsFiles};
    use crate::postgres::install::{Installation, Tls, Version};
    use pgherd_core::seen::Gate;
    use std::collections::BTreeSet;

    fn name(name: &str) -> InstanceName {
        InstanceName::parse(name).unwrap()
    }

    fn site(major: u32) -> Site {
        let version = Version { major, minor: 1 };
        let installation = Installation { bindir: "/pg/bin".into(), version, tls: Tls::Available };
        Site::new("/v".into(), "/v/run".into(), 5432, installation)
    }

    fn settings() -> Settings {
        Settings {
            instance: name("db-2"),
            listen: BTreeSet::from(["127.0.0.1".to_owned()]),
            transport: Transport::Tls(TlsFiles {
                clients_authority: "/c/ca.crt".into(),
                servers_authority: "/c/ca.crt".into(),
                server_certificate: "/c/server.crt".into(),
                server_key: "/c/server.key".into(),
                client_certificate: "/c/client.crt".into(),
                server_name: ServerName::Instance,
                client_key: "/c/client.key".into(),
            }),
            agent_users: BTreeSet::from(["postgres".to_owned(), "root".to_owned()]),
            password: Password("secret".to_owned()),
            parameters: Parameters::accepted(BTreeMap::from([(
                "work_mem".to_owned(),
                "it's\n8MB".to_owned(),
            )])),
            hba: hba::Lines::accept(&["hostssl app app 10.0.0.0/8 cert".to_owned()]).0,
            ident: vec!["office eve app".to_owned()],
            profile: Profile::Laptop,
            volume: None,
            archive: Archive::default(),
            commits: Some(Pair { voters: BTreeSet::from([name("db-1"), name("db-3")]), acks: 1 }),
            receive: Receive::From(Upstream {
                primary: name("db-1"),
                address: "127.0.0.1".parse().unwrap(),
                port: 6001,
                slot: Some(slot_of("_cnpg_", &name("db-2"))),
            }),
            gate: Gate::Open,
        }
    }

    fn text(file: &str, settings: &Settings) -> String {
        let files = files(&site(17), settings, None);
        files.into_iter().find(|other| other.name == file).unwrap().text
    }

    #[test]
    fn what_is_ours_is_refused_in_manifests() {
        use pgherd_api::cluster::parameters::{SAME_FOR_ALL, owner};
        for receive in [settings().receive, Receive::FromNobody, Receive::FromCopy] {
            for name in own(&site(17), &Settings { receive, ..settings() }).into_keys() {
                // While it receives from nobody, a standby has to replay what conflicts with queries.
                let is_users = name.starts_with("max_standby_");
                let known = owner(name).is_some() || SAME_FOR_ALL.contains(&name) || is_users;
                assert!(known, "a manifest may set {name}, and it would have no effect");
            }
        }
    }

    #[test]
    fn our_own_file() {
        expect_test::expect![[r#"
            # Written by pgherd; changes are lost.
            allow_alter_system = 'off'
            archive_command = 'true'
            archive_mode = 'off'
            cluster_name = 'db-2'
            data_sync_retry = 'off'
            fsync = 'on'
            full_page_writes = 'on'
            hot_standby = 'on'
            listen_addresses = '127.0.0.1'
            log_destination = 'stderr'
            logging_collector = 'off'
            password_encryption = 'scram-sha-256'
            port = '5432'
            primary_conninfo = 'host=''db-1'' hostaddr=''127.0.0.1'' port=''6001'' user=''streaming_replica'' passfile=''/v/replication.pgpass'' application_name=''db-2'' connect_timeout=''2'' tcp_user_timeout=''3000'' gssencmode=''disable'' sslmode=''verify-full'' sslrootcert=''/c/ca.crt'' sslcert=''/c/client.crt'' sslkey=''/c/client.key'''
            primary_slot_name = '_cnpg_db_2'
            recovery_min_apply_delay = '0'
            recovery_target = ''
            recovery_target_lsn = ''
            recovery_target_name = ''
            recovery_target_time = ''
            recovery_target_timeline = 'latest'
            recovery_target_xid = ''
            restart_after_crash = 'off'
            restore_command = ''
            ssl = 'on'
            ssl_ca_file = '/c/ca.crt'
            ssl_cert_file = '/c/server.crt'
            ssl_key_file = '/c/server.key'
            synchronous_standby_names = 'ANY 1 ("db-1", "db-3")'
            unix_socket_directories = '/v/run'
            unix_socket_permissions = '0700'
            wal_log_hints = 'on'
            wal_retrieve_retry_interval = '100ms'
        "#]]
        .assert_eq(&text("pgherd.conf", &settings()));
    }

    #[test]
    fn the_users_file() {
        expect_test::expect![[r"
            # Written by pgherd; changes are lost.
            work_mem = 'it''s\n8MB'
        "]]
        .assert_eq(&text("pgherd.user.conf", &settings()));
    }

    #[test]
    fn who_may_connect() {
        expect_test::expect![[r#"
            # Written by pgherd; changes are lost. The user's lines stand in the cluster's definition.
            local all postgres peer map=pgherd
            local replication postgres peer map=pgherd
            hostssl replication "streaming_replica" all scram-sha-256 clientcert=verify-ca
            hostssl postgres "streaming_replica" all scram-sha-256 clientcert=verify-ca
            # The gate is closed: what clients would read could still be lost.
            local all all reject
            host all all all reject
            hostssl all all all scram-sha-256
        "#]]
        .assert_eq(&text("pg_hba.conf", &Settings { gate: Gate::Closed, ..settings() }));
        let open = text("pg_hba.conf", &settings());
        assert!(!open.contains("reject"));
        assert!(
            open.ends_with(
                "\nhostssl app app 10.0.0.0/8 cert\nhostssl all all all scram-sha-256\n"
            )
        );
        assert_eq!(
            text("pg_ident.conf", &settings()).lines().nth(1),
            Some("pgherd \"postgres\" postgres")
        );
    }

    #[test]
    fn who_receives_from_nobody_lets_no_query_hold_replay_up() {
        let sealed = text("pgherd.conf", &Settings { receive: Receive::FromNobody, ..settings() });
        for line in [
            "primary_conninfo = ''",
            "primary_slot_name = ''",
            "max_standby_streaming_delay = '0'",
            "max_standby_archive_delay = '0'",
        ] {
            assert!(sealed.lines().any(|other| other == line), "{line} is missing");
        }
        assert!(!text("pgherd.conf", &settings()).contains("max_standby"));
    }

    #[test]
    fn only_who_receives_from_a_primary_is_given_log_from_the_archive() {
        let command = Some("/bin/pgherd wal-archive %p".to_owned());
        let restore_command = Some("/bin/pgherd wal-restore %f %p".to_owned());
        let settings = Settings { archive: Archive { command, restore_command }, ..settings() };
        let told = |settings: &Settings| {
            let all = own(&site(17), settings);
            ["archive_mode", "archive_command", "restore_command"].map(|name| all[name].clone())
        };
        let archives = ["on", "/bin/pgherd wal-archive %p"];
        assert_eq!(told(&settings)[..2], archives);
        assert_eq!(told(&settings)[2], "/bin/pgherd wal-restore %f %p");
        let sealed = Settings { receive: Receive::FromNobody, ..settings };
        assert_eq!(told(&sealed)[..2], archives);
        assert_eq!(told(&sealed)[2], "");
    }

    #[test]
    fn a_rule_without_voters_blocks() {
        let rule = |voters: &[&str], acks| {
            let voters = voters.iter().map(|voter| name(voter)).collect();
            standby_names(Some(&Pair { voters, acks }))
        };
        assert_eq!(standby_names(None), "");
        assert_eq!(rule(&["db-1"], 0), "");
        assert_eq!(rule(&[], 1), "ANY 1 (\"_nobody_\")");
        assert_eq!(rule(&["db-1", "db-3"], 2), "ANY 2 (\"db-1\", \"db-3\")");
    }

    #[test]
    fn only_servers_that_know_a_parameter_get_it() {
        let old = files(&site(16), &settings(), None);
        assert!(!old.iter().any(|file| file.text.contains("allow_alter_system")));
    }
}
