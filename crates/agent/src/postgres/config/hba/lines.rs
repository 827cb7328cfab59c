//! Accepts a user's lines of pg_hba.conf, or says what is wrong with them.
//!
//! Never accepts a line that PostgreSQL would refuse: one such line makes it ignore the whole file,
//! and with it the opening and closing of the gate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Lines that PostgreSQL accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lines(Vec<String>);

/// A line that is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the line {line:?} of pg_hba {why}")]
pub struct RefusedLine {
    pub line: String,
    pub why: &'static str,
}

impl Lines {
    /// The good ones in their order, and the others. Comments and empty lines are dropped.
    pub fn accept(given: &[String]) -> (Self, Vec<RefusedLine>) {
        let mut accepted = Vec::new();
        let mut refused = Vec::new();
        for line in given {
            match check(line) {
                Ok(Content::Rule) => accepted.push(line.trim().to_owned()),
                Ok(Content::Nothing) => {}
                Err(why) => refused.push(RefusedLine { line: line.clone(), why }),
            }
        }
        (Self(accepted), refused)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

enum Content {
    Rule,
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Host,
    HostTls,
}

fn check(line: &str) -> Result<Content, &'static str> {
    if line.contains(['\n', '\r', '\0', '\\']) {
        return Err("holds a line end, a zero byte or a backslash: write one rule per line");
    }
    let fields = fields(line)?;
    let mut fields = fields.iter().map(String::as_str);
    let Some(first) = fields.next() else { return Ok(Content::Nothing) };
    let kind = match first {
        "local" => Kind::Local,
        "host" | "hostnossl" | "hostgssenc" | "hostnogssenc" => Kind::Host,
        "hostssl" => Kind::HostTls,
        _ => return Err("begins with no known type: use local, host, hostssl or hostnossl"),
    };
    for _ in ["database", "user"] {
        let names = fields
            .next()
            .ok_or("ends before its method: give type, database, user, address and method")?;
        if names.contains(['@', '/']) {
            return Err("names a file or a pattern: name databases and users");
        }
    }
    if kind != Kind::Local {
        check_address(&mut fields)?;
    }
    let method = fields.next().ok_or("has no method: add one, for example scram-sha-256")?;
    check_method(kind, method)?;
    let options: Vec<_> = fields.collect();
    options.iter().try_for_each(|option| check_option(kind, method, option))?;
    check_needed(method, &options)?;
    Ok(Content::Rule)
}

/// Cuts a line at white space outside quotes; a comma joins what follows it, not what precedes it.
fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    let mut fields: Vec<String> = Vec::new();
    let mut quoted = false;
    let mut gap = true;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            c if c.is_ascii_whitespace() && !quoted => {
                gap = true;
                continue;
            }
            _ => {}
        }
        let joins = fields.last().is_some_and(|last| last.ends_with(','));
        match fields.last_mut() {
            Some(last) if !gap || joins => last.push(c),
            _ => fields.push(c.to_string()),
        }
        gap = false;
    }
    let whole = !quoted && !fields.iter().any(|f| f.ends_with(',') || f.starts_with(','));
    if whole { Ok(fields) } else { Err("has an open quote or a list that does not end: close it") }
}

fn check_address<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Result<(), &'static str> {
    const MASK: &str = "has an address without a valid mask: write it like 10.0.0.0/8";
    let address = fields.next().ok_or("has no address: add one, for example all")?;
    if let Some((ip, bits)) = address.split_once('/') {
        let most = match IpAddr::from_str(ip) {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return Err("has an address that is none: write it like 10.0.0.0/8"),
        };
        let fits = bits.bytes().all(|b| b.is_ascii_digit())
            && bits.parse::<u32>().is_ok_and(|bits| bits <= most);
        return if fits { Ok(()) } else { Err(MASK) };
    }
    match IpAddr::from_str(address) {
        Ok(IpAddr::V4(_)) => {
            let mask = fields.next().and_then(|mask| Ipv4Addr::from_str(mask).ok()).ok_or(MASK)?;
            is_mask(u128::from(u32::from(mask)) << 96)
        }
        Ok(IpAddr::V6(_)) => {
            let mask = fields.next().and_then(|mask| Ipv6Addr::from_str(mask).ok()).ok_or(MASK)?;
            is_mask(u128::from(mask))
        }
        Err(_) if is_host(address) => Ok(()),
        Err(_) => Err("has an address that is none: write it like 10.0.0.0/8"),
    }
}

fn is_mask(mask: u128) -> Result<(), &'static str> {
    if mask.leading_ones() == mask.count_ones() {
        Ok(())
    } else {
        Err("has a mask with gaps: write the address like 10.0.0.0/8")
    }
}

/// A name, or one of the words `all`, `samehost` and `samenet`.
fn is_host(address: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    address.bytes().all(is_name) && address.bytes().any(|b| b.is_ascii_alphabetic())
}

