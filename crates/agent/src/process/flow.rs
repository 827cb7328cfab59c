//! Runs a tool whose output goes on to somebody else while it is produced, or whose input comes so.
//!
//! Never holds more than a piece of either, and never leaves the tool behind: it is killed with this.

use super::tool::{Pipe, Running, Tool, ToolError, keep_end};
use bytes::Bytes;
use rustix::process::Signal;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

/// What is taken from a tool at once.
const PIECE: usize = 256 << 10;

/// A tool that runs. How long it may take is for the caller to bound.
pub struct Flow {
    program: PathBuf,
    running: Running,
    stdin: Option<ChildStdin>,
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
    complaint: Vec<u8>,
    pace: Pace,
}

/// Whether the tool runs, or stands still until there is room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Runs,
    StandsStill,
}

impl Flow {
    pub fn start(tool: &Tool) -> Result<Self, ToolError> {
        let mut running = Running::start(tool)?;
        let stdin = running.child.stdin.take();
        let stdout = Pipe::new(running.child.stdout.take(), PIECE);
        let stderr = Pipe::new(running.child.stderr.take(), PIECE);
        let program = tool.program().to_owned();
        Ok(Self {
            program,
            running,
            stdin,
            stdout,
            stderr,
            complaint: Vec::new(),
            pace: Pace::Runs,
        })
    }

    /// The next piece of its output; none at the end. May be given up and called again.
    pub async fn read(&mut self) -> Result<Option<Bytes>, ToolError> {
        loop {
            let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
            let said = tokio::select! {
                biased;
                said = stderr.read(), if stderr.is_open() => said,
                piece = stdout.read(), if stdout.is_open() => match piece {
                    Ok([]) => continue,
                    Ok(piece) => return Ok(Some(Bytes::copy_from_slice(piece))),
                    Err(error) => return Err(listening(&self.program, error)),
                },
                else => return Ok(None),
            };
            match said {
                Ok(said) => keep_end(&mut self.complaint, said),
                Err(error) => return Err(listening(&self.program, error)),
            }
        }
    }

    /// Gives it more of its input. One that wants no more is no failure: why is told at its end.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), ToolError> {
        let Some(mut stdin) = self.stdin.take() else { return Ok(()) };
        let written = self.hear_while(stdin.write_all(piece)).await?;
        if written.is_ok() {
            self.stdin = Some(stdin);
        }
        Ok(())
    }

    /// A tool whose complaints nobody takes would stand still.
    async fn hear_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ToolError> {
        let mut work = std::pin::pin!(work);
        loop {
            let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
            let said = tokio::select! {
                done = &mut work => return Ok(done),
                said = stderr.read(), if stderr.is_open() => said,
                said = stdout.read(), if stdout.is_open() => said,
            };
            match said {
                Ok(said) => keep_end(&mut self.complaint, said),
                Err(source) => return Err(listening(&self.program, source)),
            }
        }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// It has all its input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Whether it still takes input.
    pub fn is_listening(&self) -> bool {
        self.stdin.is_some()
    }

    /// Lets it come to its end, which must be a success.
    pub async fn end(mut self) -> Result<(), ToolError> {
        self.stdin = None;
        while self.read().await?.is_some() {}
        let status = self.running.wait().await.map_err(|error| listening(&self.program, error))?;
        self.judge(status)
    }

    /// Stops it for a while, or lets it go on.
    pub fn set_pace(&mut self, pace: Pace) {
        if pace != self.pace {
            self.running.signal(match pace {
                Pace::Runs => Signal::CONT,
                Pace::StandsStill => Signal::STOP,
            });
            self.pace = pace;
        }
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) -> Result<(), ToolError> {
        self.running.signal(Signal::KILL);
        self.running.wait().await.map(drop).map_err(|error| listening(&self.program, error))
    }

    fn judge(&self, status: ExitStatus) -> Result<(), ToolError> {
        if status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&self.complaint).trim().to_owned();
        Err(ToolError::Fail { program: self.program.clone(), status, complaint })
    }
}

fn listening(program: &Path, source: io::Error) -> ToolError {
    ToolError::Listen { program: program.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("/bin/sh".into()).argument("-c").argument(script)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn output_is_handed_on_and_a_failure_says_why() {
        let tool = shell("head -c 3000000 /dev/zero; echo no room >&2; exit 4");
        let (mut flow, mut bytes) = (Flow::start(&tool).unwrap(), 0);
        while let Some(piece) = flow.read().await.unwrap() {
            bytes += piece.len();
        }
        assert_eq!(bytes, 3_000_000);
        let error = flow.end().await.unwrap_err();
        assert_eq!(error.complaint(), Some("no room"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn input_is_taken_until_the_tool_wants_no_more() {
        let mut flow =
            Flow::start(&shell("head -c 10 >/dev/null; cat | wc -c >&2; exit 1").fed()).unwrap();
        for _ in 0..40 {
            flow.write(&[7; 10_000]).await.unwrap();
        }
        assert!(flow.is_listening());
        let complaint = flow.end().await.unwrap_err().complaint().unwrap().to_owned();
        assert!(complaint.parse::<u32>().unwrap() > 300_000, "{complaint}");
        let mut flow = Flow::start(&shell("exit 0").fed()).unwrap();
        for _ in 0..1000 {
            flow.write(&[7; 10_000]).await.unwrap();
        }
        assert!(!flow.is_listening());
        flow.end().await.unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_stands_still_can_be_killed() {
        let mut flow = Flow::start(&shell("sleep 60")).unwrap();
        flow.set_pace(Pace::StandsStill);
        flow.kill().await.unwrap();
    }
}
