//! One connection to an answerer, driven by whoever uses it at the moment.
//!
//! Never costs anything while idle: no task, no timer.

use super::{Outgoing, Stream};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

// Answers are small, and file pieces need no more.
const BUFFER_LIMIT: usize = 256 * 1024;

type Moving = Pin<Box<Connection<TokioIo<Stream>, Outgoing>>>;

pub(super) struct Line {
    sender: SendRequest<Outgoing>,
    connection: Option<Moving>,
}

impl Line {
    pub(super) async fn over(stream: Stream) -> hyper::Result<Self> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_LIMIT)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Whether the other side has neither closed it nor said anything unasked, as far as is known
    /// without waiting.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|context| {
            drive(&mut self.connection, context);
            let accepts = matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())));
            Poll::Ready(accepts && self.connection.is_some())
        })
        .await
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> hyper::Result<Response<Incoming>> {
        let response = self.sender.send_request(request);
        self.drive_until(response).await
    }

    /// Waits for `wanted` while the connection moves its bytes.
    pub(super) async fn drive_until<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        poll_fn(|context| {
            drive(&mut self.connection, context);
            wanted.as_mut().poll(context)
        })
        .await
    }
}

fn drive(connection: &mut Option<Moving>, context: &mut Context<'_>) {
    if let Some(moving) = connection
        && let Poll::Ready(ended) = moving.as_mut().poll(context)
    {
        // Whoever waits for an answer on it is told by the answer's own error.
        let _told_there = ended;
        *connection = None;
    }
}
