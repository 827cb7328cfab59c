//! Refuses lines for `pg_hba.conf` and `pg_ident.conf` that would stop every reload.
//!
//! Never reads options and addresses: the operator does, and reports.

use super::Check;
use crate::cluster::access::method::METHODS;
use crate::cluster::access::{KINDS, OUR_MAP};

/// What PostgreSQL takes for one field: a list goes on behind a comma, and so does a quoted text.
const FIELD: &str = r#"("[^"]*"|,[ \t]*|[^ \t",#])+"#;

pub(super) fn checks() -> Vec<Check> {
    [kept().to_vec(), read().to_vec()].concat()
}

/// What would reach into the next line.
const fn kept() -> [Check; 2] {
    [
        Check::new(
            "cluster-access-is-one-line",
            "spec.postgresql.pg_hba or pg_ident: ",
            r"(variables.rules + variables.maps).filter(line, line.matches(r'[\n\r\x00]')).map(line, line.split('\n')[0])",
            "goes on in another line: write each rule as an item of its own",
        ),
        Check::new(
            "cluster-access-ends-with-its-line",
            "spec.postgresql.pg_hba or pg_ident: ",
            r"(variables.rules + variables.maps).filter(line, line.endsWith('\\'))",
            "would swallow the next line: remove the backslash at its end",
        ),
    ]
}

fn read() -> [Check; 4] {
    let (kinds, methods) = (KINDS.join("|"), METHODS.join("|"));
    let begins = format!(r#"$|#|"?({kinds})"?[ \t]"#);
    let method = format!(r#"[ \t]+"?({methods})"?([ \t#]|$)"#);
    let users = format!(r"[ \t]+{FIELD}[ \t]+{FIELD}");
    let address = format!(r"[ \t]+{FIELD}([ \t]+[0-9A-Fa-f:.]+)?");
    let whole = format!(
        r#"$|#|"?local"?{users}{method}|"?(host|hostgssenc|hostnogssenc|hostnossl|hostssl)"?{users}{address}{method}"#
    );
    let map = format!(r"$|#|{FIELD}[ \t]+{FIELD}[ \t]+{FIELD}[ \t]*($|#)");
    [
        rules(
            "cluster-access-rule-has-a-kind",
            &format!("!{}", matches(&begins)),
            format!(
                "does not begin with a kind of connection: begin with one of {}",
                KINDS.join(", ")
            ),
        ),
        rules(
            "cluster-access-rule-is-whole",
            &format!("{} && !{}", matches(&begins), matches(&whole)),
            format!(
                "is not whole: write local DATABASE USER METHOD or host DATABASE USER ADDRESS METHOD, with one of the methods {}",
                METHODS.join(", ")
            ),
        ),
        maps(
            "cluster-access-map-is-whole",
            &format!("!{}", matches(&map)),
            "is not whole: write MAP SYSTEM-USER DATABASE-USER".to_owned(),
        ),
        maps(
            "cluster-access-map-is-not-the-agents",
            &matches(&format!(r#""?{OUR_MAP}"?[ \t]"#)),
            format!(
                "belongs to the map {OUR_MAP}, which lets the agent in: choose another name for the map"
            ),
        ),
    ]
}

/// Whether the `line` is so from its first word on.
fn matches(form: &str) -> String {
    format!("line.matches(r'^[ \\t]*({form})')")
}

fn rules(name: &'static str, offends: &str, refusal: String) -> Check {
    Check {
        name: name.into(),
        place: "spec.postgresql.pg_hba: ".into(),
        offenders: format!("variables.rules.filter(line, {offends})").into(),
        refusal: refusal.into(),
    }
}

fn maps(name: &'static str, offends: &str, refusal: String) -> Check {
    Check {
        name: name.into(),
        place: "spec.postgresql.pg_ident: ".into(),
        offenders: format!("variables.maps.filter(line, {offends})").into(),
        refusal: refusal.into(),
    }
}
