//! Which certificates are made and why. Never needs an API server.

use super::*;
use expect_test::{Expect, expect};
use pgherd_agent::chain::chain;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::identity::Identity;
use pgherd_agent::tls::inspect::{self, Purpose, Trust};
use pgherd_agent::tls::signer::Signer;
use rcgen::ExtendedKeyUsagePurpose;

const DAY: Duration = Duration::from_hours(24);

/// The 1st of March 2026.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_513 * DAY
}

/// One cluster, its Secrets, and what is made of them as time goes by.
struct Case {
    present: Present,
    wanted: Wanted,
    now: SystemTime,
}

impl Case {
    fn new() -> Self {
        let instances = ["db-1", "db-2"].map(|name| InstanceName::parse(name).unwrap());
        let wanted = Wanted {
            cluster: ClusterName::parse("db").unwrap(),
            namespace: "shop".to_owned(),
            domain: "cluster.local".to_owned(),
            instances: instances.into(),
            supplied: Certificates::default(),
            life: Life::default(),
        };
        Self { present: Present::default(), wanted, now: now() }
    }

    /// A cluster whose own Secrets are all there.
    fn settled() -> Self {
        let mut case = Self::new();
        case.settle();
        case
    }

    /// Writes what is due, and proves that nothing is due afterwards.
    fn settle(&mut self) -> String {
        let issued = next(&self.present, &self.wanted, self.now).unwrap();
        let mut lines: Vec<String> = Vec::new();
        for entry in issued {
            lines.push(format!("{} {:?}: {}", entry.secret, entry.kind, entry.reason));
            self.present.secrets.insert(entry.secret, entry.content);
        }
        let left = next(&self.present, &self.wanted, self.now).unwrap();
        assert!(left.is_empty(), "still due: {left:?}");
        lines.join("\n")
    }

    fn due(&mut self, expected: &Expect) {
        expected.assert_eq(&self.settle());
    }

    fn put(&mut self, secret: &str, key: &str, value: &str) {
        let content = self.present.secrets.entry(secret.to_owned()).or_default();
        content.insert(key.to_owned(), value.as_bytes().to_vec());
    }

    fn get(&self, secret: &str, key: &str) -> String {
        String::from_utf8(self.present.secrets[secret][key].clone()).unwrap()
    }

    fn remove(&mut self, secret: &str, key: &str) {
        self.present.secrets.get_mut(secret).unwrap().remove(key).unwrap();
    }

    fn put_authority(&mut self, secret: &str, signer: &Signer) {
        self.put(secret, AUTHORITY_CERTIFICATE, signer.bundle());
        self.put(secret, AUTHORITY_KEY, signer.key());
    }

    fn put_leaf(&mut self, secret: &str, parts: &Parts) {
        self.put(secret, CERTIFICATE, &parts.certificate);
        self.put(secret, KEY, &parts.key);
    }

    /// What the certificate in `secret` is worth to those who trust `bundle`.
    fn trust(&self, secret: &str, bundle: &str, purpose: Purpose) -> Trust {
        let chain = inspect::certificates(self.get(secret, CERTIFICATE).as_bytes()).unwrap();
        let bundle = inspect::certificates(bundle.as_bytes()).unwrap();
        inspect::trust(&chain, &bundle, purpose, self.now)
    }

    fn complaints(&self, expected: &Expect) {
        let found = complaints(&self.present, &self.wanted, self.now);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        expected.assert_eq(&found.join("\n"));
    }
}

fn authority(name: &str) -> Signer {
    let subject = Subject { common_name: name.to_owned(), unit: None };
    Signer::start(&subject, Term { now: now(), length: 365 * DAY }).unwrap()
}

fn leaf(signer: &Signer, common_name: &str, purpose: ExtendedKeyUsagePurpose) -> Parts {
    let leaf = pgherd_agent::tls::signer::Leaf {
        common_name: common_name.to_owned(),
        names: Vec::new(),
        purposes: vec![purpose],
    };
    signer.sign(leaf, Term { now: now(), length: 30 * DAY }).unwrap()
}

