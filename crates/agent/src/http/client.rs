//! Asks other processes, keeping one connection to each for the next question.
//!
//! Never sends a question on a connection whose last one went unanswered, and never lets one
//! question wait for another.

use super::file::{FileBody, Opened};
use super::line::Line;
use super::refusal::{Outcome, Refusal};
use super::{Body, Outgoing, PREFIX, Stream, socket};
use crate::tls::holder::Holder;
use crate::tls::identity::Identity;
use http_body_util::{BodyExt, Either, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// The largest answer that is not a file.
const ANSWER_LIMIT: usize = 4 << 20;
// Well before a server's own limit for idle connections, so that the two never race.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Whom to ask, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// The answer must come from `holder`, wherever the address leads.
    Certified { holder: Holder, address: SocketAddr },
    /// A process of this machine; the socket's owner and mode say who may ask.
    Local { path: PathBuf },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certified { holder, address } => write!(f, "{holder} at {address}"),
            Self::Local { path } => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("asking {endpoint} needs a certificate, and this client has none for it")]
    Uncertified { endpoint: Endpoint },
    #[error("writing the question {name:?} as JSON")]
    Encode { name: String, source: serde_json::Error },
    #[error("{path:?} cannot be asked for")]
    Address { path: String, source: hyper::http::Error },
    #[error("connecting to {endpoint}")]
    Connect { endpoint: Endpoint, source: io::Error },
    #[error("no connection to {endpoint} within {within:?}")]
    ConnectLate { endpoint: Endpoint, within: Duration },
    #[error("opening the conversation with {endpoint}")]
    Open { endpoint: Endpoint, source: hyper::Error },
    #[error("no answer from {endpoint} within {within:?}")]
    AnswerLate { endpoint: Endpoint, within: Duration },
    #[error("asking {endpoint}")]
    Exchange { endpoint: Endpoint, source: hyper::Error },
    #[error("{endpoint} refuses")]
    Refused { endpoint: Endpoint, source: Refusal },
    #[error("{endpoint} answers {status} without saying why")]
    Status { endpoint: Endpoint, status: StatusCode },
    #[error("the answer of {endpoint} is larger than {limit} bytes")]
    TooLarge { endpoint: Endpoint, limit: u64 },
    #[error("the answer of {endpoint} makes no sense")]
    Decode { endpoint: Endpoint, source: serde_json::Error },
    #[error("storing what {endpoint} sends")]
    Store { endpoint: Endpoint, source: io::Error },
}

impl CallError {
    /// Whether the question may have had its effect all the same.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Uncertified { .. }
            | Self::Encode { .. }
            | Self::Address { .. }
            | Self::Connect { .. }
            | Self::ConnectLate { .. }
            | Self::Open { .. } => Outcome::NothingHappened,
            Self::Refused { source, .. } => source.outcome(),
            Self::AnswerLate { .. }
            | Self::Exchange { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Decode { .. }
            | Self::Store { .. } => Outcome::Unknown,
        }
    }
}

/// Asks, under one identity.
pub struct Client {
    identity: Option<Arc<Identity>>,
    kept: Mutex<BTreeMap<Endpoint, Kept>>,
}

struct Kept {
    line: Line,
    since: Instant,
}

/// One question and the time it has.
struct Errand<'a> {
    to: &'a Endpoint,
    within: Duration,
    deadline: Instant,
}

impl Client {
    /// Asks peers, and processes of this machine.
    pub fn certified(identity: Arc<Identity>) -> Self {
        Self { identity: Some(identity), kept: Mutex::default() }
    }

    /// Asks processes of this machine only.
    pub fn local() -> Self {
        Self { identity: None, kept: Mutex::default() }
    }

