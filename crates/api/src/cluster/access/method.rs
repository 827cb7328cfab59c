//! Decides whether a method of authentication fits its rule, and which options it takes.
//!
//! Never judges how safe a method is.

use super::{LineRefusal, known};

/// The methods of every build that runs on Linux.
pub(crate) const METHODS: [&str; 13] = [
    "cert",
    "gss",
    "ident",
    "ldap",
    "md5",
    "oauth",
    "pam",
    "password",
    "peer",
    "radius",
    "reject",
    "scram-sha-256",
    "trust",
];

const OPTIONS: &[(&str, &[&str])] = &[
    ("delegate_ident_mapping", &["oauth"]),
    ("include_realm", &["gss"]),
    ("issuer", &["oauth"]),
    ("krb_realm", &["gss"]),
    ("ldapbasedn", &["ldap"]),
    ("ldapbinddn", &["ldap"]),
    ("ldapbindpasswd", &["ldap"]),
    ("ldapport", &["ldap"]),
    ("ldapprefix", &["ldap"]),
    ("ldapscheme", &["ldap"]),
    ("ldapsearchattribute", &["ldap"]),
    ("ldapsearchfilter", &["ldap"]),
    ("ldapserver", &["ldap"]),
    ("ldapsuffix", &["ldap"]),
    ("ldaptls", &["ldap"]),
    ("ldapurl", &["ldap"]),
    ("map", &["cert", "gss", "ident", "oauth", "peer"]),
    ("pam_use_hostname", &["pam"]),
    ("pamservice", &["pam"]),
    ("radiusidentifiers", &["radius"]),
    ("radiusports", &["radius"]),
    ("radiussecrets", &["radius"]),
    ("radiusservers", &["radius"]),
    ("scope", &["oauth"]),
    ("validator", &["oauth"]),
];

/// Options of any method, as long as there is a certificate to look at.
const OF_TLS: [&str; 2] = ["clientcert", "clientname"];

pub(super) fn check(
    kind: &'static str,
    method: &'static str,
    options: &[&str],
) -> Result<(), LineRefusal> {
    let needs = match (method, kind) {
        ("peer", "local") | ("cert", "hostssl") => None,
        ("peer", _) => Some("local"),
        ("cert", _) => Some("hostssl"),
        ("gss", "local") => Some("host"),
        _ => None,
    };
    if let Some(kind) = needs {
        return Err(LineRefusal::MethodNeedsKind { method, kind });
    }
    let named = options.iter().map(|given| {
        let (name, value) = given.split_once('=').unwrap_or_default();
        let of_form = !name.is_empty();
        let form = || LineRefusal::Setting { given: (*given).to_owned() };
        of_form.then_some((name, value)).ok_or_else(form)
    });
    let options: Vec<(&str, &str)> = named.collect::<Result<_, _>>()?;
    for (name, value) in &options {
        check_option(kind, method, name, value)?;
    }
    check_complete(method, &options)
}

fn check_option(
    kind: &str,
    method: &'static str,
    name: &str,
    value: &str,
) -> Result<(), LineRefusal> {
    if OF_TLS.contains(&name) {
        if kind != "hostssl" {
            return Err(LineRefusal::OptionNeedsTls { given: name.to_owned() });
        }
        if name == "clientcert" && !matches!(value, "verify-ca" | "verify-full") {
            return Err(LineRefusal::ClientCertificate { given: value.to_owned() });
        }
        return Ok(());
    }
    let taken = OPTIONS.iter().filter(|(_, methods)| methods.contains(&method));
    let names: Vec<&'static str> = taken.map(|(name, _)| *name).collect();
    if names.is_empty() {
        let instead = "remove it".to_owned();
        return Err(LineRefusal::UnknownOption { given: name.to_owned(), method, instead });
    }
    known(name, &names).map(|_| ()).map_err(|instead| {
        let instead = format!("write {instead}");
        LineRefusal::UnknownOption { given: name.to_owned(), method, instead }
    })
}

fn check_complete(method: &'static str, options: &[(&str, &str)]) -> Result<(), LineRefusal> {
    let has = |name: &str| options.iter().any(|(given, _)| *given == name);
    let finds_users = ["ldapbasedn", "ldapprefix", "ldapsuffix", "ldapurl"].into_iter().any(has);
    let needed = match method {
        "ldap" if !finds_users => "ldapbasedn=ENTRY",
        "radius" if !has("radiusservers") => "radiusservers=HOST",
        "radius" if !has("radiussecrets") => "radiussecrets=SECRET",
        "oauth" if !has("issuer") => "issuer=URL",
        "oauth" if !has("scope") => "scope=SCOPE",
        _ => return Ok(()),
    };
    Err(LineRefusal::MethodNeedsOption { method, needed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(kind: &'static str, method: &'static str, options: &str) -> String {
        let options: Vec<_> = options.split_whitespace().collect();
        match check(kind, method, &options) {
            Ok(()) => format!("fine: {kind} {method} {}\n", options.join(" ")),
            Err(refusal) => format!("{refusal}\n"),
        }
    }

    #[test]
    fn a_method_has_its_kind_and_its_options() {
        expect![[r#"
            fine: local peer map=a
            has the method peer, which needs local: begin the line with local
            has the method cert, which needs hostssl: begin the line with hostssl
            has the method gss, which needs host: begin the line with host
            fine: hostssl scram-sha-256 clientcert=verify-full
            has the option clientcert, which needs hostssl: begin the line with hostssl
            has the option clientcert=1: write clientcert=verify-ca or clientcert=verify-full
            fine: hostssl cert clientname=DN
            has the option "map", which md5 does not know: remove it
            has the option "ldapprfix", which ldap does not know: write ldapprefix
            fine: host ldap ldapserver=a ldapprefix=b
            has the option "ldapserver", which is not of the form name=value: correct it
            has the method ldap, which needs ldapbasedn=ENTRY: add it
            has the method radius, which needs radiussecrets=SECRET: add it
            fine: host radius radiusservers=a radiussecrets=b
            fine: host oauth issuer=a scope=b
            has the method oauth, which needs issuer=URL: add it
        "#]]
        .assert_eq(
            &[
                outcome("local", "peer", "map=a"),
                outcome("host", "peer", ""),
                outcome("host", "cert", ""),
                outcome("local", "gss", ""),
                outcome("hostssl", "scram-sha-256", "clientcert=verify-full"),
                outcome("host", "scram-sha-256", "clientcert=verify-full"),
                outcome("hostssl", "cert", "clientcert=1 map=a"),
                outcome("hostssl", "cert", "clientname=DN"),
                outcome("host", "md5", "map=a"),
                outcome("host", "ldap", "ldapserver=a ldapprfix=b"),
                outcome("host", "ldap", "ldapserver=a ldapprefix=b"),
                outcome("host", "ldap", "ldapserver"),
                outcome("host", "ldap", "ldapport=1"),
                outcome("host", "radius", "radiusservers=a"),
                outcome("host", "radius", "radiusservers=a radiussecrets=b"),
                outcome("host", "oauth", "issuer=a scope=b"),
                outcome("host", "oauth", "scope=b"),
            ]
            .concat(),
        );
    }

    #[test]
    fn every_option_belongs_to_a_method() {
        let known = |methods: &&[&str]| methods.iter().all(|method| METHODS.contains(method));
        assert!(OPTIONS.iter().map(|(_, methods)| methods).all(known));
    }
}
