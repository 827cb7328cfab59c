//! Runs the user's own checks in a restored cluster, and judges what they returned.
//!
//! Never calls a check passed that did not run to its end, and never keeps all that it said.

use super::form::{self, Form};
use pgherd_core::names::ClusterName;
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Longer than any check should take.
pub(crate) const WITHIN: Duration = Duration::from_hours(1);
/// What is told of the output.
const KEPT: usize = 64 << 10;
/// What is told of errors.
const COMPLAINT: usize = 8 << 10;
/// Checks are statements, not data.
const LARGEST: u64 = 1 << 20;

/// What became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checked {
    pub(crate) failure: Option<String>,
    /// The first of what was returned.
    output: String,
}

impl Checked {
    /// Why the command does not end well.
    fn refused(&self, cluster: &str) -> Option<Failure> {
        let why = self.failure.clone()?;
        let what = format!("cluster {cluster} is restored, and a check of it failed");
        Some(Failure::new(Kind::Failed, what).because(why))
    }
}

/// Tells what was made, and ends well unless a check of it failed.
pub(crate) fn tell_made(
    form: Form,
    (cluster, sentence): (&ClusterName, String),
    checked: Option<&Checked>,
    document: &Value,
) -> Result<(), Failure> {
    let name = cluster.as_str();
    let refused = checked.and_then(|checked| checked.refused(name));
    let passed = checked.filter(|_| refused.is_none());
    let passed = passed.map(|_| "  the SQL checks passed".to_owned());
    let lines: Vec<String> = std::iter::once(sentence).chain(passed).collect();
    form::tell(form, (name, &lines), document)?;
    refused.map_or(Ok(()), Err)
}

/// What is in a file with checks. One that is missing is told before anything is made.
pub(crate) fn statements(path: &Path) -> Result<String, Failure> {
    let unread = |why: String| {
        Failure::new(Kind::Usage, format!("{} cannot be read", path.display()))
            .because(why)
            .fix("name a file with SQL statements")
    };
    let size = path.metadata().map_err(|error| unread(error.to_string()))?.len();
    if size > LARGEST {
        return Err(unread(format!("it has {size} bytes, and {LARGEST} are taken at most")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(unread("it says nothing".to_owned()));
    }
    Ok(text)
}

/// What psql is told so that its output can be judged.
pub(crate) fn quietly(psql: &mut Command) -> &mut Command {
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"])
        .args(["--set", "ON_ERROR_STOP=1"])
}

/// Runs a psql that has its arguments, and hands it these statements as its input.
pub(crate) async fn judged(mut psql: Command, statements: &str) -> Result<Checked, Failure> {
    let failed = |why: String| Failure::new(Kind::Failed, "the checks cannot be run").because(why);
    let program = psql.as_std().get_program().to_string_lossy().into_owned();
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let run = async {
        let mut child = psql.spawn()?;
        let (input, output, complaint) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let tell = async {
            let Some(mut input) = input else { return };
            // One that has ended already says by itself why.
            let _unread = input.write_all(statements.as_bytes()).await.is_err();
        };
        let mut answer = Answer::default();
        let (_told, said, complaint) =
            tokio::join!(tell, answer.hear(output), first(complaint, COMPLAINT));
        said?;
        Ok::<_, std::io::Error>((child.wait().await?, answer, complaint?))
    };
    let ran = tokio::time::timeout(WITHIN, run).await;
    let ran = ran.map_err(|_| failed(format!("psql took longer than {WITHIN:?}")))?;
    let (status, answer, complaint) = ran.map_err(|error| failed(format!("{program}: {error}")))?;
    let failure = match (status.success(), answer.false_at) {
        (false, _) if complaint.is_empty() => Some(format!("psql ended with {status}")),
        (false, _) => Some(complaint),
        (true, Some(line)) => Some(format!("row {line} of what it returned is false")),
        (true, None) => None,
    };
    let output = String::from_utf8_lossy(&answer.kept).into_owned();
    Ok(Checked { failure, output })
}

/// What the statements returned, as it comes.
#[derive(Debug, Default)]
struct Answer {
    kept: Vec<u8>,
    /// The first row that is false, counted from one.
    false_at: Option<u64>,
    rows: u64,
    row: Row,
}

/// What of a row was heard.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Row {
    #[default]
    Empty,
    False,
    Other,
}

impl Answer {
    async fn hear(&mut self, output: Option<impl AsyncRead + Unpin>) -> std::io::Result<()> {
        let Some(mut output) = output else { return Ok(()) };
        let mut room = [0; 8 << 10];
        loop {
            let length = output.read(&mut room).await?;
            let heard = room.get(..length).unwrap_or_default();
            if heard.is_empty() {
                if self.row != Row::Empty {
                    self.take(b'\n');
                }
                return Ok(());
            }
            for byte in heard {
                self.take(*byte);
            }
            let left = KEPT.saturating_sub(self.kept.len()).min(length);
            self.kept.extend_from_slice(heard.get(..left).unwrap_or_default());
        }
    }

    fn take(&mut self, byte: u8) {
        self.row = match (byte, self.row) {
            (b'\n', row) => {
                self.rows += 1;
                if row == Row::False && self.false_at.is_none() {
                    self.false_at = Some(self.rows);
                }
                Row::Empty
            }
            (b'f', Row::Empty) => Row::False,
            (_, Row::Empty | Row::False | Row::Other) => Row::Other,
        };
    }
}

/// The beginning of what is said; the rest is heard and forgotten.
async fn first(said: Option<impl AsyncRead + Unpin>, limit: usize) -> std::io::Result<String> {
    let Some(mut said) = said else { return Ok(String::new()) };
    let (mut kept, mut room) = (Vec::new(), [0; 4 << 10]);
    loop {
        let length = said.read(&mut room).await?;
        if length == 0 {
            return Ok(String::from_utf8_lossy(&kept).trim().to_owned());
        }
        let left = limit.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(room.get(..left).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell in the place of psql: what is judged is what it writes, and how it ends.
    async fn judge(script: &str) -> Checked {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        judged(shell, "select 1;").await.unwrap()
    }

    #[tokio::test]
    async fn a_row_that_is_false_or_an_error_fails_a_check() {
        let passed = judge("cat >/dev/null; printf 't\\nff\\n\\nfalse\\n42\\n'").await;
        assert_eq!((passed.failure, passed.output.as_str()), (None, "t\nff\n\nfalse\n42\n"));
        let row = judge("printf 't\\nf\\nf\\n'").await;
        assert_eq!(row.failure.unwrap(), "row 2 of what it returned is false");
        let last = judge("printf 'f'").await;
        assert_eq!(last.failure.unwrap(), "row 1 of what it returned is false");
        let error = judge("echo t; echo 'no such table' >&2; exit 3").await;
        assert_eq!(error.failure.unwrap(), "no such table");
        let silent = judge("exit 2").await;
        assert!(silent.failure.unwrap().contains("exit status: 2"));
    }

    #[tokio::test]
    async fn much_is_heard_to_its_end_and_little_is_kept() {
        let much = judge("yes t | head -n 200000; echo f").await;
        assert_eq!(much.failure.unwrap(), "row 200001 of what it returned is false");
        assert_eq!(much.output.len(), KEPT);
    }

    #[test]
    fn a_file_that_says_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checks.sql");
        assert!(statements(&file).is_err());
        std::fs::write(&file, " \n").unwrap();
        assert_eq!(statements(&file).unwrap_err().cause.unwrap(), "it says nothing");
        std::fs::write(&file, "select true").unwrap();
        assert_eq!(statements(&file).unwrap(), "select true");
    }
}
