//! Finds the answerer of a question and turns its words into types and back.
//!
//! Never passes a path on to the file system: a file is asked for by a bare name.

use super::file::{FileBody, Opened, Received};
use super::refusal::{Kind, Refusal};
use super::{Outgoing, PREFIX};
use crate::tls::peer::Peer;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::pin::Pin;

const FILE_NAME_LIMIT: usize = 128;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;
type Answerer = Box<dyn Fn(Peer, Bytes) -> Pending<Bytes> + Send + Sync>;
type Prober = Box<dyn Fn() -> Pending<()> + Send + Sync>;
type Writer = Box<dyn Fn() -> Pending<Page> + Send + Sync>;
type Opener = Box<dyn Fn(Peer, String) -> Pending<Opened> + Send + Sync>;
type Taker = Box<dyn Fn(Peer, String, Received) -> Pending<()> + Send + Sync>;
pub(super) type Answer = Response<Outgoing>;

/// A text for programs that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it is, as its header says.
    pub kind: &'static str,
    pub text: String,
}

/// What a server answers: one answerer per name.
#[derive(Default)]
pub struct Routes {
    calls: BTreeMap<&'static str, Answerer>,
    files: BTreeMap<&'static str, Opener>,
    probes: BTreeMap<&'static str, Prober>,
    pages: BTreeMap<&'static str, Writer>,
    takers: BTreeMap<&'static str, Taker>,
}

impl Routes {
    /// Answers `POST /v1/NAME`. The answerer is dropped at its next wait when its time is over or
    /// the asker is gone.
    #[must_use]
    pub fn call<Req, Res, Answering>(
        mut self,
        name: &'static str,
        answer: impl Fn(Peer, Req) -> Answering + Send + Sync + 'static,
    ) -> Self
    where
        Req: DeserializeOwned,
        Res: Serialize,
        Answering: Future<Output = Result<Res, Refusal>> + Send + 'static,
    {
        let answerer = move |peer: Peer, words: Bytes| -> Pending<Bytes> {
            match serde_json::from_slice(&words) {
                Ok(question) => {
                    let answering = answer(peer, question);
                    Box::pin(async move { in_words(&answering.await?) })
                }
                Err(error) => {
                    let refusal = Refusal::new(Kind::Malformed, format!("{name}: {error}"));
                    Box::pin(std::future::ready(Err(refusal)))
                }
            }
        };
        self.calls.insert(name, Box::new(answerer));
        self
    }

    /// Sends files on `GET /v1/NAME/FILE`.
    #[must_use]
    pub fn file<Opening>(
        mut self,
        name: &'static str,
        open: impl Fn(Peer, String) -> Opening + Send + Sync + 'static,
    ) -> Self
    where
        Opening: Future<Output = Result<Opened, Refusal>> + Send + 'static,
    {
        self.files.insert(name, Box::new(move |peer, file| Box::pin(open(peer, file))));
        self
    }