    /// Asks `name` and waits `within` for the answer. When this ends in an error, or is dropped,
    /// the connection is closed, and the next question uses another one.
    pub async fn call<Req: Serialize + ?Sized, Res: DeserializeOwned>(
        &self,
        to: &Endpoint,
        name: &str,
        question: &Req,
        within: Duration,
    ) -> Result<Res, CallError> {
        let words = serde_json::to_vec(question)
            .map_err(|source| CallError::Encode { name: name.to_owned(), source })?;
        let body = Body::new(words.into());
        let request = request(to, Method::POST, &format!("{PREFIX}{name}"), body)?;
        let errand = Errand::new(to, within);
        let (mut line, response) = self.ask(&errand, request).await?;
        let (status, words) = errand.read(&mut line, response).await?;
        self.keep(to, line);
        if status != StatusCode::OK {
            return Err(errand.refusal(status, &words));
        }
        serde_json::from_slice(&words)
            .map_err(|source| CallError::Decode { endpoint: to.clone(), source })
    }

    /// Fetches `GET /v1/NAME` into `sink`, at most `limit` bytes; returns how many it were. After
    /// an error `sink` may hold a part.
    pub async fn download(
        &self,
        (to, name): (&Endpoint, &str),
        limit: u64,
        within: Duration,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, CallError> {
        let body = Body::default();
        let request = request(to, Method::GET, &format!("{PREFIX}{name}"), body)?;
        let errand = Errand::new(to, within);
        let (mut line, response) = self.ask(&errand, request).await?;
        if response.status() != StatusCode::OK {
            let (status, words) = errand.read(&mut line, response).await?;
            self.keep(to, line);
            return Err(errand.refusal(status, &words));
        }
        let received = errand.receive(&mut line, response.into_body(), limit, sink).await?;
        self.keep(to, line);
        Ok(received)
    }

    /// Sends `file` as `PUT /v1/NAME`, on a connection of its own: half of one cannot be sent
    /// again on another.
    pub async fn upload(
        &self,
        (to, name): (&Endpoint, &str),
        file: Opened,
        within: Duration,
    ) -> Result<(), CallError> {
        let body = FileBody::new(file);
        let request = request(to, Method::PUT, &format!("{PREFIX}{name}"), body)?;
        let errand = Errand::new(to, within);
        let mut line = self.connect_within(&errand).await?;
        let response = errand.send(&mut line, request.map(Either::Right)).await?;
        let (status, words) = errand.read(&mut line, response).await?;
        if status == StatusCode::OK { Ok(()) } else { Err(errand.refusal(status, &words)) }
    }

    async fn ask(
        &self,
        errand: &Errand<'_>,
        request: Request<Body>,
    ) -> Result<(Line, Response<Incoming>), CallError> {
        if let Some(mut line) = self.take(errand.to).await {
            match errand.send(&mut line, request.clone().map(Either::Left)).await {
                // Closed by the other side in this very moment, before a byte was sent.
                Err(CallError::Exchange { source, .. }) if source.is_canceled() => {}
                Err(error) => return Err(error),
                Ok(response) => return Ok((line, response)),
            }
        }
        let mut line = self.connect_within(errand).await?;
        let response = errand.send(&mut line, request.map(Either::Left)).await?;
        Ok((line, response))
    }

    async fn connect_within(&self, errand: &Errand<'_>) -> Result<Line, CallError> {
        timeout_at(errand.deadline, self.connect(errand.to))
            .await
            .unwrap_or_else(|_| Err(errand.connect_late()))
    }

    async fn connect(&self, to: &Endpoint) -> Result<Line, CallError> {
        let stream = match to {
            Endpoint::Certified { holder, address } => {
                self.connect_certified(to, holder, *address).await?
            }
            Endpoint::Local { path } => {
                let stream = UnixStream::connect(path).await;
                Box::new(stream.map_err(|source| unconnected(to, source))?)
            }
        };
        let opened = Line::over(stream).await;
        opened.map_err(|source| CallError::Open { endpoint: to.clone(), source })
    }

    async fn connect_certified(
        &self,
        to: &Endpoint,
        holder: &Holder,
        address: SocketAddr,
    ) -> Result<Stream, CallError> {
        let (Some(identity), Some(name)) = (&self.identity, holder.server_name()) else {
            return Err(CallError::Uncertified { endpoint: to.clone() });
        };
        let connector = TlsConnector::from(identity.client());
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            socket::configure(&stream)?;
            connector.connect(name, stream).await
        };
        Ok(Box::new(attempt.await.map_err(|source| unconnected(to, source))?))
    }

