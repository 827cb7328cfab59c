//! Reads PostgreSQL's log: what was said, by whom, in which transaction. Pure: text in, records out.
//!
//! Never loses a line that it does not understand: that one comes out as it is.

use serde::Serialize;
use std::borrow::Cow;

/// `log_line_prefix` of a log that is read here. PostgreSQL writes a log in a form for programs
/// only through a process of its own, which would outlive a server that is killed; this has the
/// same fields, and needs none.
///
/// The fields that strangers choose stand last and are cut to 63 bytes by PostgreSQL: too short to
/// forge what stands before them.
pub const PREFIX: &str = "%m\u{1f}%p\u{1f}%c\u{1f}%l\u{1f}%s\u{1f}%v\u{1f}%x\u{1f}%e\u{1f}%Q\u{1f}%P\u{1f}%b\u{1f}%i\u{1f}%r\u{1e}%u\u{1e}%d\u{1e}%a\u{1e}";

const UNKNOWN: &str = "[unknown]";
/// A time with milliseconds and a zone, one without them, and an SQLSTATE.
const TIME_BYTES: usize = 26;
const START_BYTES: usize = 22;
const CODE_BYTES: usize = 5;
/// A field that is longer is cut.
const FIELD_BYTES: usize = 256 << 10;
const CUT: &str = " (cut)";

/// One message, under the names of PostgreSQL's own formats for programs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Record {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_time: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub database_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub process_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connection_from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_line_num: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command_tag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_start_time: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub virtual_transaction_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transaction_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error_severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sql_state_code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub internal_query: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub internal_query_pos: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub context: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query_pos: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub location: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub leader_pid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backtrace: String,
}

/// Something that PostgreSQL said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Record(Box<Record>),
    /// What is no message: of a server that has not read its configuration, of a library.
    Line(String),
}

/// Which part of a message a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    Detail,
    Hint,
    InternalQuery,
    Context,
    Query,
    Location,
    Backtrace,
}

/// Puts messages together from their lines.
#[derive(Debug, Default)]
pub struct Assembler {
    pending: Option<(Box<Record>, Part)>,
}

impl Assembler {
    pub fn is_empty(&self) -> bool {
        self.pending.is_none()
    }

    /// Takes the next line, and gives what is complete by it.
    pub fn push(&mut self, line: &str) -> Vec<Said> {
        if let (Some(more), Some((record, part))) = (line.strip_prefix('\t'), &mut self.pending) {
            append(record.field(*part), &["\n", more]);
            return Vec::new();
        }
        let Some((head, text)) = head(line) else {
            let line = Said::Line(line.to_owned());
            return self.finish().into_iter().chain([line]).collect();
        };
        let (label, text) = labelled(text);
        if let Some(part) = label.and_then(further) {
            match &mut self.pending {
                Some((record, at)) if record.process_id == head.process_id => {
                    *at = part;
                    append(record.field(part), &[text]);
                    return Vec::new();
                }
                Some(_) | None => {}
            }
        }
        let before = self.finish();
        let mut record = Box::new(head);
        label.unwrap_or("LOG").clone_into(&mut record.error_severity);
        append(&mut record.message, &[text]);
        self.pending = Some((record, Part::Message));
        before.into_iter().collect()
    }

    /// Gives the message to which nothing more belongs.
    pub fn finish(&mut self) -> Option<Said> {
        let (mut record, _) = self.pending.take()?;
        settle(&mut record);
        Some(Said::Record(record))
    }
}

impl Record {
    fn field(&mut self, part: Part) -> &mut String {
        match part {
            Part::Message => &mut self.message,
            Part::Detail => &mut self.detail,
            Part::Hint => &mut self.hint,
            Part::InternalQuery => &mut self.internal_query,
            Part::Context => &mut self.context,
            Part::Query => &mut self.query,
            Part::Location => &mut self.location,
            Part::Backtrace => &mut self.backtrace,
        }
    }
}

/// A line of the log as people read it.
pub fn readable(line: &str) -> Cow<'_, str> {
    match head(line) {
        Some((head, text)) => format!("{} [{}] {text}", head.log_time, head.process_id).into(),
        // The end of a line whose beginning was cut off.
        None => line.rsplit('\u{1e}').next().unwrap_or_default().into(),
    }
}

