//! Tells on stderr what a verb waits for.
//!
//! Never floods: a terminal sees one line that changes, a file one line per change.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line that did not change is repeated for those who read a file.
const REPEAT: Duration = Duration::from_secs(10);

/// For how long something has not got on.
pub(crate) struct Headway<T> {
    last: Option<T>,
    moved: Instant,
}

impl<T: PartialEq> Headway<T> {
    pub(crate) fn new() -> Self {
        Self { last: None, moved: Instant::now() }
    }

    /// It has come so far.
    pub(crate) fn at(&mut self, now: T) {
        if self.last.as_ref() != Some(&now) {
            (self.last, self.moved) = (Some(now), Instant::now());
        }
    }

    /// It gets on, whatever is to be seen of that.
    pub(crate) fn goes_on(&mut self) {
        self.moved = Instant::now();
    }

    pub(crate) fn stands(&self) -> Duration {
        self.moved.elapsed()
    }
}

pub(crate) struct Progress {
    began: Instant,
    terminal: bool,
    last: Option<(String, Instant)>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), terminal: io::stderr().is_terminal(), last: None }
    }

    pub(crate) fn tell(&mut self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        let known = self.last.as_ref().is_some_and(|(last, _)| last == what);
        if self.terminal {
            // Back to the start of the line, and clear it.
            let _closed = write!(io::stderr(), "\r\x1b[K  {what} ({seconds}s)").is_err();
        } else if !known || self.last.as_ref().is_some_and(|(_, at)| at.elapsed() >= REPEAT) {
            let _closed = writeln!(io::stderr(), "  {what} ({seconds}s)").is_err();
        } else {
            return;
        }
        self.last = Some((what.to_owned(), Instant::now()));
    }

    /// A step that gets on: a file sees it when the step begins, and every ten seconds.
    pub(crate) fn tell_step(&mut self, step: &str, detail: &str) {
        let line = format!("{step}  {detail}");
        let line = line.trim_end();
        if self.terminal {
            return self.tell(line);
        }
        let is_known =
            self.last.as_ref().is_some_and(|(last, at)| last == step && at.elapsed() < REPEAT);
        if !is_known {
            let seconds = self.began.elapsed().as_secs();
            let _closed = writeln!(io::stderr(), "  {line} ({seconds}s)").is_err();
            self.last = Some((step.to_owned(), Instant::now()));
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.last.is_some() {
            let _closed = write!(io::stderr(), "\r\x1b[K").is_err();
        }
    }
}
