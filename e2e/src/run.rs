//! Runs a command to its end, within a deadline, and returns what it said.
//!
//! Never waits longer: a command that hangs is killed and reported.

use crate::wait;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub out: String,
    pub complaint: String,
    pub succeeded: bool,
    /// None: a signal ended it.
    pub code: Option<i32>,
}

pub fn run(mut command: Command, within: Duration) -> Result<Said> {
    let words = words(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting {words}"))?;
    let out = collect(child.stdout.take());
    let complaint = collect(child.stderr.take());
    let ended = wait::find(&words, within, || Ok(child.try_wait()?));
    if ended.is_err() {
        // It may have ended a moment ago; then there is nothing to kill.
        let _killed = child.kill();
        let _reaped = child.wait();
    }
    let status = ended?;
    Ok(Said {
        out: text(out),
        complaint: text(complaint),
        succeeded: status.success(),
        code: status.code(),
    })
}

/// The same for a command that has to succeed: what it said.
pub fn succeed(command: Command, within: Duration) -> Result<String> {
    let words = words(&command);
    let said = run(command, within)?;
    if !said.succeeded {
        bail!("{words}: {}", said.complaint.trim());
    }
    Ok(said.out)
}

fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut text = Vec::new();
        // What was read before a failure is all there is.
        let _read = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }))
}

fn text(collected: Option<JoinHandle<String>>) -> String {
    collected.and_then(|thread| thread.join().ok()).unwrap_or_default()
}
