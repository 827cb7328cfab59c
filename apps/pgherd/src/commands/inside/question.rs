//! Reads what is asked from the standard input, which lasts as long as somebody listens.
//!
//! Never waits without end for a question.

use anyhow::Context;
use serde::de::DeserializeOwned;
use std::io::{Read, stdin};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Whoever asks sends the question at once.
const WITHIN: Duration = Duration::from_secs(15);

/// The question, which is one line, and who tells when nobody listens any more.
pub(super) async fn read<T: DeserializeOwned>() -> anyhow::Result<(T, oneshot::Receiver<()>)> {
    let (question, gone) = listen();
    let question = timeout(WITHIN, question).await;
    let question = question.with_context(|| format!("nobody asked within {WITHIN:?}"))??;
    let asked = serde_json::from_str(&question).context("understanding the question")?;
    Ok((asked, gone))
}

/// The first line that is read; and the end of the input.
fn listen() -> (oneshot::Receiver<String>, oneshot::Receiver<()>) {
    let (told, question) = oneshot::channel();
    let (ended, gone) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // An input that cannot be read has ended.
        let _ended = stdin().read_line(&mut line).is_err();
        let _nobody_waits = told.send(line).is_err();
        let _unread = stdin().read_to_end(&mut Vec::new()).is_err();
        let _nobody_waits = ended.send(()).is_err();
    });
    (question, gone)
}
