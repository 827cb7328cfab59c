//! Writes to standard output what the agent logs and what PostgreSQL says, in a thread of its own.
//!
//! Never lets anybody wait for standard output: what finds no room is dropped and counted, and
//! PostgreSQL's messages wait in their file.

use super::follow::{Follower, Look};
use super::shape::Shape;
use crate::chain::chain;
use crate::postgres::said::Said;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for standard output.
const WAITING: usize = 1024;
/// Lines that are written in a row before PostgreSQL's turn.
const IN_A_ROW: usize = 256;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the last lines are waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Takes lines, without ever waiting.
#[derive(Clone)]
pub(super) struct Queue {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// The thread that writes.
pub struct Output {
    ends: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Output {
    pub(super) fn start(
        out: impl Write + Send + 'static,
        shape: Shape,
        follower: Follower,
    ) -> io::Result<(Self, Queue)> {
        let (lines, waiting) = sync_channel(WAITING);
        let (tell_end, ended) = sync_channel(1);
        let (ends, dropped) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let queue = Queue { lines, dropped: Arc::clone(&dropped) };
        let mut writer =
            Writer { out, shape, follower, waiting, dropped, failing: false, ends: ends.clone() };
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            writer.work();
            // Nobody listens any more if it took too long.
            let _late = tell_end.send(());
        })?;
        Ok((Self { ends, ended }, queue))
    }

    /// Lets it write what has been said until now, for as long as that may take.
    pub fn finish(self) {
        self.ends.store(true, Ordering::Release);
        // A standard output that stands still has taken what it will.
        let _late = self.ended.recv_timeout(LAST_WORDS);
    }
}

impl Queue {
    fn put(&self, line: &[u8]) {
        match self.lines.try_send(line.to_vec()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// One line on its way.
pub(super) struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

struct Writer<W> {
    out: W,
    shape: Shape,
    follower: Follower,
    waiting: Receiver<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    /// The log cannot be read, and that was told.
    failing: bool,
    ends: Arc<AtomicBool>,
}

impl<W: Write> Writer<W> {
    fn work(&mut self) {
        let mut next_pause = Duration::ZERO;
        loop {
            let is_last = self.ends.load(Ordering::Acquire);
            let (pause, in_a_row) =
                if is_last { (Duration::ZERO, WAITING) } else { (next_pause, IN_A_ROW) };
            match self.waiting.recv_timeout(pause) {
                Ok(line) => {
                    self.write(&line);
                    for line in self.waiting.try_iter().take(in_a_row).collect::<Vec<_>>() {
                        self.write(&line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(pause),
            }
            self.own_up();
            let has_more = self.pass_on();
            if is_last && !has_more {
                // A second look completes the last message.
                self.pass_on();
                return;
            }
            next_pause = if has_more { Duration::ZERO } else { LOOK_EVERY };
        }
    }

    /// Writes what PostgreSQL has said since; true if there is more.
    fn pass_on(&mut self) -> bool {
        let look = match self.follower.look() {
            Ok(look) => look,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    self.warn("reading PostgreSQL's log", "error", chain(&error).to_string());
                }
                return false;
            }
        };
        self.failing = false;
        let Look { said, skipped, is_full } = look;
        if skipped > 0 {
            self.warn(
                "standard output was too slow for PostgreSQL's log",
                "skipped_bytes",
                skipped,
            );
        }
        for said in &said {
            let line = match said {
                Said::Record(record) => self.shape.record(record),
                Said::Line(line) => self.shape.said(line),
            };
            self.write(line.as_bytes());
        }
        if !said.is_empty() {
            // Where that fails, the next agent says something twice.
            let _repeated = self.follower.remember();
        }
        is_full
    }

    fn own_up(&mut self) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.warn("standard output was too slow for the agent's log", "dropped_lines", dropped);
        }
    }

    fn warn(&mut self, text: &str, name: &str, value: impl Into<Value>) {
        let fields = Map::from_iter([(name.to_owned(), value.into())]);
        let line = self.shape.warning(text, fields);
        self.write(line.as_bytes());
    }

    fn write(&mut self, line: &[u8]) {
        // There is nobody to tell.
        let _lost = self.out.write_all(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex, PoisonError};

    /// An output that can stand still.
    #[derive(Clone, Default)]
    struct Slow(Arc<(Mutex<(bool, String)>, Condvar)>);

    impl Slow {
        fn stand_still(&self, still: fn() -> bool) {
            let (state, changed) = &*self.0;
            state.lock().unwrap().0 = still();
            changed.notify_all();
        }

        fn text(&self) -> String {
            self.0.0.lock().unwrap().1.clone()
        }
    }

    impl Write for Slow {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let (state, changed) = &*self.0;
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut state = changed.wait_while(state, |state| state.0).unwrap();
            state.1.push_str(std::str::from_utf8(piece).unwrap());
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shape() -> Shape {
        Shape { logger: "agent", pod: None }
    }

    #[test]
    fn nobody_waits_for_an_output_that_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgres.log");
        let slow = Slow::default();
        slow.stand_still(|| true);
        let follower = Follower::open(&path, 1 << 20);
        let (output, queue) = Output::start(slow.clone(), shape(), follower).unwrap();
        for number in 0..WAITING + 500 {
            queue.put(format!("line {number}\n").as_bytes());
        }
        std::fs::write(&path, "said meanwhile\n").unwrap();
        slow.stand_still(|| false);
        output.finish();
        let text = slow.text();
        assert!(text.starts_with("line 0\nline 1\n"), "{text}");
        let dropped = text.lines().find(|line| line.contains("dropped_lines")).unwrap();
        let (_, dropped) = dropped.split_once(r#""dropped_lines":"#).unwrap();
        let dropped: usize = dropped.trim_end_matches('}').parse().unwrap();
        let written = text.lines().filter(|line| line.starts_with("line ")).count();
        assert_eq!(written + dropped, WAITING + 500);
        assert!(text.contains("said meanwhile"), "{text}");
    }

    #[test]
    fn the_last_words_are_waited_for_but_not_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgres.log");
        std::fs::write(&path, "first\nlast\n").unwrap();
        let slow = Slow::default();
        let follower = || Follower::open(&path, 1 << 20);
        let (output, queue) = Output::start(slow.clone(), shape(), follower()).unwrap();
        queue.put(b"the agent's\n");
        output.finish();
        let text = slow.text();
        assert!(text.contains("first") && text.contains("last"), "{text}");
        assert!(text.contains("the agent's"), "{text}");

        slow.stand_still(|| true);
        let (output, queue) = Output::start(slow.clone(), shape(), follower()).unwrap();
        queue.put(b"never\n");
        output.finish();
        assert_eq!(slow.text(), text);
        slow.stand_still(|| false);
    }
}
