//! Whole files on their way: out of a file while it is sent, into one while it is received.
//!
//! Never holds more of one in memory than a piece.

use super::refusal::{Kind, Refusal};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// A file's piece on its way; a 16 MB segment is 128 of them.
const PIECE: usize = 128 * 1024;

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

/// A file that somebody sends.
pub struct Received {
    body: Incoming,
}

impl Received {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body }
    }

    /// Writes it into `sink`, at most `limit` bytes; returns how many it were. After a refusal
    /// `sink` may hold a part.
    pub async fn into(
        mut self,
        sink: &mut (impl AsyncWrite + Unpin),
        limit: u64,
    ) -> Result<u64, Refusal> {
        let too_large = || Refusal::new(Kind::TooLarge, format!("it is larger than {limit} bytes"));
        let unstored =
            |error: io::Error| Refusal::new(Kind::Failed, format!("storing it: {error}"));
        if self.body.size_hint().lower() > limit {
            return Err(too_large());
        }
        let mut received = 0;
        while let Some(frame) = self.body.frame().await {
            let broken = |error| Refusal::new(Kind::Malformed, format!("receiving it: {error}"));
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            received += piece.len() as u64;
            if received > limit {
                return Err(too_large());
            }
            sink.write_all(&piece).await.map_err(unstored)?;
        }
        sink.flush().await.map_err(unstored)?;
        Ok(received)
    }
}

/// A file's content, read piece by piece while it is sent.
pub(super) struct FileBody {
    file: tokio::fs::File,
    left: u64,
    piece: Vec<u8>,
}

impl FileBody {
    pub(super) fn new(opened: Opened) -> Self {
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
