//! Takes another program for this agent, checks it, and puts it in the place of the present one.
//!
//! Never puts one in place that has not shown that it takes over what this one knows.

use crate::chain::chain;
use crate::config::Folder;
use crate::durable::{self, Access, Draft, Unfinished};
use crate::http::file::Received;
use crate::http::refusal::{Kind, Refusal};
use crate::process::tool::Tool;
use crate::reexec;
use crate::wake::{Signalled, Wake, Waker};
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::Mutex;
use tracing::{info, warn};

/// The program that runs, whatever has become of its file.
pub const RUNNING: &str = "/proc/self/exe";
/// How a program that takes over tells so; its version follows.
pub const UNDERSTANDS: &str = "pgherd understands: ";

/// Larger than any build of this program, the ones for finding faults included.
const LIMIT: u64 = 512 << 20;
const TRY_WITHIN: Duration = Duration::from_secs(10);
const PIECE: usize = 128 * 1024;
const DIGEST_LENGTH: usize = 64;

/// The program of this agent.
pub struct Program {
    place: PathBuf,
    digest: OnceLock<String>,
    /// Only one is taken at a time.
    taking: Mutex<()>,
}

/// The SHA-256 of a file, in hexadecimal.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut context, mut piece) = (Context::new(&SHA256), vec![0; PIECE]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        context.update(piece.get(..length).unwrap_or_default());
    }
    Ok(context.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

impl Program {
    /// The one in the file `place`, which is this agent's own to replace.
    pub fn at(place: PathBuf) -> Self {
        Self { place, digest: OnceLock::new(), taking: Mutex::default() }
    }

    /// Removes what was received before an earlier agent ended.
    pub fn sweep(&self) {
        if let Some(folder) = self.place.parent()
            && let Err(error) = durable::sweep(folder)
        {
            warn!(error = %chain(&error), "a half-received program stays");
        }
    }

    /// What runs, once that is known.
    pub fn digest(&self) -> Option<&str> {
        self.digest.get().map(String::as_str)
    }

    /// Finds out what runs.
    pub async fn know(&self) {
        match tokio::task::spawn_blocking(|| digest(Path::new(RUNNING))).await {
            // It is found out once.
            Ok(Ok(found)) => drop(self.digest.set(found)),
            Ok(Err(error)) => warn!(%error, "this program cannot be read"),
            // Only while everything ends.
            Err(_ended) => {}
        }
    }

    /// Takes the program whose digest is `claimed`, and has the agent become it.
    pub async fn take(
        &self,
        (claimed, sent): (&str, Received),
        folder: &Folder,
        waker: &Waker,
    ) -> Result<(), Refusal> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if claimed.len() != DIGEST_LENGTH || !claimed.bytes().all(is_hex) {
            let why = format!("{claimed:?} is no SHA-256: send 64 hexadecimal digits");
            return Err(Refusal::new(Kind::Malformed, why));
        }
        let Ok(_only) = self.taking.try_lock() else {
            return Err(Refusal::new(Kind::Unavailable, "another program is being taken"));
        };
        let draft = self.receive(sent).await?;
        let path = draft.path().to_owned();
        let found = blocking(move || digest(&path)).await?;
        if found != claimed {
            let why = format!("what arrived has the SHA-256 {found}, not {claimed}: send it again");
            return Err(Refusal::new(Kind::Malformed, why));
        }
        try_out(draft.path(), folder, waker).await?;
        let place = self.place.clone();
        blocking(move || draft.publish(&place)).await?;
        info!(digest = %found, "another program is in place");
        waker.wake(Wake::Signalled(Signalled::Reexecute)).await;
        Ok(())
    }

    /// Stores it beside the present one. Nobody can write to it when this returns: a file that is
    /// open for writing cannot be run.
    async fn receive(&self, sent: Received) -> Result<Draft, Refusal> {
        let place = self.place.clone();
        let Unfinished { draft, file } = blocking(move || Unfinished::beside(&place)).await?;
        let mut file = tokio::fs::File::from_std(file);
        sent.into(&mut file, LIMIT).await?;
        Access::PROGRAM.apply(draft.path()).map_err(|error| unstored(&error))?;
        file.sync_all().await.map_err(|error| unstored(&error))?;
        drop(file.into_std().await);
        Ok(draft)
    }
}

/// Has it read what it would have to go on with.
async fn try_out(program: &Path, folder: &Folder, waker: &Waker) -> Result<(), Refusal> {
    let handover = waker.ask(|answer| Wake::HandoverAsked { answer }).await?;
    let letter = folder.run().join("trial.json");
    let written = letter.clone();
    blocking(move || reexec::write_letter(&written, *handover).map_err(io::Error::other)).await?;
    let tool = Tool::new(program.to_owned()).argument("agent").argument("--understands");
    let tried = tool.argument(&letter).run(TRY_WITHIN).await;
    // It is written anew before each trial.
    let _left = durable::remove(&letter);
    let refused = |why: String| Refusal::new(Kind::Conflict, why);
    match tried {
        Ok(said) if said.stdout.starts_with(UNDERSTANDS) => Ok(()),
        Ok(_) => Err(refused("it is no program of an agent".to_owned())),
        Err(error) => Err(refused(format!("it does not take over: {}", chain(&error)))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| unstored(&error)),
        Err(_ended) => Err(Refusal::new(Kind::Unavailable, "this agent ends")),
    }
}

fn unstored(error: &io::Error) -> Refusal {
    Refusal::new(Kind::Failed, format!("storing it: {}", chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "abc").unwrap();
        expect_test::expect!["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
            .assert_eq(&digest(&path).unwrap());
        let long = vec![7; 2 * PIECE + 1];
        std::fs::write(&path, &long).unwrap();
        let whole = aws_lc_rs::digest::digest(&SHA256, &long);
        let whole: Vec<String> = whole.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest(&path).unwrap(), whole.concat());
    }

    #[test]
    fn what_an_interrupted_taking_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pgherd");
        std::fs::write(&place, "present").unwrap();
        let Unfinished { draft, file: _ } = Unfinished::beside(&place).unwrap();
        let half = draft.path().to_owned();
        std::mem::forget(draft);
        Program::at(place.clone()).sweep();
        assert!(!half.exists());
        assert_eq!(std::fs::read(&place).unwrap(), b"present");
    }
}