    /// Takes files on `PUT /v1/NAME/FILE`; the taker reads them while they arrive.
    #[must_use]
    pub fn take<Taking>(
        mut self,
        name: &'static str,
        take: impl Fn(Peer, String, Received) -> Taking + Send + Sync + 'static,
    ) -> Self
    where
        Taking: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let taker = move |peer, file, sent| -> Pending<()> { Box::pin(take(peer, file, sent)) };
        self.takers.insert(name, Box::new(taker));
        self
    }

    /// Says on `GET PATH` whether all is well, in the way that probes understand.
    #[must_use]
    pub fn probe<Probing>(
        mut self,
        path: &'static str,
        probe: impl Fn() -> Probing + Send + Sync + 'static,
    ) -> Self
    where
        Probing: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.probes.insert(path, Box::new(move || Box::pin(probe())));
        self
    }

    /// Shows a text on `GET PATH`.
    #[must_use]
    pub fn page<Writing>(
        mut self,
        path: &'static str,
        write: impl Fn() -> Writing + Send + Sync + 'static,
    ) -> Self
    where
        Writing: Future<Output = Result<Page, Refusal>> + Send + 'static,
    {
        self.pages.insert(path, Box::new(move || Box::pin(write())));
        self
    }

    pub(super) async fn answer(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        body_limit: usize,
    ) -> Answer {
        let answered = match *request.method() {
            Method::POST => self.answer_call(peer, request, body_limit).await,
            Method::GET => self.answer_get(peer, request.uri().path()).await,
            Method::PUT => self.answer_put(peer, request).await,
            _ => Err(Refusal::new(Kind::Malformed, "ask with POST, or with GET or PUT for a file")),
        };
        answered.unwrap_or_else(|refusal| refused(&refusal))
    }

    async fn answer_call(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        body_limit: usize,
    ) -> Result<Answer, Refusal> {
        let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let answerer = self.calls.get(name).ok_or_else(|| no_route(request.uri().path()))?;
        let words = read(request.into_body(), body_limit).await?;
        let words = answerer(peer, words).await?;
        Ok(json(StatusCode::OK, words))
    }

    async fn answer_get(&self, peer: Peer, path: &str) -> Result<Answer, Refusal> {
        if let Some(prober) = self.probes.get(path) {
            prober().await?;
            return Ok(json(StatusCode::OK, Bytes::from_static(b"{}")));
        }
        if let Some(writer) = self.pages.get(path) {
            let Page { kind, text } = writer().await?;
            return Ok(whole(StatusCode::OK, kind, text.into()));
        }
        self.answer_file(peer, path).await
    }

    async fn answer_file(&self, peer: Peer, path: &str) -> Result<Answer, Refusal> {
        let (name, file) = named_file(path)?;
        let opener = self.files.get(name).ok_or_else(|| no_route(path))?;
        let opened = opener(peer, file.to_owned()).await?;
        Ok(Response::new(Either::Right(FileBody::new(opened))))
    }

    async fn answer_put(&self, peer: Peer, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let path = request.uri().path().to_owned();
        let (name, file) = named_file(&path)?;
        let taker = self.takers.get(name).ok_or_else(|| no_route(&path))?;
        taker(peer, file.to_owned(), Received::new(request.into_body())).await?;
        Ok(json(StatusCode::OK, Bytes::from_static(b"null")))
    }
}

/// The route and the file that a path names.
fn named_file(path: &str) -> Result<(&str, &str), Refusal> {
    let named = path.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
    let (name, file) = named.ok_or_else(|| no_route(path))?;
    if !is_bare_name(file) {
        return Err(Refusal::new(Kind::Malformed, format!("{file:?} is not a file's name")));
    }
    Ok((name, file))
}

pub(super) fn refused(refusal: &Refusal) -> Answer {
    let words = serde_json::to_vec(refusal).unwrap_or_default();
    json(refusal.status(), words.into())
}

fn json(status: StatusCode, words: Bytes) -> Answer {
    whole(status, "application/json", words)
}

fn whole(status: StatusCode, kind: &'static str, words: Bytes) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(words)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn in_words(answer: &impl Serialize) -> Result<Bytes, Refusal> {
    serde_json::to_vec(answer).map(Bytes::from).map_err(|error| {
        Refusal::new(Kind::Failed, format!("the answer cannot be written: {error}"))
    })
}

fn no_route(path: &str) -> Refusal {
    Refusal::new(Kind::Absent, format!("nothing is answered at {path:?}"))
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(Kind::TooLarge, format!("more than {limit} bytes were sent"));
    // Said before the first byte, so that a sender need not send what nobody reads.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Refusal::new(Kind::Malformed, format!("reading the question: {error}"))),
    }
}

fn is_bare_name(file: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let starts = file.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    starts && file.len() <= FILE_NAME_LIMIT && file.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_bare_name;

    #[test]
    fn only_bare_names_reach_the_opener() {
        for good in ["000000010000000000000001", "00000002.history", "a-b_c.1"] {
            assert!(is_bare_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../a", "a%2Fb", "a b", &"a".repeat(129)] {
            assert!(!is_bare_name(bad), "{bad}");
        }
    }
}