/// Who says it, and what.
fn head(line: &str) -> Option<(Record, &str)> {
    let (fixed, rest) = line.split_once('\u{1e}')?;
    let mut fixed = fixed.split('\u{1f}');
    let mut next = || fixed.next().map(str::to_owned);
    let mut record = Record {
        log_time: next()?,
        process_id: next()?,
        session_id: next()?,
        session_line_num: next()?,
        session_start_time: next()?,
        virtual_transaction_id: next()?,
        transaction_id: next()?,
        sql_state_code: next()?,
        query_id: next()?,
        leader_pid: next()?,
        backend_type: next()?,
        command_tag: next()?,
        connection_from: connection(&next()?),
        ..Record::default()
    };
    if fixed.next().is_some() || !is_genuine(&record) {
        return None;
    }
    let mut rest = rest.splitn(4, '\u{1e}');
    let mut next = || rest.next();
    let known = |name: &str| if name == UNKNOWN { String::new() } else { name.to_owned() };
    record.user_name = known(next()?);
    record.database_name = known(next()?);
    record.application_name = known(next()?);
    Some((record, next()?))
}

/// With less, a name chosen by a stranger would do as a prefix.
fn is_genuine(record: &Record) -> bool {
    record.log_time.len() >= TIME_BYTES
        && record.session_start_time.len() >= START_BYTES
        && record.sql_state_code.len() == CODE_BYTES
        && record.process_id.parse::<u32>().is_ok()
}

/// `host(port)`, as the formats for programs have it.
fn connection(from: &str) -> String {
    let port = from.strip_suffix(')').and_then(|from| from.rsplit_once('('));
    port.map_or_else(|| from.to_owned(), |(host, port)| format!("{host}:{port}"))
}

fn labelled(text: &str) -> (Option<&str>, &str) {
    match text.split_once(":  ") {
        Some((label, rest)) if !label.is_empty() && !label.contains(char::is_whitespace) => {
            (Some(label), rest)
        }
        Some(_) | None => (None, text),
    }
}

/// The part that a label begins, unless it begins a message.
fn further(label: &str) -> Option<Part> {
    match label {
        "DETAIL" => Some(Part::Detail),
        "HINT" => Some(Part::Hint),
        "QUERY" => Some(Part::InternalQuery),
        "CONTEXT" => Some(Part::Context),
        "STATEMENT" => Some(Part::Query),
        "LOCATION" => Some(Part::Location),
        "BACKTRACE" => Some(Part::Backtrace),
        _ => None,
    }
}

fn append(field: &mut String, pieces: &[&str]) {
    for piece in pieces {
        if field.len() >= FIELD_BYTES {
            return;
        }
        let room = FIELD_BYTES - field.len();
        let end = piece.floor_char_boundary(room);
        field.push_str(piece.get(..end).unwrap_or_default());
        if end < piece.len() {
            field.push_str(CUT);
        }
    }
}

