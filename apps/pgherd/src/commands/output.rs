//! Writes what verbs tell: results to stdout, failures to stderr, as text or as JSON.
//!
//! Never fails because nobody reads: a closed pipe ends the telling, not the verb.

use super::form::Form;
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

impl Output {
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Text => Form::Text,
            Self::Json => Form::Json,
        }
    }
}

/// A line of a result.
pub(crate) fn say(line: &str) {
    let mut stdout = io::stdout();
    // Whoever closed the pipe wants no more.
    let _closed = writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err();
}

/// The lines of a table.
pub(crate) fn say_all(lines: &[String]) {
    for line in lines {
        say(line);
    }
}

/// A remark beside the result.
pub(crate) fn remark(line: &str) {
    let _closed = writeln!(io::stderr(), "{line}").is_err();
}

pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        remark(&format!("warning: {warning}"));
    }
}

pub(crate) fn say_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    say(&text);
    Ok(())
}

/// A result as one sentence, or as a document.
pub(crate) fn say_either(
    output: Output,
    sentence: &str,
    document: &impl Serialize,
) -> Result<(), Failure> {
    match output {
        Output::Text => say(sentence),
        Output::Json => say_json(document)?,
    }
    Ok(())
}

pub(crate) fn tell_failure(failure: &Failure, output: Output) {
    match output {
        Output::Text | Output::Json if failure.is_silent() => {}
        Output::Text => remark(&text(failure)),
        Output::Json => remark(&json(failure)),
    }
}

fn text(failure: &Failure) -> String {
    let cause = failure.cause.as_ref().map(|cause| format!("cause: {cause}"));
    let fix = failure.fix.as_ref().map(|fix| format!("fix: {fix}"));
    let lines = [Some(format!("error: {}", failure.what)), cause, fix];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// As Kubernetes tells failures, so that one script reads both.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubernetesStatus<'a> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(rename = "status")]
    outcome: &'static str,
    message: &'a str,
    reason: &'static str,
    details: Details<'a>,
    code: u8,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

/// A command line that is wrong, as the output it asks for tells failures; help is always text.
pub(crate) fn tell_usage(error: &clap::Error, words: &[OsString]) -> ExitCode {
    if error.use_stderr() && asks_for_json(words) {
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let (what, fix) =
            first.split_once("\nfix: ").unwrap_or((first, "the same command with --help"));
        let what = what.trim_start_matches("error: ").replace('\n', " ");
        let failure = Failure::new(Kind::Usage, what.trim()).fix(fix);
        tell_failure(&failure, Output::Json);
        return ExitCode::from(failure.kind.exit_code());
    }
    // Whoever closed the pipe wants no more.
    let _closed = error.print().is_err();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

fn asks_for_json(words: &[OsString]) -> bool {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let joined = |word: &str| ["-ojson", "-o=json", "--output=json"].contains(&word);
    let apart = |pair: &[Cow<'_, str>]| matches!(pair, [flag, form] if ["-o", "--output"].contains(&&**flag) && form == "json");
    words.iter().any(|word| joined(word)) || words.windows(2).any(apart)
}

fn json(failure: &Failure) -> String {
    let told = KubernetesStatus {
        kind: "Status",
        api_version: "v1",
        outcome: "Failure",
        message: &failure.what,
        reason: match failure.kind {
            Kind::Failed => "Failed",
            Kind::Usage => "Invalid",
            Kind::NotFound => "NotFound",
            Kind::Refused => "Refused",
            Kind::TimedOut => "Timeout",
            Kind::Interrupted => "Interrupted",
        },
        details: Details { cause: failure.cause.as_deref(), fix: failure.fix.as_deref() },
        code: failure.kind.exit_code(),
    };
    serde_json::to_string_pretty(&told).unwrap_or_else(|_| text(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_as_text_and_as_a_kubernetes_status() {
        let failure = Failure::new(Kind::NotFound, "cluster db not found").fix("pgherd local up");
        expect_test::expect![[r#"
            error: cluster db not found
            fix: pgherd local up
            {
              "kind": "Status",
              "apiVersion": "v1",
              "status": "Failure",
              "message": "cluster db not found",
              "reason": "NotFound",
              "details": {
                "fix": "pgherd local up"
              },
              "code": 3
            }"#]]
        .assert_eq(&format!("{}\n{}", text(&failure), json(&failure)));
    }
}
