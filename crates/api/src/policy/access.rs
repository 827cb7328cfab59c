//! Refuses lines for `pg_hba.conf` and `pg_ident.conf` that would stop every reload.
//!
//! Never reads a line to its end: the operator does, and reports.

use super::Check;
use crate::cluster::access::{KINDS, OUR_MAP};

pub(super) fn checks() -> Vec<Check> {
    let kinds = KINDS.join("|");
    let rule = format!(
        "variables.rules.filter(line, !line.matches(r'^[ \\t]*($|#|\"?({kinds})\"?[ \\t])'))"
    );
    let map =
        format!("variables.maps.filter(line, line.matches(r'^[ \\t]*\"?{OUR_MAP}\"?[ \\t]'))");
    vec![
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
        Check {
            name: "cluster-access-rule-has-a-kind".into(),
            place: "spec.postgresql.pg_hba: ".into(),
            offenders: rule.into(),
            refusal: format!(
                "does not begin with a kind of connection: begin with one of {}",
                KINDS.join(", ")
            )
            .into(),
        },
        Check {
            name: "cluster-access-map-is-not-the-agents".into(),
            place: "spec.postgresql.pg_ident: ".into(),
            offenders: map.into(),
            refusal: format!(
                "belongs to the map {OUR_MAP}, which lets the agent in: choose another name for the map"
            )
            .into(),
        },
    ]
}
