//! `pgherd inside check`: runs the user's own checks in the PostgreSQL of this pod.
//!
//! Never goes on when nobody listens any more.

use super::super::check::{Checked, judged, quietly};
use super::super::output::say;
use super::question;
use super::repository::BETWEEN_WORDS;
use anyhow::bail;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::interval;

/// Read checks from stdin, run them, and print what became of them
#[derive(clap::Args)]
pub(super) struct Check {}

/// What is run, and as whom.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    pub(crate) statements: String,
    pub(crate) database: String,
    /// The role that they run as; whoever connects is `postgres`.
    pub(crate) role: String,
}

/// What is said, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Said {
    /// It goes on.
    Running,
    Checked(Checked),
    Refused(Failure),
}

pub(super) async fn tell() -> anyhow::Result<()> {
    let (asked, mut gone) = question::read().await?;
    let mut working = std::pin::pin!(run(&asked));
    let mut words = interval(BETWEEN_WORDS);
    let said = loop {
        tokio::select! {
            ran = &mut working => break match ran {
                Ok(checked) => Said::Checked(checked),
                Err(failure) => Said::Refused(failure),
            },
            _ = words.tick() => say(&serde_json::to_string(&Said::Running)?),
            _gone = &mut gone => bail!("nobody listens any more"),
        }
    };
    say(&serde_json::to_string(&said)?);
    Ok(())
}

async fn run(asked: &Question) -> Result<Checked, Failure> {
    let mut psql = Command::new("psql");
    quietly(&mut psql)
        .args(["--username", "postgres", "--dbname", &asked.database])
        .env("PGOPTIONS", format!("-c role={}", option(&asked.role)));
    judged(psql, &asked.statements).await
}

/// A value among the options of a session, where a backslash makes the next letter plain.
fn option(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    for letter in value.chars() {
        if letter == '\\' || letter.is_whitespace() {
            plain.push('\\');
        }
        plain.push(letter);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::option;

    #[test]
    fn a_role_of_any_name_is_one_value() {
        assert_eq!(option("app"), "app");
        assert_eq!(option("the app\\er"), "the\\ app\\\\er");
    }
}
