//! Decides whether lines for `pg_hba.conf` and `pg_ident.conf` would be understood.
//!
//! Never lets a line through that it can tell PostgreSQL would refuse: one such line stops every
//! reload and every start.

pub(crate) mod method;

use super::problem::{Findings, Refusal};
use crate::field::FieldPath;
use crate::guess::closest;
use crate::warning::Caution;
use std::net::IpAddr;

/// Why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum LineRefusal {
    #[error("has a line break: write each rule as an item of its own")]
    LineBreak,
    #[error("ends with a backslash, which would swallow the next line: remove it")]
    Continued,
    #[error("has a quote that is not closed: close it")]
    OpenQuote,
    #[error("includes other files, which no instance has: write their lines here")]
    Include,
    #[error("begins with {given:?}, which is not a kind of connection: begin with {instead}")]
    Kind { given: String, instead: String },
    #[error("ends too early: write {form}")]
    Short { form: &'static str },
    #[error("goes on after {given:?}: write {form}")]
    Long { given: String, form: &'static str },
    #[error(
        "has the address {given:?}, which is none: write all, samenet, a host name or a network such as 10.0.0.0/8"
    )]
    Address { given: String },
    #[error("has the address {given} without a mask: write {given}/{bits} for this address alone")]
    NoMask { given: String, bits: u8 },
    #[error(
        "asks for addresses of pods, which are not known here: write a network such as 10.0.0.0/8"
    )]
    Pods,
    #[error(
        "belongs to the map {OUR_MAP}, which lets the agent in: choose another name for the map"
    )]
    OurMap,
    #[error("has the method {given:?}, which is none: write {instead}")]
    Method { given: String, instead: String },
    #[error("has the method {method}, which needs {kind}: begin the line with {kind}")]
    MethodNeedsKind { method: &'static str, kind: &'static str },
    #[error("has the method {method}, which needs {needed}: add it")]
    MethodNeedsOption { method: &'static str, needed: &'static str },
    #[error("has the option {given:?}, which is not of the form name=value: correct it")]
    Setting { given: String },
    #[error("has the option {given:?}, which {method} does not know: {instead}")]
    UnknownOption { given: String, method: &'static str, instead: String },
    #[error("has the option {given}, which needs hostssl: begin the line with hostssl")]
    OptionNeedsTls { given: String },
    #[error(
        "has the option clientcert={given}: write clientcert=verify-ca or clientcert=verify-full"
    )]
    ClientCertificate { given: String },
}

/// What a rule begins with.
pub(crate) const KINDS: [&str; 6] =
    ["host", "hostgssenc", "hostnogssenc", "hostnossl", "hostssl", "local"];
/// Whoever is in this map may act as superuser without a password.
pub(crate) const OUR_MAP: &str = "pgherd";
const LOCAL_FORM: &str = "local DATABASE USER METHOD";
const HOST_FORM: &str = "host DATABASE USER ADDRESS METHOD";
const MAP_FORM: &str = "MAP SYSTEM-USER DATABASE-USER";

/// The rules that are passed on.
pub(super) fn rules(lines: &[String], findings: &mut Findings) -> Vec<String> {
    let place = FieldPath::of("spec.postgresql.pg_hba");
    for (index, line) in lines.iter().enumerate() {
        match rule(line) {
            Ok(Some("trust")) => findings.warn(&place.item(index), Caution::Trust),
            Ok(_) => {}
            Err(refusal) => findings.refuse(&place.item(index), Refusal::Line(refusal)),
        }
    }
    lines.to_vec()
}

/// The user maps that are passed on.
pub(super) fn maps(lines: &[String], findings: &mut Findings) -> Vec<String> {
    let place = FieldPath::of("spec.postgresql.pg_ident");
    for (index, line) in lines.iter().enumerate() {
        if let Err(refusal) = map(line) {
            findings.refuse(&place.item(index), Refusal::Line(refusal));
        }
    }
    lines.to_vec()
}

/// The method of a rule; none for a comment.
fn rule(line: &str) -> Result<Option<&'static str>, LineRefusal> {
    let fields = fields(line)?;
    let mut fields = fields.iter().map(String::as_str);
    let Some(kind) = fields.next() else { return Ok(None) };
    let kind = known_kind(kind)?;
    let form = if kind == "local" { LOCAL_FORM } else { HOST_FORM };
    let short = LineRefusal::Short { form };
    let (_database, _user) = fields.next().zip(fields.next()).ok_or_else(|| short.clone())?;
    if kind != "local" {
        let given = fields.next().ok_or_else(|| short.clone())?;
        if let Address::Bare(bits) = address(given)? {
            let mask = fields.next().ok_or_else(|| short.clone())?;
            let no_mask = || LineRefusal::NoMask { given: given.to_owned(), bits };
            mask.parse::<IpAddr>().map_err(|_| no_mask())?;
        }
    }
    let method = fields.next().ok_or(short)?;
    let method = known(method, &method::METHODS)
        .map_err(|instead| LineRefusal::Method { given: method.to_owned(), instead })?;
    method::check(kind, method, &fields.collect::<Vec<_>>())?;
    Ok(Some(method))
}

