//! Lets the server itself say which of a user's parameters it would accept, before it needs to.
//!
//! Never touches a data folder. An unknown name in the configuration makes a running server ignore
//! every change, also those that seal it or close its gate; a wrong value keeps it from starting.

use crate::postgres::config::parameters::{self, Parameters, Refused};
use crate::postgres::config::quote::setting;
use crate::postgres::folder::{self, FolderError};
use crate::postgres::site::Site;
use crate::process::tool::{Tool, ToolError};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
/// Unknown names hide wrong values, and these may hide more.
const ROUNDS: usize = 8;
const UNCLEAR: &str = "was not accepted together with the others: try it alone";

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("preparing a folder for the trial")]
    PrepareFolder { source: FolderError },
    #[error("writing the parameters for the trial")]
    Write { source: crate::durable::DurableError },
    #[error("trying the parameters")]
    Try { source: ToolError },
}

/// Accepts what is not ours and what the server takes; the rest is told with the reason.
pub async fn accept(
    site: &Site,
    given: &BTreeMap<String, String>,
) -> Result<(Parameters, Vec<Refused>), TrialError> {
    let mut refused = parameters::check(given);
    let mut left = given.clone();
    left.retain(|name, _| !refused.iter().any(|refused| refused.name == *name));
    for _ in 0..ROUNDS {
        let complaint = attempt(site, &left).await?;
        let wrong = complaint.map(|complaint| blame(&complaint, &left));
        match wrong {
            None => return Ok((Parameters::accepted(left), refused)),
            // It complains of none by name: better no parameters than a server that does not start.
            Some(wrong) if wrong.is_empty() => break,
            Some(wrong) => {
                left.retain(|name, _| !wrong.iter().any(|refused| refused.name == *name));
                refused.extend(wrong);
            }
        }
    }
    refused.extend(left.into_keys().map(|name| Refused { name, why: UNCLEAR.into() }));
    Ok((Parameters::default(), refused))
}

/// What the server complains of, if it does.
async fn attempt(
    site: &Site,
    parameters: &BTreeMap<String, String>,
) -> Result<Option<String>, TrialError> {
    let trial = site.base.join("pgherd.trial");
    folder::make_private(&trial, site.owner)
        .map_err(|source| TrialError::PrepareFolder { source })?;
    let said = run(site, &trial, parameters).await;
    folder::remove_tree(&trial).map_err(|source| TrialError::PrepareFolder { source })?;
    said
}

async fn run(
    site: &Site,
    trial: &Path,
    parameters: &BTreeMap<String, String>,
) -> Result<Option<String>, TrialError> {
    let lines: Vec<_> = parameters
        .iter()
        .map(|(name, value)| {
            format!(
                "{name} = {}
",
                setting(value)
            )
        })
        .collect();
    let lines = lines.concat();
    let file = trial.join("postgresql.conf");
    crate::durable::write(&file, lines.as_bytes(), site.private())
        .map_err(|source| TrialError::Write { source })?;
    let tool = Tool::new(site.installation.tool("postgres"))
        .argument("-D")
        .argument(trial)
        // Read the configuration, say one value of it, end.
        .argument("-C")
        .argument("config_file")
        .run_as(site.owner);
    match tool.run(WITHIN).await {
        Ok(_) => Ok(None),
        Err(ToolError::Fail { complaint, .. }) => Ok(Some(complaint)),
        Err(source) => Err(TrialError::Try { source }),
    }
}

/// The parameters that a complaint names, with its words.
fn blame(complaint: &str, parameters: &BTreeMap<String, String>) -> Vec<Refused> {
    let mut refused = Vec::new();
    for line in complaint.lines() {
        let Some((_, words)) = line.split_once("LOG:  ") else { continue };
        let Some((before, rest)) = words.split_once("parameter \"") else { continue };
        let Some((name, _)) = rest.split_once('"') else { continue };
        let given = parameters.keys().find(|given| given.eq_ignore_ascii_case(name));
        if let Some(given) = given {
            let why = if before.starts_with("unrecognized") {
                "is unknown to this PostgreSQL: correct its name or remove it".to_owned()
            } else {
                format!("is refused by PostgreSQL: {words}")
            };
            refused.push(Refused { name: given.clone(), why: why.into() });
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_per_parameter() {
        let parameters =
            ["Work_Mem", "no_such", "port"].map(|name| (name.to_owned(), String::new()));
        let complaint = "2026 GMT [1] LOG:  unrecognized configuration parameter \"no_such\" in file \"/x\" line 2\n\
            2026 GMT [1] LOG:  invalid value for parameter \"work_mem\": \"lots\"\n\
            2026 GMT [1] FATAL:  configuration file \"/x\" contains errors";
        let refused = blame(complaint, &BTreeMap::from(parameters));
        let said: Vec<_> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "parameter no_such is unknown to this PostgreSQL: correct its name or remove it",
                "parameter Work_Mem is refused by PostgreSQL: invalid value for parameter \"work_mem\": \"lots\"",
            ]
        );
    }
}
