//! Turns what is logged into lines as users of CNPG collect them: one JSON object each, with
//! `level`, `ts`, `logger` and `msg`.
//!
//! Never writes a line end inside a line.

use crate::postgres::said::Record;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Who writes, and in which pod.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub logger: &'static str,
    pub pod: Option<String>,
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    ts: String,
    logger: &'a str,
    msg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a Record>,
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logging_pod: Option<&'a str>,
}

impl Shape {
    /// A message of PostgreSQL.
    pub(super) fn record(&self, record: &Record) -> String {
        let line = Line { record: Some(record), ..self.line("record") };
        written(&Line { logger: "postgres", ..line })
    }

    /// What PostgreSQL's processes wrote beside their messages.
    pub(super) fn said(&self, text: &str) -> String {
        let line = Line { pipe: Some("stderr"), ..self.line(text) };
        written(&Line { logger: "postgres", ..line })
    }

    /// Something that went wrong with the log itself.
    pub(super) fn warning(&self, text: &str, fields: Map<String, Value>) -> String {
        written(&Line { level: "warning", fields, ..self.line(text) })
    }

    fn line<'a>(&'a self, msg: &'a str) -> Line<'a> {
        Line {
            level: "info",
            ts: format!("{:.6}", Timestamp::now()),
            logger: self.logger,
            msg,
            pipe: None,
            record: None,
            fields: Map::new(),
            logging_pod: self.pod.as_deref(),
        }
    }
}

fn written(line: &Line<'_>) -> String {
    // Strings under strings always become JSON.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

impl<S, N> FormatEvent<S, N> for Shape
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line { fields: fields.rest, ..self.line(&fields.message) };
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        writer.write_str(&written(&Line { level, ..line }))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::{info, warn};

    fn shape() -> Shape {
        Shape { logger: "agent", pod: Some("db-1".to_owned()) }
    }

    /// Without the time, which is another one each time.
    fn check(text: &str, expected: &Expect) {
        let lines = text.lines().map(|line| {
            let (before, after) = line.split_once(r#""ts":""#).unwrap();
            let (time, after) = after.split_once('"').unwrap();
            assert_eq!(time.len(), "2026-11-28T05:30:30.207328Z".len(), "{time}");
            format!("{before}\"ts\":\"..\"{after}\n")
        });
        expected.assert_eq(&lines.collect::<String>());
    }

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(piece);
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_agent_logs() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(shape())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            info!(epoch = 3, instance = %"db-1", "opened\nhere");
            warn!(why = ?Some(1), "tried again");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        check(
            &text,
            &expect![[r#"
                {"level":"info","ts":"..","logger":"agent","msg":"opened\nhere","epoch":3,"instance":"db-1","logging_pod":"db-1"}
                {"level":"warning","ts":"..","logger":"agent","msg":"tried again","why":"Some(1)","logging_pod":"db-1"}
            "#]],
        );
    }

    #[test]
    fn what_postgresql_says() {
        let record = Record {
            process_id: "7".to_owned(),
            error_severity: "LOG".to_owned(),
            message: "it is \"so\"".to_owned(),
            ..Record::default()
        };
        let text = shape().record(&record)
            + &shape().said("out of memory")
            + &Shape { logger: "operator", pod: None }.warning("lost", Map::new());
        check(
            &text,
            &expect![[r#"
                {"level":"info","ts":"..","logger":"postgres","msg":"record","record":{"process_id":"7","error_severity":"LOG","message":"it is \"so\""},"logging_pod":"db-1"}
                {"level":"info","ts":"..","logger":"postgres","msg":"out of memory","pipe":"stderr","logging_pod":"db-1"}
                {"level":"warning","ts":"..","logger":"operator","msg":"lost"}
            "#]],
        );
    }
}