fn map(line: &str) -> Result<(), LineRefusal> {
    let fields = fields(line)?;
    match fields.as_slice() {
        [first, ..] if first.starts_with("include") => Err(LineRefusal::Include),
        [first, ..] if first == OUR_MAP => Err(LineRefusal::OurMap),
        [] | [_, _, _] => Ok(()),
        [_, _, last, _, ..] => Err(LineRefusal::Long { given: last.clone(), form: MAP_FORM }),
        [_, ..] => Err(LineRefusal::Short { form: MAP_FORM }),
    }
}

fn known_kind(given: &str) -> Result<&'static str, LineRefusal> {
    if given.starts_with("include") {
        return Err(LineRefusal::Include);
    }
    known(given, &KINDS).map_err(|instead| LineRefusal::Kind { given: given.to_owned(), instead })
}

/// The known word that was given, or the words to choose from.
fn known(given: &str, known: &[&'static str]) -> Result<&'static str, String> {
    let of_list = known.iter().find(|word| **word == given);
    of_list.copied().ok_or_else(|| match closest(given, known.iter().copied()) {
        Some(guess) => guess.to_owned(),
        None => format!("one of {}", known.join(", ")),
    })
}

enum Address {
    Complete,
    /// An address of this many bits, which needs a mask behind it.
    Bare(u8),
}

fn address(given: &str) -> Result<Address, LineRefusal> {
    if given.contains("${") {
        return Err(LineRefusal::Pods);
    }
    let refused = || LineRefusal::Address { given: given.to_owned() };
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    if let Some((network, length)) = given.split_once('/') {
        let network: IpAddr = network.parse().map_err(|_| refused())?;
        let length: u8 = length.parse().map_err(|_| refused())?;
        return if length <= bits(network) { Ok(Address::Complete) } else { Err(refused()) };
    }
    if let Ok(address) = given.parse() {
        return Ok(Address::Bare(bits(address)));
    }
    let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let number = given.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if given.bytes().all(host) && !number { Ok(Address::Complete) } else { Err(refused()) }
}

/// The fields of a line as PostgreSQL splits it: by blanks, save in quotes and after commas; `#`
/// begins a comment.
fn fields(line: &str) -> Result<Vec<String>, LineRefusal> {
    if line.contains(['\n', '\r', '\0']) {
        return Err(LineRefusal::LineBreak);
    }
    if line.ends_with('\\') {
        return Err(LineRefusal::Continued);
    }
    let mut fields: Vec<String> = Vec::new();
    let mut quoted = false;
    let mut open = false;
    for letter in line.chars() {
        match letter {
            '#' if !quoted => break,
            ' ' | '\t' if !quoted => {
                open = open && fields.last().is_some_and(|field| field.ends_with(','));
            }
            _ => {
                if !open {
                    fields.push(String::new());
                    open = true;
                }
                quoted ^= letter == '"';
                if let Some(field) = fields.last_mut().filter(|_| letter != '"') {
                    field.push(letter);
                }
            }
        }
    }
    if quoted { Err(LineRefusal::OpenQuote) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(check: fn(&[String], &mut Findings) -> Vec<String>, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let mut findings = Findings::default();
        assert_eq!(check(&lines, &mut findings), lines);
        let problems = findings.problems.iter().map(|problem| format!("refused: {problem}\n"));
        let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        problems.chain(warnings).collect()
    }

    #[test]
    fn rules_that_postgresql_understands_are_passed_on() {
        expect![[r#"
            warning: spec.postgresql.pg_hba[8] lets everybody in whom it matches, without a password: prefer scram-sha-256
            warning: spec.postgresql.pg_hba[9] lets everybody in whom it matches, without a password: prefer scram-sha-256
        "#]].assert_eq(&outcome(
            rules,
            &[
                "",
                "  # a comment",
                "local all postgres peer map=local",
                "host all all 10.0.0.0/8 md5 # for the old ones",
                "hostssl\t\"my db\" app all scram-sha-256",
                "hostssl app, other +readers,\"a b\" samenet cert clientcert=verify-full",
                "hostnossl all all ::/0 reject",
                "host all all 192.168.0.1 255.255.255.255 ldap ldapprefix=\"a b\"",
                "host all all .example.org trust",
                "local all all trust",
            ],
        ));
    }

    #[test]
    fn rules_that_would_stop_a_reload_are_refused() {
        expect![[r#"
            refused: spec.postgresql.pg_hba[0] has a line break: write each rule as an item of its own
            refused: spec.postgresql.pg_hba[1] ends with a backslash, which would swallow the next line: remove it
            refused: spec.postgresql.pg_hba[2] has a quote that is not closed: close it
            refused: spec.postgresql.pg_hba[3] includes other files, which no instance has: write their lines here
            refused: spec.postgresql.pg_hba[4] begins with "hots", which is not a kind of connection: begin with host
            refused: spec.postgresql.pg_hba[5] begins with "everybody", which is not a kind of connection: begin with one of host, hostgssenc, hostnogssenc, hostnossl, hostssl, local
            refused: spec.postgresql.pg_hba[6] has the method "all", which is none: write one of cert, gss, ident, ldap, md5, oauth, pam, password, peer, radius, reject, scram-sha-256, trust
            refused: spec.postgresql.pg_hba[7] ends too early: write host DATABASE USER ADDRESS METHOD
            refused: spec.postgresql.pg_hba[8] ends too early: write local DATABASE USER METHOD
            refused: spec.postgresql.pg_hba[9] ends too early: write host DATABASE USER ADDRESS METHOD
            refused: spec.postgresql.pg_hba[10] ends too early: write host DATABASE USER ADDRESS METHOD
            refused: spec.postgresql.pg_hba[11] has the address "10.0.0.0/33", which is none: write all, samenet, a host name or a network such as 10.0.0.0/8
            refused: spec.postgresql.pg_hba[12] has the address "10.0.0/8", which is none: write all, samenet, a host name or a network such as 10.0.0.0/8
            refused: spec.postgresql.pg_hba[13] has the address "10.0.0", which is none: write all, samenet, a host name or a network such as 10.0.0.0/8
            refused: spec.postgresql.pg_hba[14] has the address 10.0.0.1 without a mask: write 10.0.0.1/32 for this address alone
            refused: spec.postgresql.pg_hba[15] has the address ::1 without a mask: write ::1/128 for this address alone
            refused: spec.postgresql.pg_hba[16] asks for addresses of pods, which are not known here: write a network such as 10.0.0.0/8
            refused: spec.postgresql.pg_hba[17] has the method "scram-sha256", which is none: write scram-sha-256
            refused: spec.postgresql.pg_hba[18] has the method "none", which is none: write one of cert, gss, ident, ldap, md5, oauth, pam, password, peer, radius, reject, scram-sha-256, trust
            refused: spec.postgresql.pg_hba[19] has the option "ldapserver", which is not of the form name=value: correct it
        "#]].assert_eq(&outcome(
            rules,
            &[
                "host all all all trust\nlocal all all trust",
                "local all all trust \\",
                "local \"all all trust",
                "include other.conf",
                "hots all all all trust",
                "everybody",
                "hostssl app , other app all scram-sha-256",
                "host",
                "local all all",
                "host all all 10.0.0.0/8",
                "host all all md5",
                "host all all 10.0.0.0/33 md5",
                "host all all 10.0.0/8 md5",
                "host all all 10.0.0 md5",
                "host all all 10.0.0.1 md5",
                "host all all ::1 md5",
                "host all all ${podselector:web} md5",
                "host all all all scram-sha256",
                "host all all all none",
                "host all all all ldap ldapserver",
            ],
        ));
    }

    #[test]
    fn user_maps_have_three_fields() {
        expect![[r#"
            refused: spec.postgresql.pg_ident[3] ends too early: write MAP SYSTEM-USER DATABASE-USER
            refused: spec.postgresql.pg_ident[4] goes on after "database": write MAP SYSTEM-USER DATABASE-USER
            refused: spec.postgresql.pg_ident[5] includes other files, which no instance has: write their lines here
            refused: spec.postgresql.pg_ident[6] has a line break: write each rule as an item of its own
            refused: spec.postgresql.pg_ident[7] belongs to the map pgherd, which lets the agent in: choose another name for the map
        "#]].assert_eq(&outcome(
            maps,
            &[
                "local root postgres",
                "# nothing",
                "ssl \"/^(.*)@example\\.org$\" \\1",
                "map system",
                "map system database more",
                "include_dir maps",
                "map system\ndatabase",
                "pgherd eve postgres",
            ],
        ));
    }
}
