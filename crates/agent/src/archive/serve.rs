//! Listens for PostgreSQL's commands on a private unix socket, and hands on what they ask.
//!
//! Never serves more of them at once than PostgreSQL runs, and never reads more than a line.

use super::desk::Event;
use super::exchange::{LONGEST, Reply, Request};
use crate::durable::Access;
use crate::http::socket::{self, Socket};
use crate::tasks::Tasks;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

/// PostgreSQL runs one at a time; a few more may be left of a server that was killed.
const AT_ONCE: usize = 16;
/// For the one line of a request, and for that of a reply.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Before connections are accepted again when that failed.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn listen(path: &Path, access: Access) -> io::Result<Socket> {
    socket::listen(path, access)
}

/// Accepts as long as it is polled.
pub(super) async fn serve(socket: Socket, desk: mpsc::Sender<Event>) {
    let mut tasks = Tasks::default();
    loop {
        match socket.listener.accept().await {
            Ok((stream, _)) => {
                tasks.forget_ended();
                let desk = desk.clone();
                // One that finds no room sees its connection closed, and asks again later.
                tasks.spawn_at_most(AT_ONCE, "answering a command", async move {
                    if let Err(error) = answer(stream, &desk).await {
                        debug!(%error, "a command of PostgreSQL has gone");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a command of PostgreSQL was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: &mpsc::Sender<Event>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LONGEST as u64));
    timeout(EXCHANGE, reader.read_line(&mut line)).await??;
    let reply = match Request::parse(&line) {
        Some(request) => {
            let (answer, answered) = oneshot::channel();
            // Either end is gone only when the agent ends.
            let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
            desk.send(Event::Asked { request, answer }).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        }
        None => Reply::Failed("the request was not understood".to_owned()),
    };
    timeout(EXCHANGE, writer.write_all(reply.to_string().as_bytes())).await?
}