/// Takes out of the text what has a field of its own.
fn settle(record: &mut Record) {
    // As `log_error_verbosity = verbose` writes it.
    let code = format!("{}: ", record.sql_state_code);
    if let Some(rest) = record.message.strip_prefix(&code).map(str::to_owned) {
        record.message = rest;
    }
    if record.query.is_empty() && record.internal_query.is_empty() {
        return;
    }
    let Some((message, position)) = record.message.rsplit_once(" at character ") else { return };
    if position.is_empty() || !position.bytes().all(|byte| byte.is_ascii_digit()) {
        return;
    }
    let (message, position) = (message.to_owned(), position.to_owned());
    record.message = message;
    if record.internal_query.is_empty() {
        record.query_pos = position;
    } else {
        record.internal_query_pos = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn prefix(process: u32, user: &str) -> String {
        let fixed = [
            "2026-11-28 05:30:30.207 UTC",
            &process.to_string(),
            "6929368a.4d",
            "3",
            "2026-11-28 05:30:02 UTC",
            "4/12",
            "0",
            "42P01",
            "77",
            "",
            "client backend",
            "SELECT",
            "10.0.0.9(5123)",
        ]
        .join("\u{1f}");
        format!("{fixed}\u{1e}{user}\u{1e}shop\u{1e}[unknown]\u{1e}")
    }

    fn check(text: &str, expected: &Expect) {
        let mut assembler = Assembler::default();
        let mut said: Vec<_> = text.lines().flat_map(|line| assembler.push(line)).collect();
        said.extend(assembler.finish());
        let lines = said.into_iter().map(|said| match said {
            Said::Record(record) => serde_json::to_string_pretty(&record).unwrap() + "\n",
            Said::Line(line) => format!("line: {line:?}\n"),
        });
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn a_message_is_put_together_from_its_lines() {
        let [one, two] = [(77, "eve"), (78, "")].map(|(process, user)| prefix(process, user));
        let text = format!(
            "{one}ERROR:  relation \"x\" does not exist at character 15\n{one}STATEMENT:  select *\n\tfrom x\n{two}LOG:  it is:  so\n"
        );
        check(
            &text,
            &expect![[r#"
                {
                  "log_time": "2026-11-28 05:30:30.207 UTC",
                  "user_name": "eve",
                  "database_name": "shop",
                  "process_id": "77",
                  "connection_from": "10.0.0.9:5123",
                  "session_id": "6929368a.4d",
                  "session_line_num": "3",
                  "command_tag": "SELECT",
                  "session_start_time": "2026-11-28 05:30:02 UTC",
                  "virtual_transaction_id": "4/12",
                  "transaction_id": "0",
                  "error_severity": "ERROR",
                  "sql_state_code": "42P01",
                  "message": "relation \"x\" does not exist",
                  "query": "select *\nfrom x",
                  "query_pos": "15",
                  "backend_type": "client backend",
                  "query_id": "77"
                }
                {
                  "log_time": "2026-11-28 05:30:30.207 UTC",
                  "database_name": "shop",
                  "process_id": "78",
                  "connection_from": "10.0.0.9:5123",
                  "session_id": "6929368a.4d",
                  "session_line_num": "3",
                  "command_tag": "SELECT",
                  "session_start_time": "2026-11-28 05:30:02 UTC",
                  "virtual_transaction_id": "4/12",
                  "transaction_id": "0",
                  "error_severity": "LOG",
                  "sql_state_code": "42P01",
                  "message": "it is:  so",
                  "backend_type": "client backend",
                  "query_id": "77"
                }
            "#]],
        );
    }

    #[test]
    fn what_is_no_message_comes_out_as_it_is() {
        let broken = prefix(77, "eve\nnobody");
        let text = format!(
            "postgres: could not find it\n\tindented\n{broken}LOG:  x\n2026-11-28 UTC [5] LOG:  early\n"
        );
        check(
            &text,
            &expect![[r#"
                line: "postgres: could not find it"
                line: "\tindented"
                line: "2026-11-28 05:30:30.207 UTC\u{1f}77\u{1f}6929368a.4d\u{1f}3\u{1f}2026-11-28 05:30:02 UTC\u{1f}4/12\u{1f}0\u{1f}42P01\u{1f}77\u{1f}\u{1f}client backend\u{1f}SELECT\u{1f}10.0.0.9(5123)\u{1e}eve"
                line: "nobody\u{1e}shop\u{1e}[unknown]\u{1e}LOG:  x"
                line: "2026-11-28 UTC [5] LOG:  early"
            "#]],
        );
    }

    #[test]
    fn strangers_cannot_forge_a_prefix() {
        let separators = PREFIX.matches('\u{1f}').count();
        let (line_end, process) = (1, 1);
        let least = line_end + TIME_BYTES + process + START_BYTES + CODE_BYTES + separators;
        assert!(least > 63, "{least} bytes fit into a name");
        let genuine = prefix(77, "eve");
        for (field, forged) in [("30:30.207 UTC", ""), ("30:02 UTC", ""), ("42P01", ""), ("77", "")]
        {
            assert!(head(&genuine).is_some());
            assert!(head(&genuine.replace(field, forged)).is_none(), "{field}");
        }
    }

    #[test]
    fn long_fields_are_cut() {
        let mut assembler = Assembler::default();
        assembler.push(&format!("{}LOG:  {}", prefix(7, ""), "ä".repeat(FIELD_BYTES)));
        assembler.push("\tmore");
        let Some(Said::Record(record)) = assembler.finish() else { panic!("no record") };
        assert!(record.message.ends_with("ä (cut)"));
        assert_eq!(record.message.len(), FIELD_BYTES + CUT.len());
    }

    #[test]
    fn people_read_it_without_the_fields_for_programs() {
        let line = format!("{}LOG:  so it is", prefix(7, ""));
        assert_eq!(readable(&line), "2026-11-28 05:30:30.207 UTC [7] LOG:  so it is");
        assert_eq!(readable("plain"), "plain");
        assert_eq!(readable(&line[20..]), "LOG:  so it is");
    }
}
