//! Makes roles from what pg_dumpall has written of them.
//!
//! Never changes a role that was there before, and never lets a verifier into a log.

use crate::chain::chain;
use crate::postgres::roles::QUIET;
use crate::postgres::session::{Session, SessionError};
use std::collections::BTreeSet;
use std::time::Duration;

const WITHIN: Duration = Duration::from_mins(2);

#[derive(Debug, thiserror::Error)]
pub enum GlobalsError {
    #[error("keeping verifiers out of the log")]
    Silence(#[source] SessionError),
    #[error("making role {role:?}")]
    MakeRole { role: String, source: SessionError },
}

/// What becomes of superusers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Superusers {
    Kept,
    Degraded,
}

/// The roles that a text of pg_dumpall makes.
pub(crate) fn roles(text: &str) -> BTreeSet<String> {
    let meanings = statements(text).into_iter().map(Meaning::of);
    let made = meanings.filter_map(|meaning| match meaning {
        Meaning::Makes(role) => Some(role),
        Meaning::Completes(_) | Meaning::Other => None,
    });
    made.collect()
}

/// Makes these roles as the text says, with their settings and memberships. Tells what could not be
/// made whole.
pub(crate) async fn make(
    session: &mut Session,
    wanted: &BTreeSet<String>,
    text: &str,
    superusers: Superusers,
) -> Result<Vec<String>, GlobalsError> {
    session.run(QUIET, WITHIN).await.map_err(GlobalsError::Silence)?;
    let mut complaints = Vec::new();
    for statement in statements(text) {
        match Meaning::of(statement) {
            Meaning::Makes(role) if wanted.contains(&role) => {
                let made = session.run(statement, WITHIN).await;
                made.map_err(|source| GlobalsError::MakeRole { role, source })?;
            }
            Meaning::Completes(role) if wanted.contains(&role) => {
                let statement = match superusers {
                    Superusers::Kept => statement.to_owned(),
                    Superusers::Degraded => degraded(statement),
                };
                // Membership in a role that does not exist here, for example: the rest is good.
                if let Err(error) = session.run(&statement, WITHIN).await {
                    let error = chain(&error);
                    complaints.push(format!("role {role:?} is not all that it was: {error}"));
                }
            }
            Meaning::Makes(_) | Meaning::Completes(_) | Meaning::Other => {}
        }
    }
    Ok(complaints)
}

/// Attributes come before anything that is quoted.
fn degraded(statement: &str) -> String {
    let quotes = statement.find('\'').unwrap_or(statement.len());
    let (attributes, rest) = statement.split_at(quotes);
    attributes.replacen(" WITH SUPERUSER ", " WITH NOSUPERUSER ", 1) + rest
}

/// What a statement of pg_dumpall is about.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Makes(String),
    Completes(String),
    Other,
}

impl Meaning {
    fn of(statement: &str) -> Self {
        let words = |count| words(statement, count);
        match words(3).as_slice() {
            [create, role, name] if create == "CREATE" && role == "ROLE" => {
                Self::Makes(name.clone())
            }
            // What holds in one database is that database's.
            [alter, role, name] if alter == "ALTER" && role == "ROLE" => match words(4).last() {
                Some(fourth) if fourth == "IN" => Self::Other,
                _ => Self::Completes(name.clone()),
            },
            [grant, _, to] if grant == "GRANT" && to == "TO" => match words(4).as_slice() {
                [_, _, _, member] => Self::Completes(member.clone()),
                _ => Self::Other,
            },
            [comment, on, role] if comment == "COMMENT" && on == "ON" && role == "ROLE" => {
                words(4).get(3).map_or(Self::Other, |name| Self::Completes(name.clone()))
            }
            _ => Self::Other,
        }
    }
}

/// The first words of a statement, names without their quotes.
fn words(statement: &str, count: usize) -> Vec<String> {
    let mut rest = statement.trim_start();
    let mut words = Vec::new();
    while words.len() < count && !rest.is_empty() {
        let (word, length) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted_length(quoted, '"');
            let inner = quoted.get(..end.saturating_sub(1)).unwrap_or(quoted);
            (inner.replace("\"\"", "\""), end + 1)
        } else {
            let end = rest.find([' ', ';', '\n']).unwrap_or(rest.len());
            (rest.get(..end).unwrap_or_default().to_owned(), end)
        };
        words.push(word);
        rest = rest.get(length..).unwrap_or_default().trim_start_matches([' ', ';', '\n']);
    }
    words
}

/// How much of a text belongs to the quotes that it is in, with the closing one.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if c == quote && rest.next_if(|(_, next)| *next == quote).is_none() {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// The statements of a text by pg_dumpall, which quotes with doubled quotes, and with `E` only what has
/// backslashes, doubled too.
fn statements(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return statements;
        }
        // Comments, and commands of psql.
        if rest.starts_with("--") || rest.starts_with('\\') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let end = statement_length(rest);
        statements.extend(rest.get(..end));
        rest = rest.get(end..).unwrap_or_default();
    }
}

fn statement_length(text: &str) -> usize {
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(found) = rest.find([';', '\'', '"'])
    {
        let after = at + found + 1;
        at = match rest.as_bytes().get(found) {
            Some(b';') => return after,
            Some(b'\'') => after + quoted_length(text.get(after..).unwrap_or_default(), '\''),
            _ => after + quoted_length(text.get(after..).unwrap_or_default(), '"'),
        };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const GLOBALS: &str = r#"--
-- PostgreSQL database cluster dump; with a semicolon
--
\restrict abc
SET standard_conforming_strings = on;
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c$d:e';
CREATE ROLE "odd ""one"";";
ALTER ROLE "odd ""one"";" SET search_path TO 'a; b', "c";
ALTER ROLE app IN DATABASE x SET work_mem TO '1';
GRANT "odd ""one"";" TO app WITH ADMIN OPTION GRANTED BY postgres;
GRANT SET ON PARAMETER log_min_messages TO app;
COMMENT ON ROLE app IS E'it''s \\ here;
too';
"#;

    #[test]
    fn superusers_can_be_made_without_their_power() {
        let statement =
            "ALTER ROLE \"a SUPERUSER \" WITH SUPERUSER LOGIN PASSWORD 'WITH SUPERUSER ';";
        let told = "ALTER ROLE \"a SUPERUSER \" WITH NOSUPERUSER LOGIN PASSWORD 'WITH SUPERUSER ';";
        assert_eq!(degraded(statement), told);
        assert_eq!(roles(GLOBALS), ["app", "odd \"one\";"].map(str::to_owned).into());
    }

    #[test]
    fn statements_of_roles_are_told_from_all_others() {
        let told = statements(GLOBALS)
            .into_iter()
            .map(|statement| format!("{:?} <- {statement}\n", Meaning::of(statement)))
            .collect::<Vec<_>>()
            .concat();
        expect![[r#"
            Other <- SET standard_conforming_strings = on;
            Makes("app") <- CREATE ROLE app;
            Completes("app") <- ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c$d:e';
            Makes("odd \"one\";") <- CREATE ROLE "odd ""one"";";
            Completes("odd \"one\";") <- ALTER ROLE "odd ""one"";" SET search_path TO 'a; b', "c";
            Other <- ALTER ROLE app IN DATABASE x SET work_mem TO '1';
            Completes("app") <- GRANT "odd ""one"";" TO app WITH ADMIN OPTION GRANTED BY postgres;
            Other <- GRANT SET ON PARAMETER log_min_messages TO app;
            Completes("app") <- COMMENT ON ROLE app IS E'it''s \\ here;
            too';
        "#]]
        .assert_eq(&told);
    }
}
