//! Runs one of PostgreSQL's tools to its end, with a deadline and without a shell.
//!
//! Never gets a secret on its command line, and keeps a bounded part of what the tool says. A tool
//! ends with the call; one that writes also is found in its folder if the whole agent is killed.

use crate::process::owner::Owner;
use rustix::process::{Pid, Signal};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// More than any tool says whose output is read as a whole.
const OUTPUT_LIMIT: usize = 1 << 20;
/// What is kept of the complaints: the end says why it failed.
const COMPLAINT_LIMIT: usize = 4 << 10;
const CHUNK: usize = 16 << 10;

/// A program about to be run.
#[derive(Debug, Clone)]
pub struct Tool {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    owner: Option<Owner>,
    input: Input,
}

/// Whether it is given something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Nothing,
    Fed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("starting {program:?}")]
    Start { program: PathBuf, source: io::Error },
    #[error("reading what {program:?} says")]
    Listen { program: PathBuf, source: io::Error },
    #[error("{program:?} did not end within {within:?} and was killed; it said: {complaint}")]
    Deadline { program: PathBuf, within: Duration, complaint: String },
    #[error("{program:?} failed ({status}): {complaint}")]
    Fail { program: PathBuf, status: ExitStatus, complaint: String },
    #[error("{program:?} was stopped on purpose")]
    Stop { program: PathBuf },
}

impl ToolError {
    /// What the tool complained of, if it did.
    pub fn complaint(&self) -> Option<&str> {
        match self {
            Self::Deadline { complaint, .. } | Self::Fail { complaint, .. } => Some(complaint),
            Self::Start { .. } | Self::Listen { .. } | Self::Stop { .. } => None,
        }
    }
}

/// What a listener wants after a piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    GoOn,
    Stop,
}

/// Where a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Tool {
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            owner: None,
            input: Input::Nothing,
        }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// It reads what a [`Flow`](super::flow::Flow) gives it.
    pub fn fed(mut self) -> Self {
        self.input = Input::Fed;
        self
    }

    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Lets it work in the data folder it writes to: what works there is killed before anything
    /// else is begun there, so that a tool that outlived its agent cannot spoil the next attempt.
    pub fn working_in(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    pub fn run_as(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    /// Runs it to its end, which must be a success.
    pub async fn run(self, within: Duration) -> Result<Said, ToolError> {
        let mut stdout = Vec::new();
        let stderr = self
            .run_listening(within, &mut |stream, piece| {
                if stream == Stream::Stdout && stdout.len() < OUTPUT_LIMIT {
                    stdout.extend_from_slice(piece);
                }
                Next::GoOn
            })
            .await?;
        Ok(Said { stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
    }

    /// The same for output that is too long to keep: `listen` gets each piece. Returns the end of
    /// what it said on the error stream.
    pub async fn run_listening(
        self,
        within: Duration,
        listen: &mut (dyn FnMut(Stream, &[u8]) -> Next + Send),
    ) -> Result<String, ToolError> {
        let program = self.program.clone();
        let mut running = Running::start(&self)?;
        let mut complaint = Vec::new();
        let ended = tokio::time::timeout(within, running.finish(&mut complaint, listen)).await;
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        match ended {
            Err(_) => Err(ToolError::Deadline { program, within, complaint }),
            Ok(Err(source)) => Err(ToolError::Listen { program, source }),
            Ok(Ok(None)) => Err(ToolError::Stop { program }),
            Ok(Ok(Some(status))) if status.success() => Ok(complaint),
            Ok(Ok(Some(status))) => Err(ToolError::Fail { program, status, complaint }),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(match self.input {
                Input::Nothing => Stdio::null(),
                Input::Fed => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }
}

/// Kills the whole group of a tool that has not ended.
pub(super) struct Running {
    pub(super) child: Child,
    group: Option<Pid>,
}

impl Running {
    pub(super) fn start(tool: &Tool) -> Result<Self, ToolError> {
        let child = tool
            .command()
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ToolError::Start { program: tool.program.clone(), source })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// Its status at its end, or `None` when the listener had enough.
    async fn finish(
        &mut self,
        complaint: &mut Vec<u8>,
        listen: &mut (dyn FnMut(Stream, &[u8]) -> Next + Send),
    ) -> io::Result<Option<ExitStatus>> {
        let mut stdout = Pipe::new(self.child.stdout.take(), CHUNK);
        let mut stderr = Pipe::new(self.child.stderr.take(), CHUNK);
        while stdout.is_open() || stderr.is_open() {
            let (stream, piece) = tokio::select! {
                piece = stdout.read(), if stdout.is_open() => (Stream::Stdout, piece?),
                piece = stderr.read(), if stderr.is_open() => (Stream::Stderr, piece?),
            };
            if stream == Stream::Stderr {
                keep_end(complaint, piece);
            }
            if !piece.is_empty() && listen(stream, piece) == Next::Stop {
                return Ok(None);
            }
        }
        self.wait().await.map(Some)
    }

    /// Until it has ended by itself.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }

    /// Tells it and all that it has started.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _gone = rustix::process::kill_process_group(group, signal);
        }
    }
}

/// The end of what it complains of says why it failed.
pub(super) fn keep_end(complaint: &mut Vec<u8>, piece: &[u8]) {
    complaint.extend_from_slice(piece);
    let excess = complaint.len().saturating_sub(COMPLAINT_LIMIT);
    complaint.drain(..excess);
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// One output of a tool, until it is closed.
pub(super) struct Pipe<R> {
    from: Option<R>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    pub(super) fn new(from: Option<R>, piece: usize) -> Self {
        Self { from, buffer: vec![0; piece] }
    }

    pub(super) fn is_open(&self) -> bool {
        self.from.is_some()
    }

    /// The next piece; an empty one at the end.
    pub(super) async fn read(&mut self) -> io::Result<&[u8]> {
        let Some(from) = &mut self.from else { return Ok(&[]) };
        let length = from.read(&mut self.buffer).await?;
        if length == 0 {
            self.from = None;
        }
        Ok(self.buffer.get(..length).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("/bin/sh".into()).argument("-c").argument(script)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn both_outputs_are_heard() {
        let said =
            shell("echo out; echo err >&2; exit 0").run(Duration::from_secs(5)).await.unwrap();
        assert_eq!(said, Said { stdout: "out\n".to_owned(), stderr: "err".to_owned() });
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failure_says_why() {
        let error =
            shell("echo no space >&2; exit 3").run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.to_string(), "\"/bin/sh\" failed (exit status: 3): no space");
        let error = Tool::new("/no/such".into()).run(Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ToolError::Start { .. }), "{error}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_kills_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let ids = folder.path().join("ids");
        let script = format!("sleep 60 & echo $! > '{}'; echo waiting >&2; wait", ids.display());
        let error = shell(&script).run(Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.complaint(), Some("waiting"));
        let child = std::fs::read_to_string(&ids).unwrap().trim().parse::<i32>().unwrap();
        let dead = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let began = std::time::Instant::now();
        while !dead() && began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(dead());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_listener_can_stop_it() {
        let mut heard = String::new();
        let mut listen = |_, piece: &[u8]| {
            heard.push_str(&String::from_utf8_lossy(piece));
            Next::Stop
        };
        let error = shell("echo enough; sleep 60")
            .run_listening(Duration::from_secs(5), &mut listen)
            .await
            .unwrap_err();
        assert!(matches!(error, ToolError::Stop { .. }), "{error}");
        assert_eq!(heard, "enough\n");
    }
}