    async fn take(&self, to: &Endpoint) -> Option<Line> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(to)?;
        if kept.since.elapsed() >= KEPT_FOR {
            return None;
        }
        let mut line = kept.line;
        line.is_usable().await.then_some(line)
    }

    fn keep(&self, to: &Endpoint, line: Line) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, entry| entry.since.elapsed() < KEPT_FOR);
        kept.insert(to.clone(), Kept { line, since: Instant::now() });
    }
}

impl<'a> Errand<'a> {
    fn new(to: &'a Endpoint, within: Duration) -> Self {
        Self { to, within, deadline: Instant::now() + within }
    }

    async fn send(
        &self,
        line: &mut Line,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, CallError> {
        match timeout_at(self.deadline, line.send(request)).await {
            Ok(answered) => answered.map_err(|source| self.broken(source)),
            Err(_) => Err(self.answer_late()),
        }
    }

    async fn read(
        &self,
        line: &mut Line,
        response: Response<Incoming>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let status = response.status();
        let whole = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
        match timeout_at(self.deadline, line.drive_until(whole)).await {
            Ok(Ok(whole)) => Ok((status, whole.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(self.too_large(ANSWER_LIMIT as u64))
            }
            Ok(Err(error)) => match error.downcast::<hyper::Error>() {
                Ok(source) => Err(self.broken(*source)),
                Err(_) => Err(CallError::Status { endpoint: self.to.clone(), status }),
            },
            Err(_) => Err(self.answer_late()),
        }
    }

    async fn receive(
        &self,
        line: &mut Line,
        mut body: Incoming,
        limit: u64,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, CallError> {
        if body.size_hint().lower() > limit {
            return Err(self.too_large(limit));
        }
        let unstored = |source| CallError::Store { endpoint: self.to.clone(), source };
        let mut received = 0;
        let whole = async {
            while let Some(frame) = line.drive_until(body.frame()).await {
                let frame = frame.map_err(|source| self.broken(source))?;
                let Ok(piece) = frame.into_data() else { continue };
                received += piece.len() as u64;
                if received > limit {
                    return Err(self.too_large(limit));
                }
                sink.write_all(&piece).await.map_err(unstored)?;
            }
            sink.flush().await.map_err(unstored)
        };
        timeout_at(self.deadline, whole).await.unwrap_or_else(|_| Err(self.answer_late()))?;
        Ok(received)
    }

    fn refusal(&self, status: StatusCode, words: &[u8]) -> CallError {
        let endpoint = self.to.clone();
        match serde_json::from_slice(words) {
            Ok(source) => CallError::Refused { endpoint, source },
            Err(_) => CallError::Status { endpoint, status },
        }
    }

    fn broken(&self, source: hyper::Error) -> CallError {
        CallError::Exchange { endpoint: self.to.clone(), source }
    }

    fn too_large(&self, limit: u64) -> CallError {
        CallError::TooLarge { endpoint: self.to.clone(), limit }
    }

    fn connect_late(&self) -> CallError {
        CallError::ConnectLate { endpoint: self.to.clone(), within: self.within }
    }

    fn answer_late(&self) -> CallError {
        CallError::AnswerLate { endpoint: self.to.clone(), within: self.within }
    }
}

fn unconnected(to: &Endpoint, source: io::Error) -> CallError {
    CallError::Connect { endpoint: to.clone(), source }
}

fn request<B>(to: &Endpoint, method: Method, path: &str, body: B) -> Result<Request<B>, CallError> {
    let host = match to {
        Endpoint::Certified { holder, .. } => holder.common_name(),
        Endpoint::Local { .. } => "localhost".to_owned(),
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(body)
        .map_err(|source| CallError::Address { path: path.to_owned(), source })
}
