//! In which form a result is written.
//!
//! Never says in one form what another leaves out, but for the bare name.

use super::output::{say, say_all, say_json};
use pgherd_api::crd::yaml;
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    Text,
    Json,
    Yaml,
    /// Only the object's name, for other programs
    Name,
}

/// A result as text, as a document, or as the names of what it is about.
pub(crate) fn write(
    form: Form,
    (names, lines): (&[String], &[String]),
    document: &impl Serialize,
) -> Result<(), Failure> {
    match form {
        Form::Text => say_all(lines),
        Form::Json => say_json(document)?,
        Form::Yaml => {
            let value = serde_json::to_value(document)
                .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
            say(&written(&value));
        }
        Form::Name => say_all(names),
    }
    Ok(())
}

/// A result about a cluster.
pub(crate) fn tell(
    form: Form,
    (name, lines): (&str, &[String]),
    document: &impl Serialize,
) -> Result<(), Failure> {
    let name = format!("cluster.postgresql.cnpg.io/{name}");
    write(form, (&[name], lines), document)
}

/// As YAML, without the line that tells where generated files come from: it is not about this.
pub(crate) fn written(value: &Value) -> String {
    let text = yaml::document(value);
    text.split_once("---\n").map_or(text.as_str(), |(_, own)| own).trim_end().to_owned()
}
