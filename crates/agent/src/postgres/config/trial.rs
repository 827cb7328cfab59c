//! Lets the server itself say which of a user's parameters it would accept, before it needs to.
//!
//! Never touches a data folder: of one that is there, what the server looks at before it starts is
//! copied. An unknown name in the configuration makes a running server ignore
//! every change, also those that seal it or close its gate; a wrong value keeps it from starting.

use crate::postgres::config::parameters::{self, Parameters, Refused};
use crate::postgres::config::quote::setting;
use crate::postgres::control;
use crate::postgres::folder::{self, FolderError};
use crate::postgres::memory;
use crate::postgres::site::Site;
use crate::process::tool::{Tool, ToolError};
use pgherd_core::units::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
/// Unknown names hide wrong values, and these may hide more.
const ROUNDS: usize = 8;
const SHARED_LIBRARIES: &str = "shared_preload_libraries";
const USERS_FOLDER: &str = "$libdir/plugins/";
const UNCLEAR: &str = "was not accepted together with the others: try it alone";
/// Since this version a server says how much memory it will share, without starting.
const TELLS_MEMORY: u32 = 15;
/// What makes a server share much memory, the usual reason first.
const NEEDS_MEMORY: [&str; 6] = [
    "shared_buffers",
    "wal_buffers",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "min_dynamic_shared_memory",
];

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("preparing a folder for the trial")]
    PrepareFolder { source: FolderError },
    #[error("writing the parameters for the trial")]
    Write { source: crate::durable::DurableError },
    #[error("copying {name} for the trial")]
    Copy { name: &'static str, source: std::io::Error },
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
        let wrong = match attempt(site, &left).await? {
            Said::Complaint(complaint) => Some(blame(&complaint, &left)),
            Said::Shares(memory) => too_much(memory, memory::limit(), &left),
            Said::Nothing => None,
        };
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

/// What the server says of some parameters.
enum Said {
    Complaint(String),
    /// It would start, and share so much memory.
    Shares(Bytes),
    /// It takes them.
    Nothing,
}

async fn attempt(site: &Site, parameters: &BTreeMap<String, String>) -> Result<Said, TrialError> {
    let trial = site.base.join("pgherd.trial");
    let prepare = |folder: &Path| {
        folder::make_private(folder, site.owner)
            .map_err(|source| TrialError::PrepareFolder { source })
    };
    prepare(&trial)?;
    prepare(&trial.join("global"))?;
    let said = run(site, &trial, parameters).await;
    folder::remove_tree(&trial).map_err(|source| TrialError::PrepareFolder { source })?;
    said
}

async fn run(
    site: &Site,
    trial: &Path,
    parameters: &BTreeMap<String, String>,
) -> Result<Said, TrialError> {
    let lines: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{name} = {}\n", setting(value))).collect();
    let libraries = libraries_of_sessions(parameters);
    let libraries = libraries.map(|value| format!("{SHARED_LIBRARIES} = {}\n", setting(&value)));
    let lines = lines.concat() + &libraries.unwrap_or_default();
    put(site, &trial.join("postgresql.conf"), lines.as_bytes())?;
    let asks_memory = site.installation.version.major >= TELLS_MEMORY && like_data(site, trial)?;
    let tool = Tool::new(site.installation.tool("postgres"))
        .argument("-D")
        .argument(trial)
        // Read the configuration, load the libraries that it names, say one value, end.
        .argument("-C")
        .argument(if asks_memory { "shared_memory_size" } else { "config_file" })
        .run_as(site.owner);
    match tool.run(WITHIN).await {
        Ok(said) => {
            let megabytes = said.stdout.trim().parse::<u64>().ok().filter(|_| asks_memory);
            Ok(megabytes.map_or(Said::Nothing, |many| Said::Shares(Bytes(many << 20))))
        }
        Err(ToolError::Fail { complaint, .. }) => Ok(Said::Complaint(complaint)),
        Err(source) => Err(TrialError::Try { source }),
    }
}

/// All libraries as if they were the server's, where sessions load some of them: one that is missing
/// keeps everybody out, and a server finds that only when somebody logs in.
fn libraries_of_sessions(parameters: &BTreeMap<String, String>) -> Option<String> {
    let listed = |wanted: &str| -> Vec<&str> {
        let given = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let value = given.map_or("", |(_, value)| value.as_str());
        parts(value).filter(|part| !part.is_empty()).collect()
    };
    let of_users = listed("local_preload_libraries").into_iter().map(in_users_folder);
    let of_sessions = listed("session_preload_libraries").into_iter().map(str::to_owned);
    let of_sessions: Vec<_> = of_sessions.chain(of_users).collect();
    if of_sessions.is_empty() {
        return None;
    }
    let of_server = listed(SHARED_LIBRARIES).into_iter().map(str::to_owned);
    let all = of_server.chain(of_sessions).map(|name| format!("\"{name}\""));
    Some(all.collect::<Vec<_>>().join(", "))
}

/// The parts of a list, without their quotes.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|part| part.trim().trim_matches('"'))
}

/// Where PostgreSQL looks for the libraries that any user may load.
fn in_users_folder(name: &str) -> String {
    format!("{USERS_FOLDER}{}", name.strip_prefix(USERS_FOLDER).unwrap_or(name))
}

