//! Finds the answerer of a question and turns its words into types and back.
//!
//! Never passes a path on to the file system: a file is asked for by a bare name.

use super::refusal::{Kind, Refusal};
use super::{Body, PREFIX};
use crate::tls::peer::Peer;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// A file's piece on its way; a 16 MB segment is 128 of them.
const PIECE: usize = 128 * 1024;
const FILE_NAME_LIMIT: usize = 128;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;
type Answerer = Box<dyn Fn(Peer, Bytes) -> Pending<Bytes> + Send + Sync>;
type Prober = Box<dyn Fn() -> Pending<()> + Send + Sync>;
type Opener = Box<dyn Fn(Peer, String) -> Pending<Opened> + Send + Sync>;
pub(super) type Answer = Response<Either<Body, FileBody>>;

/// What a server answers: one answerer per name.
#[derive(Default)]
pub struct Routes {
    calls: BTreeMap<&'static str, Answerer>,
    files: BTreeMap<&'static str, Opener>,
    probes: BTreeMap<&'static str, Prober>,
}

/// A file to be sent as it is now; what is appended later is not.
pub struct Opened {
    file: File,
    length: u64,
}

impl Opened {
    pub fn whole(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }
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

    pub(super) async fn answer(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        body_limit: usize,
    ) -> Answer {
        let answered = match *request.method() {
            Method::POST => self.answer_call(peer, request, body_limit).await,
            Method::GET => self.answer_get(peer, request.uri().path()).await,
            _ => Err(Refusal::new(Kind::Malformed, "ask with POST, or with GET for a file")),
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
        let Some(prober) = self.probes.get(path) else { return self.answer_file(peer, path).await };
        prober().await?;
        Ok(json(StatusCode::OK, Bytes::from_static(b"{}")))
    }

    async fn answer_file(&self, peer: Peer, path: &str) -> Result<Answer, Refusal> {
        let named = path.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
        let (name, file) = named.ok_or_else(|| no_route(path))?;
        let opener = self.files.get(name).ok_or_else(|| no_route(path))?;
        if !is_bare_name(file) {
            return Err(Refusal::new(Kind::Malformed, format!("{file:?} is not a file's name")));
        }
        let opened = opener(peer, file.to_owned()).await?;
        Ok(Response::new(Either::Right(FileBody::new(opened))))
    }
}

pub(super) fn refused(refusal: &Refusal) -> Answer {
    let words = serde_json::to_vec(refusal).unwrap_or_default();
    json(refusal.status(), words.into())
}

fn json(status: StatusCode, words: Bytes) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(words)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
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

/// A file's content, read piece by piece while it is sent.
pub(super) struct FileBody {
    file: tokio::fs::File,
    left: u64,
    piece: Vec<u8>,
}

impl FileBody {
    fn new(opened: Opened) -> Self {
        let mut file = tokio::fs::File::from_std(opened.file);
        file.set_max_buf_size(PIECE);
        Self { file, left: opened.length, piece: Vec::new() }
    }
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        let wanted = usize::try_from(body.left).unwrap_or(PIECE).min(PIECE);
        if wanted == 0 {
            return Poll::Ready(None);
        }
        body.piece.resize(wanted, 0);
        let mut buffer = ReadBuf::new(&mut body.piece);
        ready!(Pin::new(&mut body.file).poll_read(context, &mut buffer))?;
        let filled = buffer.filled().len();
        if filled == 0 {
            // Shorter than promised: the asker must not take it for the whole.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        body.left -= filled as u64;
        let mut piece = std::mem::take(&mut body.piece);
        piece.truncate(filled);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
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
