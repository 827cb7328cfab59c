//! Carries typed questions and answers between processes: `POST /v1/NAME`, JSON in, JSON out.
//!
//! Never lets a question wait without end, and never tells an answerer a name that was not proven.

pub mod client;
pub mod file;
mod line;
mod patience;
pub mod refusal;
pub mod routes;
pub mod server;
pub(crate) mod socket;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where every route begins; a change of meaning gets a new number.
const PREFIX: &str = "/v1/";

/// A connection of either kind: TLS over TCP between machines, a unix socket within one.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Stream = Box<dyn Duplex>;

/// Whole bodies, as they are sent.
type Body = http_body_util::Full<Bytes>;
/// What is sent in either direction.
type Outgoing = http_body_util::Either<Body, file::FileBody>;