/// Makes `trial` look like the data folder to a server that is not to start there; false while
/// there is no data folder.
fn like_data(site: &Site, trial: &Path) -> Result<bool, TrialError> {
    for name in ["PG_VERSION", control::FILE] {
        match std::fs::read(site.data.join(name)) {
            Ok(content) => put(site, &trial.join(name), &content)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(TrialError::Copy { name, source }),
        }
    }
    Ok(true)
}

fn put(site: &Site, file: &Path, content: &[u8]) -> Result<(), TrialError> {
    crate::durable::replace(file, content, site.private())
        .map_err(|source| TrialError::Write { source })
}

/// A server that shares more memory than there is would take all of it, and be killed for it.
fn too_much(
    shared: Bytes,
    limit: Option<Bytes>,
    parameters: &BTreeMap<String, String>,
) -> Option<Vec<Refused>> {
    let limit = limit.filter(|limit| shared > *limit)?;
    let given = |name: &&str| parameters.keys().find(|given| given.eq_ignore_ascii_case(name));
    let name = NEEDS_MEMORY.iter().find_map(given);
    let why = format!(
        "is refused: the server would share {} MiB of memory, and has {} MiB: lower it",
        shared.0 >> 20,
        limit.0 >> 20
    );
    Some(name.map(|name| Refused { name: name.clone(), why: why.into() }).into_iter().collect())
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
                "is unknown to this PostgreSQL: correct its name or remove it".into()
            } else {
                by_postgres(words)
            };
            refused.push(Refused { name: given.clone(), why });
        }
    }
    if refused.is_empty() { blame_last(complaint, parameters) } else { refused }
}

/// The parameters that the last words of a complaint are about: by their names, or by a part of
/// their value in quotes, as a library that is not there.
fn blame_last(complaint: &str, parameters: &BTreeMap<String, String>) -> Vec<Refused> {
    let last = complaint.lines().rev().find_map(|line| {
        line.split_once("FATAL:  ").or_else(|| line.split_once("postgres: ")).map(|(_, said)| said)
    });
    let Some(last) = last else { return Vec::new() };
    let is_meant = |name: &str, value: &str| {
        last.split(|letter: char| !letter.is_alphanumeric() && !"_.".contains(letter))
            .any(|word| word.eq_ignore_ascii_case(name))
            || last.split('"').skip(1).step_by(2).any(|quoted| {
                parts(value).any(|part| part == quoted || in_users_folder(part) == quoted)
            })
    };
    let meant = parameters.iter().filter(|(name, value)| is_meant(name, value));
    meant.map(|(name, _)| Refused { name: name.clone(), why: by_postgres(last) }).collect()
}

fn by_postgres(words: &str) -> Cow<'static, str> {
    format!("is refused by PostgreSQL: {words}").into()
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

    fn named(refused: &[Refused]) -> Vec<String> {
        refused.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_names_no_parameter_in_quotes_is_traced_to_one() {
        let given = [
            ("shared_preload_libraries", "pg_stat_statements, nosuch"),
            ("superuser_reserved_connections", "60"),
            ("max_connections", "50"),
            ("work_mem", "50"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let missing = "2026 GMT [1] FATAL:  could not access file \"nosuch\": No such file";
        assert_eq!(
            named(&blame(missing, &given)),
            [
                "parameter shared_preload_libraries is refused by PostgreSQL: could not access file \"nosuch\": No such file"
            ]
        );
        let clash =
            "postgres: superuser_reserved_connections (60) must be less than max_connections (50)";
        let names: Vec<_> = blame(clash, &given).into_iter().map(|refused| refused.name).collect();
        assert_eq!(names, ["max_connections", "superuser_reserved_connections"]);
    }

    #[test]
    fn what_sessions_load_is_tried_with_what_the_server_loads() {
        let given = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let shared = ("shared_preload_libraries", "pg_stat_statements");
        assert_eq!(libraries_of_sessions(&given(&[shared])), None);
        let session = ("Session_Preload_Libraries", "auto_explain, \"nosuch\"");
        let local = ("local_preload_libraries", "mine");
        let all = given(&[shared, session, local]);
        assert_eq!(
            libraries_of_sessions(&all).unwrap(),
            r#""pg_stat_statements", "auto_explain", "nosuch", "$libdir/plugins/mine""#
        );
        let missing = |file: &str| {
            let said = format!("FATAL:  could not access file \"{file}\": No such file");
            blame(&said, &all).into_iter().map(|refused| refused.name).collect::<Vec<_>>()
        };
        assert_eq!(missing("nosuch"), ["Session_Preload_Libraries"]);
        assert_eq!(missing("$libdir/plugins/mine"), ["local_preload_libraries"]);
    }

    #[test]
    fn more_memory_than_there_is_is_refused() {
        let given = [("Shared_Buffers", "900GB"), ("max_connections", "50")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let gigabytes = |many: u64| Bytes(many << 30);
        assert_eq!(too_much(gigabytes(1), Some(gigabytes(2)), &given), None);
        assert_eq!(too_much(gigabytes(3), None, &given), None);
        assert_eq!(
            named(&too_much(gigabytes(3), Some(gigabytes(2)), &given).unwrap()),
            [
                "parameter Shared_Buffers is refused: the server would share 3072 MiB of memory, and has 2048 MiB: lower it"
            ]
        );
    }
}