#[test]
fn everything_is_made_once_and_then_left_alone() {
    let mut case = Case::new();
    case.due(&expect![[r#"
        db-ca Opaque: there was none
        db-server Tls: there was none
        db-replication Tls: there was none
        db-agents Opaque: there was none
        db-1-agent Tls: there was none
        db-2-agent Tls: there was none"#]]);
    case.now += 82 * DAY;
    case.due(&expect![[""]]);
    let keys = |secret: &str| case.present.secrets[secret].keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("db-ca"), ["ca.crt", "ca.key"]);
    assert_eq!(keys("db-server"), ["ca.crt", "tls.crt", "tls.key"]);
    assert_eq!(keys("db-agents"), ["ca.crt", "ca.key", "replication-password"]);
    assert_eq!(case.get("db-agents", REPLICATION_PASSWORD).len(), 32);
}

#[test]
fn a_server_is_known_by_its_services_and_the_names_that_were_added() {
    let mut case = Case::settled();
    case.wanted.supplied.server_alt_dns_names =
        ["db.example.org", "10.1.2.3", "2001:DB8:0::1", "no name"].map(str::to_owned).into();
    case.due(&expect![[r#"db-server Tls: it is made out to "db-r, db-r.shop, db-r.shop.svc, db-r.shop.svc.cluster.local, db-ro, db-ro.shop, db-ro.shop.svc, db-ro.shop.svc.cluster.local, db-rw, db-rw.shop, db-rw.shop.svc, db-rw.shop.svc.cluster.local", not "10.1.2.3, 2001:db8::1, db-r, db-r.shop, db-r.shop.svc, db-r.shop.svc.cluster.local, db-ro, db-ro.shop, db-ro.shop.svc, db-ro.shop.svc.cluster.local, db-rw, db-rw.shop, db-rw.shop.svc, db-rw.shop.svc.cluster.local, db.example.org""#]]);
    case.complaints(&expect![[r#""no name" in spec.certificates.serverAltDNSNames is no name of a server: use letters, digits, '-' and '.', or an address"#]]);
    let status = status(&case.present, &case.wanted);
    expect![[r#"
        10.1.2.3
        2001:db8::1
        db-r
        db-r.shop
        db-r.shop.svc
        db-r.shop.svc.cluster.local
        db-ro
        db-ro.shop
        db-ro.shop.svc
        db-ro.shop.svc.cluster.local
        db-rw
        db-rw.shop
        db-rw.shop.svc
        db-rw.shop.svc.cluster.local
        db.example.org"#]]
    .assert_eq(&status.server_alt_dns_names.join("\n"));
    let chain = inspect::certificates(case.get("db-server", CERTIFICATE).as_bytes()).unwrap();
    let names: Vec<String> = inspect::facts(&chain[0]).unwrap().names.into_iter().collect();
    assert_eq!(names, status.server_alt_dns_names);
}

#[test]
fn each_reason_is_told() {
    let mut case = Case::settled();
    let server = leaf(&authority("other"), "db-rw", ExtendedKeyUsagePurpose::ServerAuth);
    case.put_leaf("db-server", &server);
    case.due(&expect!["db-server Tls: it goes with another authority"]);

    case.present.secrets.remove("db-2-agent");
    case.put("db-1-agent", CERTIFICATE, &case.get("db-server", CERTIFICATE));
    case.put("db-server", KEY, "nothing");
    case.remove("db-replication", KEY);
    case.due(&expect![[r#"
        db-server Tls: it is broken: reading a key: there is none in it
        db-replication Tls: it is broken: it has no tls.key
        db-1-agent Tls: it is broken: using a key with its certificate: keys may not be consistent: KeyMismatch
        db-2-agent Tls: there was none"#]]);

    let swapped = case.present.secrets["db-2-agent"].clone();
    case.present.secrets.insert("db-1-agent".to_owned(), swapped);
    case.due(&expect![[r#"db-1-agent Tls: it is made out to "db-2", not "db-1""#]]);

    let own = Signer::open(&case.get("db-ca", "ca.crt"), &case.get("db-ca", "ca.key")).unwrap();
    let other_user = leaf(&own, "postgres", ExtendedKeyUsagePurpose::ClientAuth);
    case.put_leaf("db-replication", &other_user);
    let client = leaf(&own, "db-rw", ExtendedKeyUsagePurpose::ClientAuth);
    case.put_leaf("db-server", &client);
    case.due(&expect![[r#"
        db-server Tls: it is broken: it is not for servers
        db-replication Tls: it is made out to "postgres", not "streaming_replica""#]]);

    let soon = Term { now: now(), length: 3 * DAY };
    let leaf = Leaf {
        secret: case.wanted.replication_secret(),
        made_out: MadeOut::User { name: REPLICATION_ROLE },
    };
    case.put_leaf("db-replication", &leaf.signed_by(&own, soon).unwrap());
    case.due(&expect!["db-replication Tls: its end is near, 2026-03-04 00:00:00 +0000 UTC"]);
}

#[test]
fn a_renewed_authority_and_an_earlier_one_believe_in_each_others_certificates() {
    let mut case = Case::settled();
    let before = case.present.clone();
    case.now += 84 * DAY;
    case.due(&expect![[r#"
        db-ca Opaque: its end is near, 2026-05-30 00:00:00 +0000 UTC
        db-server Tls: it goes with another authority
        db-replication Tls: it goes with another authority
        db-agents Opaque: its end is near, 2026-05-30 00:00:00 +0000 UTC
        db-1-agent Tls: it goes with another authority
        db-2-agent Tls: it goes with another authority"#]]);
    let all = [
        ("db-server", "db-ca", Purpose::Server),
        ("db-replication", "db-ca", Purpose::Client),
        ("db-1-agent", "db-agents", Purpose::Client),
        ("db-1-agent", "db-agents", Purpose::Server),
    ];
    for (secret, authority, purpose) in all {
        let bundle = |present: &Present| {
            String::from_utf8(present.secrets[authority][AUTHORITY_CERTIFICATE].clone()).unwrap()
        };
        assert_eq!(inspect::certificates(bundle(&case.present).as_bytes()).unwrap().len(), 2);
        // A pod that was told already meets one that was not, and the other way round.
        assert_eq!(case.trust(secret, &bundle(&before), purpose), Trust::Good, "{secret}");
        let late = Case { present: before.clone(), wanted: case.wanted.clone(), now: case.now };
        assert_eq!(late.trust(secret, &bundle(&case.present), purpose), Trust::Good, "{secret}");
    }
    let password = |present: &Present| present.secrets["db-agents"][REPLICATION_PASSWORD].clone();
    assert_eq!(password(&before), password(&case.present));

    // The first certificate has ended by the next renewal, and is trusted no longer.
    case.now += 84 * DAY;
    case.settle();
    let bundle = case.get("db-ca", AUTHORITY_CERTIFICATE);
    assert_eq!(inspect::certificates(bundle.as_bytes()).unwrap().len(), 2);
}

#[test]
fn a_lost_key_is_replaced_and_what_it_signed_is_believed_until_it_ends() {
    let mut case = Case::settled();
    let before = case.present.clone();
    case.remove("db-ca", AUTHORITY_KEY);
    case.remove("db-agents", REPLICATION_PASSWORD);
    case.due(&expect![[r#"
        db-ca Opaque: it is broken: it has no ca.key
        db-server Tls: it goes with another authority
        db-replication Tls: it goes with another authority
        db-agents Opaque: it is broken: it has no replication-password"#]]);
    let bundle = case.get("db-ca", AUTHORITY_CERTIFICATE);
    let late = Case { present: before, wanted: case.wanted.clone(), now: case.now };
    assert_eq!(late.trust("db-server", &bundle, Purpose::Server), Trust::Good);

    // Who deletes an authority wants to be rid of it.
    case.present.secrets.remove("db-ca");
    case.due(&expect![[r#"
        db-ca Opaque: there was none
        db-server Tls: it goes with another authority
        db-replication Tls: it goes with another authority"#]]);
    let bundle = case.get("db-ca", AUTHORITY_CERTIFICATE);
    assert_eq!(late.trust("db-server", &bundle, Purpose::Server), Trust::OtherAuthority);
}

#[test]
fn what_is_no_authority_is_not_trusted_as_an_earlier_one() {
    let mut case = Case::settled();
    case.put("db-ca", AUTHORITY_CERTIFICATE, &case.get("db-server", CERTIFICATE));
    case.put("db-ca", AUTHORITY_KEY, &case.get("db-server", KEY));
    case.due(&expect![[r#"
        db-ca Opaque: it is broken: ca.crt is not an authority's certificate
        db-server Tls: it goes with another authority
        db-replication Tls: it goes with another authority"#]]);
    let bundle = case.get("db-ca", AUTHORITY_CERTIFICATE);
    assert_eq!(inspect::certificates(bundle.as_bytes()).unwrap().len(), 1);
}

#[test]
fn a_threshold_longer_than_the_life_does_not_renew_for_ever() {
    let mut case = Case::new();
    case.wanted.life = Life { length: 5 * DAY, renewal: 7 * DAY };
    case.settle();
    case.now += 2 * DAY;
    assert_eq!(case.settle(), "");
    case.now += DAY;
    assert_ne!(case.settle(), "");
}

#[test]
fn what_was_made_by_a_clock_that_was_ahead_is_made_anew() {
    let mut case = Case::new();
    case.settle();
    case.now -= 2 * DAY;
    assert!(case.settle().contains("it is not valid yet"));
    assert_eq!(case.settle(), "");
}

#[test]
fn agents_take_what_is_made_for_them() {
    let mut case = Case::new();
    // The files' identity is judged by the machine's clock.
    case.now = SystemTime::now();
    assert!(supervisor(&case.present, &case.wanted, case.now).unwrap().is_none());
    case.settle();
    let folder = tempfile::tempdir().unwrap();
    for (key, value) in &case.present.secrets["db-1-agent"] {
        std::fs::write(folder.path().join(key), value).unwrap();
    }
    let identity = Identity::open(IdentityFiles::in_folder(folder.path())).unwrap();
    assert_eq!(identity.holder().to_string(), "db-1");

    let parts = supervisor(&case.present, &case.wanted, case.now).unwrap().unwrap();
    let files = IdentityFiles::in_folder(folder.path());
    files.write(&parts, pgherd_agent::durable::Access::PRIVATE).unwrap();
    let identity = Identity::open(files.clone()).unwrap();
    assert_eq!(identity.holder(), Holder::Supervisor);
    let end = files.not_after().unwrap();
    assert!(end <= case.now + DAY && end > case.now + DAY - Duration::from_secs(2), "{end:?}");
}

#[test]
fn instances_of_other_clusters_get_nothing() {
    let mut case = Case::new();
    case.wanted.instances.insert(InstanceName::parse("app-1").unwrap());
    let error = next(&case.present, &case.wanted, case.now).unwrap_err();
    expect!["making the identity in secret app-1-agent: app-1 is not of cluster db: its own cluster's authority must issue for it"].assert_eq(&chain(&error).to_string());
}

#[test]
fn ends_are_told_as_scripts_know_them() {
    let case = Case::settled();
    let status = status(&case.present, &case.wanted);
    let lines: Vec<String> =
        status.expirations.iter().map(|(secret, end)| format!("{secret}: {end}")).collect();
    expect![[r#"
        db-1-agent: 2026-05-30 00:00:00 +0000 UTC
        db-2-agent: 2026-05-30 00:00:00 +0000 UTC
        db-agents: 2026-05-30 00:00:00 +0000 UTC
        db-ca: 2026-05-30 00:00:00 +0000 UTC
        db-replication: 2026-05-30 00:00:00 +0000 UTC
        db-server: 2026-05-30 00:00:00 +0000 UTC"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn an_authority_that_is_given_signs_and_is_never_written() {
    let mut case = Case::settled();
    case.wanted.supplied.server_ca_secret = Some("corporate".to_owned());
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) does not exist: create it, or remove the field to have certificates made"]);
    // Until it is there the certificate in use stays.
    case.due(&expect![[""]]);
    let given = authority("corporate");
    case.put_authority("corporate", &given);
    case.complaints(&expect![[""]]);
    case.due(&expect!["db-server Tls: it goes with another authority"]);
    assert_eq!(case.trust("db-server", given.bundle(), Purpose::Server), Trust::Good);

    case.wanted.supplied.client_ca_secret = Some("corporate".to_owned());
    case.present.secrets.remove("db-ca");
    case.due(&expect!["db-replication Tls: it goes with another authority"]);
    assert_eq!(case.trust("db-replication", given.bundle(), Purpose::Client), Trust::Good);
}

#[test]
fn an_authority_given_under_our_own_name_is_the_users_all_the_same() {
    let mut case = Case::new();
    case.wanted.supplied.server_ca_secret = Some("db-ca".to_owned());
    case.due(&expect![[r#"
        db-agents Opaque: there was none
        db-1-agent Tls: there was none
        db-2-agent Tls: there was none"#]]);
    case.complaints(&expect![[r#"
        secret db-ca (spec.certificates.serverCASecret) does not exist: create it, or remove the field to have certificates made
        secret db-ca (spec.certificates.clientCASecret) does not exist: create it, or remove the field to have certificates made"#]]);
    case.put_authority("db-ca", &authority("corporate"));
    case.due(&expect![[r#"
        db-server Tls: there was none
        db-replication Tls: there was none"#]]);
}

#[test]
fn given_certificates_need_no_signing_key() {
    let mut case = Case::new();
    let given = authority("corporate");
    case.put("corporate", AUTHORITY_CERTIFICATE, given.bundle());
    let server = leaf(&given, "db-rw", ExtendedKeyUsagePurpose::ServerAuth);
    case.put_leaf("web", &server);
    case.wanted.supplied.server_ca_secret = Some("corporate".to_owned());
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has no key ca.key to sign with: add it, or give a signed certificate in spec.certificates.serverTLSSecret"]);
    case.wanted.supplied.server_tls_secret = Some("web".to_owned());
    case.complaints(&expect![[""]]);
    case.due(&expect![[r#"
        db-ca Opaque: there was none
        db-replication Tls: there was none
        db-agents Opaque: there was none
        db-1-agent Tls: there was none
        db-2-agent Tls: there was none"#]]);
}

#[test]
fn what_is_wrong_with_given_authorities_is_told_with_what_helps() {
    let mut case = Case::new();
    let given = authority("corporate");
    case.wanted.supplied.server_ca_secret = Some("corporate".to_owned());
    case.put("corporate", AUTHORITY_KEY, given.key());
    case.complaints(&expect![
        "secret corporate (spec.certificates.serverCASecret) has no key ca.crt: add it as PEM"
    ]);
    case.put("corporate", AUTHORITY_CERTIFICATE, "-----BEGIN CERTIFICATE-----");
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has nothing usable in key ca.crt (reading a certificate: an END line is missing): replace it with PEM"]);
    case.put_authority("corporate", &given);
    case.put("corporate", AUTHORITY_KEY, "nothing");
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has nothing usable in key ca.key (reading a key: there is none in it): replace it with PEM"]);
    case.put("corporate", AUTHORITY_KEY, authority("corporate").key());
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has keys ca.crt and ca.key that do not belong together: replace both from one source"]);
    let server = leaf(&given, "db-rw", ExtendedKeyUsagePurpose::ServerAuth);
    case.put("corporate", AUTHORITY_CERTIFICATE, &server.certificate);
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has a certificate in key ca.crt that may not sign others: put the authority's certificate there"]);
    case.put_authority("corporate", &given);
    case.now += 366 * DAY;
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has a certificate in key ca.crt that expired at 2027-03-01 00:00:00 +0000 UTC: renew it"]);
}

#[test]
fn what_is_wrong_with_given_certificates_is_told_with_what_helps() {
    let mut case = Case::settled();
    let given = authority("corporate");
    case.put("corporate", AUTHORITY_CERTIFICATE, given.bundle());
    case.wanted.supplied.client_ca_secret = Some("corporate".to_owned());
    case.wanted.supplied.replication_tls_secret = Some("streaming".to_owned());
    let client = leaf(&given, REPLICATION_ROLE, ExtendedKeyUsagePurpose::ClientAuth);
    case.put("streaming", CERTIFICATE, &client.certificate);
    case.complaints(&expect!["secret streaming (spec.certificates.replicationTLSSecret) has no key tls.key: add it as PEM"]);
    case.put("streaming", KEY, authority("other").key());
    case.complaints(&expect!["secret streaming (spec.certificates.replicationTLSSecret) has keys tls.crt and tls.key that do not belong together: replace both from one source"]);
    let foreign = authority("corporate");
    let foreign = leaf(&foreign, REPLICATION_ROLE, ExtendedKeyUsagePurpose::ClientAuth);
    case.put_leaf("streaming", &foreign);
    case.complaints(&expect!["secret streaming (spec.certificates.replicationTLSSecret) has a certificate in key tls.crt that was not signed by ca.crt of secret corporate: replace one of the two"]);
    let server = leaf(&given, REPLICATION_ROLE, ExtendedKeyUsagePurpose::ServerAuth);
    case.put_leaf("streaming", &server);
    case.complaints(&expect![[r#"secret streaming (spec.certificates.replicationTLSSecret) has a certificate in key tls.crt without usage "client auth": issue it with that"#]]);
    let other = leaf(&given, "postgres", ExtendedKeyUsagePurpose::ClientAuth);
    case.put_leaf("streaming", &other);
    case.complaints(&expect![[r#"secret streaming (spec.certificates.replicationTLSSecret) has a certificate in key tls.crt for user "postgres": issue it with common name "streaming_replica""#]]);
    case.put_leaf("streaming", &client);
    case.complaints(&expect![[""]]);
    case.now += 31 * DAY;
    case.complaints(&expect!["secret streaming (spec.certificates.replicationTLSSecret) has a certificate in key tls.crt that expired at 2026-03-31 00:00:00 +0000 UTC: renew it"]);
    case.now = now() - DAY;
    case.complaints(&expect!["secret streaming (spec.certificates.replicationTLSSecret) has a certificate in key tls.crt that is not valid yet: wait, or set the clocks"]);

    // Given without its authority, it is held against the cluster's own.
    case.now = now();
    case.wanted.supplied.client_ca_secret = None;
    case.complaints(&expect!["secret streaming (spec.certificates.replicationTLSSecret) has a certificate in key tls.crt that was not signed by ca.crt of secret db-ca: replace one of the two"]);
}

#[test]
fn the_end_of_what_was_given_is_told_before_it_comes() {
    let mut case = Case::settled();
    let given = authority("corporate");
    case.put_authority("corporate", &given);
    let server = leaf(&given, "db-rw", ExtendedKeyUsagePurpose::ServerAuth);
    case.put_leaf("web", &server);
    case.wanted.supplied.server_ca_secret = Some("corporate".to_owned());
    case.wanted.supplied.server_tls_secret = Some("web".to_owned());
    case.wanted.supplied.client_ca_secret = Some("missing".to_owned());
    let mut told = |days: u32| {
        case.now = now() + days * DAY;
        let found = ending(&case.present, &case.wanted, case.now);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        format!("{days}: {}", found.join("; "))
    };
    expect![[r#"
        0: 
        22: 
        23: secret web (spec.certificates.serverTLSSecret) has a certificate in key tls.crt that ends at 2026-03-31 00:00:00 +0000 UTC: renew it before
        29: secret web (spec.certificates.serverTLSSecret) has a certificate in key tls.crt that ends at 2026-03-31 00:00:00 +0000 UTC: renew it before
        360: secret corporate (spec.certificates.serverCASecret) has a certificate in key ca.crt that ends at 2027-03-01 00:00:00 +0000 UTC: renew it before; secret web (spec.certificates.serverTLSSecret) has a certificate in key tls.crt that ends at 2026-03-31 00:00:00 +0000 UTC: renew it before"#]]
    .assert_eq(&[0, 22, 23, 29, 360].map(&mut told).join("\n"));
}

#[test]
fn an_authority_whose_name_cannot_be_repeated_is_refused() {
    let mut case = Case::new();
    case.put("corporate", AUTHORITY_CERTIFICATE, include_str!("tests/two_units.crt"));
    case.put("corporate", AUTHORITY_KEY, include_str!("tests/elliptic.key"));
    case.wanted.supplied.server_ca_secret = Some("corporate".to_owned());
    case.complaints(&expect!["secret corporate (spec.certificates.serverCASecret) has an authority whose certificates would not be believed: use one whose subject has every attribute once, and that may sign for servers and clients"]);
    assert!(!case.settle().contains("db-server"));
}

#[test]
fn keys_in_older_forms_sign() {
    let mut case = Case::new();
    case.put("corporate", AUTHORITY_CERTIFICATE, include_str!("tests/rsa.crt"));
    case.put("corporate", AUTHORITY_KEY, include_str!("tests/rsa.key"));
    case.wanted.supplied.server_ca_secret = Some("corporate".to_owned());
    case.complaints(&expect![[""]]);
    assert!(case.settle().contains("db-server"));

    // As CNPG keeps it: a cluster that comes from there goes on with its authority.
    let mut case = Case::new();
    let (bundle, key) = (include_str!("tests/elliptic.crt"), include_str!("tests/elliptic.key"));
    case.put("db-ca", AUTHORITY_CERTIFICATE, bundle);
    case.put("db-ca", AUTHORITY_KEY, key);
    assert!(!case.settle().contains("db-ca"));
    let subject = Subject { common_name: "db".to_owned(), unit: Some("shop".to_owned()) };
    let renewed = Signer::open(bundle, key).unwrap();
    let renewed = renewed.renewed(&subject, Term { now: now(), length: DAY }).unwrap();
    assert_eq!(renewed.key(), key);
    assert!(renewed.bundle().contains(bundle.trim()));
    Signer::open(renewed.bundle(), renewed.key()).unwrap();
}

#[test]
fn a_key_in_the_wrong_place_is_not_told() {
    let mut case = Case::settled();
    let line = case.get("db-ca", AUTHORITY_KEY).replace('\n', "");
    case.put("db-server", KEY, &line);
    case.due(&expect!["db-server Tls: it is broken: reading a key: an END line is missing"]);
}
