//! Makes lines of logs readable: one line a record, and below it what else the record says.
//!
//! Never leaves out or changes a line whose shape it does not know.

use jiff::Timestamp;
use pgherd_local::failure::{Failure, Kind};
use serde_json::{Map, Value};
use std::fmt::Write;

/// What is said by all lines, and is shown in a column or not worth it.
const COMMON: [&str; 10] = [
    "level",
    "ts",
    "timestamp",
    "logger",
    "msg",
    "message",
    "pipe",
    "logging_pod",
    "logging_podName",
    "record",
];

/// What of a record of PostgreSQL is shown below it, and as what.
const BELOW: [(&str, &str); 5] = [
    ("detail", "detail"),
    ("hint", "hint"),
    ("context", "context"),
    ("internal_query", "internal statement"),
    ("query", "statement"),
];

/// Watching has no end of its own: who stops it knows so.
pub(crate) fn stopped_watching(failure: Failure) -> Failure {
    match failure.kind {
        Kind::Interrupted => Failure::silent(Kind::Interrupted),
        Kind::Failed | Kind::Usage | Kind::NotFound | Kind::Refused | Kind::TimedOut => failure,
    }
}

/// A line as people read it, behind the name of who said it.
pub(crate) fn readable(who: &str, line: &str) -> String {
    let told = match serde_json::from_str(line) {
        Ok(Value::Object(said)) => record(who, &said),
        Ok(_) | Err(_) => None,
    };
    told.unwrap_or_else(|| format!("{who:<12} {line}"))
}

fn record(who: &str, said: &Map<String, Value>) -> Option<String> {
    let at = moment(text(said, "ts").or_else(|| text(said, "timestamp"))?);
    let level = text(said, "level")?.to_uppercase();
    let logger = text(said, "logger");
    let message = text(said, "msg").or_else(|| text(said, "message"))?;
    if let Some(record) = said.get("record") {
        let record = record.as_object().filter(|_| message == "record")?;
        return of_postgres(&format!("{at} {who:<12}"), logger.unwrap_or("postgres"), record);
    }
    let source = logger.unwrap_or(if who == "supervisor" { who } else { "agent" });
    let mut line = format!("{at} {who:<12} {level:<7} {source}: {}", indented(message));
    for (name, value) in said.iter().filter(|(name, _)| !COMMON.contains(&name.as_str())) {
        let _infallible = write!(line, " {name}={}", shown(value));
    }
    Some(line)
}

fn of_postgres(begun: &str, logger: &str, record: &Map<String, Value>) -> Option<String> {
    let severity = text(record, "error_severity")?;
    let message = text(record, "message").filter(|message| !message.is_empty())?;
    let given = |name| text(record, name).filter(|value| !value.is_empty());
    let process = given("process_id").map(|it| format!("[{}]", indented(it))).unwrap_or_default();
    let session = match (given("user_name"), given("database_name")) {
        (Some(user), Some(database)) => format!(" {}@{}", indented(user), indented(database)),
        (Some(one), None) | (None, Some(one)) => format!(" {}", indented(one)),
        (None, None) => String::new(),
    };
    let message = indented(message);
    let (severity, logger) = (indented(severity), indented(logger));
    let mut line = format!("{begun} {severity:<7} {logger}{process}{session}: {message}");
    for (name, shown) in BELOW {
        if let Some(value) = given(name) {
            let _infallible = write!(line, "\n    {shown}: {}", indented(value));
        }
    }
    Some(line)
}

fn text<'a>(said: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    said.get(name)?.as_str()
}

/// A thousandth of a second is as much as people read.
fn moment(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| indented(at), |at| format!("{at:.3}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '\n']) => {
            indented(text)
        }
        other => indented(&other.to_string()),
    }
}

/// Lines after the first belong to it, and what is said by whoever can connect must not steer the
/// terminal.
fn indented(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.trim_end().chars() {
        match letter {
            '\n' => shown.push_str("\n    "),
            '\t' => shown.push('\t'),
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_and_what_belongs_to_it_is_below() {
        let lines = [
            r#"{"level":"info","ts":"2026-11-28T05:30:30.207328Z","logger":"agent","msg":"verdict","state":"serving","because":"nothing to do","epoch":3,"why":null,"logging_pod":"db-1"}"#,
            r#"{"timestamp":"2026-11-28T05:30:30.207328Z","level":"WARN","message":"tried again","times":2}"#,
            r#"{"level":"info","ts":"2026-11-28T05:30:30.2Z","logger":"postgres","msg":"record","record":{"log_time":"x","user_name":"app","database_name":"shop","process_id":"71","error_severity":"ERROR","message":"duplicate key value","detail":"Key (id)=(1) already exists.","query":"insert into t\n  values (1)","query_pos":"3"},"logging_pod":"db-1"}"#,
            r#"{"level":"info","ts":"2026-11-28T05:30:30.2Z","logger":"postgres","msg":"record","record":{"process_id":"7","error_severity":"LOG","message":"\u001b[31mit is\u0007"},"logging_pod":"db-1"}"#,
            r#"{"level":"info","ts":"2026-11-28T05:30:30.2Z","logger":"postgres","msg":"out of memory","pipe":"stderr","logging_pod":"db-1"}"#,
        ];
        let told = lines.map(|line| readable("db-1", line) + "\n").concat();
        expect_test::expect![[r#"
            2026-11-28T05:30:30.207Z db-1         INFO    agent: verdict because="nothing to do" epoch=3 state=serving why=null
            2026-11-28T05:30:30.207Z db-1         WARN    agent: tried again times=2
            2026-11-28T05:30:30.200Z db-1         ERROR   postgres[71] app@shop: duplicate key value
                detail: Key (id)=(1) already exists.
                statement: insert into t
                  values (1)
            2026-11-28T05:30:30.200Z db-1         LOG     postgres[7]: \u{1b}[31mit is\u{7}
            2026-11-28T05:30:30.200Z db-1         INFO    postgres: out of memory
        "#]].assert_eq(&told);
        let supervisor = readable("supervisor", lines[1]);
        assert!(supervisor.contains(" supervisor: tried again"), "{supervisor}");
    }

    #[test]
    fn an_unknown_shape_stays_as_it_is() {
        for line in [
            "2026-11-22 10:00:00.500 UTC [12] LOG:  ready",
            "\tvalues (1)",
            "{\"half\":",
            "7",
            r#"{"level":"info","msg":"without a time"}"#,
            r#"{"level":"info","ts":1764308430.2,"msg":"a number is no time"}"#,
            r#"{"level":"info","ts":"2026-11-28T05:30:30Z","logger":"pgaudit","msg":"record","record":{"error_severity":"LOG","message":"","audit":{"statement":"x"}}}"#,
            r#"{"level":"info","ts":"2026-11-28T05:30:30Z","logger":"x","msg":"record","record":7}"#,
        ] {
            assert_eq!(readable("db-1", line), format!("db-1         {line}"));
        }
    }

    #[test]
    fn whoever_stops_watching_is_told_nothing() {
        let interrupted = Failure::new(Kind::Interrupted, "stopped waiting").fix("wait");
        let stopped = stopped_watching(interrupted);
        assert_eq!((stopped.is_silent(), stopped.kind.exit_code()), (true, 130));
        let other = Failure::new(Kind::NotFound, "no cluster").fix("make one");
        assert_eq!(stopped_watching(other.clone()), other);
    }
}