fn check_method(kind: Kind, method: &str) -> Result<(), &'static str> {
    match method {
        "trust" | "reject" | "scram-sha-256" | "md5" | "password" | "ldap" | "radius" | "pam"
        | "ident" => Ok(()),
        "peer" if kind == Kind::Local => Ok(()),
        "peer" => Err("uses peer, which works on local sockets only: use another method"),
        "cert" if kind == Kind::HostTls => Ok(()),
        "cert" => Err("uses cert, which works with hostssl only: change the type"),
        "gss" if kind != Kind::Local => Ok(()),
        "gss" => Err("uses gss, which does not work on local sockets: use another method"),
        _ => Err("has an unknown method: use scram-sha-256, cert, md5, ldap, radius, pam or gss"),
    }
}

fn check_option(kind: Kind, method: &str, option: &str) -> Result<(), &'static str> {
    const UNKNOWN: &str = "has an option that does not go with its method: remove it";
    let (name, value) =
        option.split_once('=').ok_or("has an option without a value: add =value")?;
    let value = value.trim_matches('"');
    let fits = match name {
        "map" => ["ident", "peer", "gss", "cert"].contains(&method),
        "clientcert" => {
            kind == Kind::HostTls
                && (value == "verify-full" || value == "verify-ca" && method != "cert")
        }
        "clientname" => kind == Kind::HostTls && ["CN", "DN"].contains(&value),
        "pamservice" => method == "pam",
        "pam_use_hostname" => method == "pam" && ["0", "1"].contains(&value),
        "include_realm" => method == "gss" && ["0", "1"].contains(&value),
        "krb_realm" => method == "gss",
        "ldapserver"
        | "ldapbinddn"
        | "ldapbindpasswd"
        | "ldapsearchattribute"
        | "ldapsearchfilter"
        | "ldapbasedn"
        | "ldapprefix"
        | "ldapsuffix" => method == "ldap",
        "ldapscheme" => method == "ldap" && ["ldap", "ldaps"].contains(&value),
        "ldaptls" => method == "ldap" && value == "1",
        "ldapport" => method == "ldap" && value.parse::<u16>().is_ok_and(|port| port > 0),
        "radiusservers" | "radiussecrets" | "radiusidentifiers" => {
            method == "radius" && !value.contains(',')
        }
        "radiusports" => method == "radius" && value.parse::<u16>().is_ok_and(|port| port > 0),
        _ => false,
    };
    if fits && !value.is_empty() { Ok(()) } else { Err(UNKNOWN) }
}

fn check_needed(method: &str, options: &[&str]) -> Result<(), &'static str> {
    let has = |name: &str| {
        options.iter().any(|option| option.strip_prefix(name).is_some_and(|v| v.starts_with('=')))
    };
    match method {
        "ldap" => {
            // Either a pattern for the name to bind with, or a search for it.
            let pattern = has("ldapprefix") || has("ldapsuffix");
            let search = ["ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute"]
                .iter()
                .chain(&["ldapsearchfilter"])
                .any(|name| has(name));
            let twice = has("ldapsearchattribute") && has("ldapsearchfilter");
            let whole = has("ldapserver") && !twice && (pattern != search);
            if whole && (pattern || has("ldapbasedn")) {
                Ok(())
            } else {
                Err(
                    "lacks options of ldap, or mixes two ways: give ldapserver with ldapprefix and ldapsuffix, or with ldapbasedn",
                )
            }
        }
        "radius" if !has("radiusservers") || !has("radiussecrets") => {
            Err("lacks options of radius: give radiusservers and radiussecrets")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Option<String> {
        let (accepted, refused) = Lines::accept(&[line.to_owned()]);
        assert!(accepted.0.len() + refused.len() <= 1);
        refused.first().map(|refused| refused.why.to_owned())
    }

    #[test]
    fn comments_and_empty_lines_are_dropped() {
        let given = ["", "  # all", "host all all all reject # x"].map(str::to_owned);
        let (accepted, refused) = Lines::accept(&given);
        assert_eq!(accepted.iter().collect::<Vec<_>>(), ["host all all all reject # x"]);
        assert_eq!(refused, []);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let said = [
            "hots all all all md5",
            "host all all md5",
            "host all all 10.0.0.0 md5",
            "host all all 10.0.0.0/33 md5",
            "host all all 10.0.0.0 255.0.255.0 md5",
            "host all all all",
            "host all all all scram",
            "host all all all peer",
            "host all all all cert",
            "host all all all md5 map=x",
            "host all \"open all md5",
            "host all @file all md5",
            "host all all all ldap",
        ]
        .map(|line| refusal(line).unwrap());
        expect_test::expect![[r"
            begins with no known type: use local, host, hostssl or hostnossl
            has no method: add one, for example scram-sha-256
            has an address without a valid mask: write it like 10.0.0.0/8
            has an address without a valid mask: write it like 10.0.0.0/8
            has a mask with gaps: write the address like 10.0.0.0/8
            has no method: add one, for example scram-sha-256
            has an unknown method: use scram-sha-256, cert, md5, ldap, radius, pam or gss
            uses peer, which works on local sockets only: use another method
            uses cert, which works with hostssl only: change the type
            has an option that does not go with its method: remove it
            has an open quote or a list that does not end: close it
            names a file or a pattern: name databases and users
            lacks options of ldap, or mixes two ways: give ldapserver with ldapprefix and ldapsuffix, or with ldapbasedn"]]
        .assert_eq(&said.join("\n"));
    }
}
