//! Tells an error with all its causes in one line.
//!
//! Never hides the innermost cause, which is the one people need.

use std::error::Error;
use std::fmt;

/// Shows `error: cause: cause of the cause`.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::chain;
    use std::path::PathBuf;

    #[derive(Debug, thiserror::Error)]
    #[error("reading {path:?}")]
    struct Unread {
        path: PathBuf,
        source: std::io::Error,
    }

    #[test]
    fn the_innermost_cause_is_told() {
        let source = std::io::Error::other("no space left");
        let error = Unread { path: "a".into(), source };
        assert_eq!(chain(&error).to_string(), "reading \"a\": no space left");
    }
}
