//! What PostgreSQL's commands ask the agent, and what it answers: one line each.
//!
//! Never carries a path: the agent knows its folders, and touches no others.

use pgherd_core::wal::WalFile;
use std::fmt;

/// Longer than any line of ours.
pub const LONGEST: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Store this file of `pg_wal`.
    Archive { file: WalFile },
    /// Put this file into `pg_wal`, under that name.
    Fetch { file: WalFile, target: String },
    /// The same for a recovery from an archive, which waits for it.
    Recover { file: WalFile, target: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is durable where it should be.
    Done,
    /// It is not there, or not yet.
    Absent,
    /// It is to be asked for again.
    Failed(String),
    /// PostgreSQL shall not ask again before its next start.
    Stop(String),
}

impl Request {
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end_matches('\n').split(' ');
        let (verb, file, target) = (words.next()?, words.next()?, words.next());
        let file = WalFile::parse(file).ok()?;
        match (verb, target, words.next()) {
            ("archive", None, None) => Some(Self::Archive { file }),
            ("fetch", Some(target), None) if is_name(target) => {
                Some(Self::Fetch { file, target: target.to_owned() })
            }
            ("recover", Some(target), None) if is_name(target) => {
                Some(Self::Recover { file, target: target.to_owned() })
            }
            _ => None,
        }
    }
}

/// PostgreSQL names what it is given `RECOVERYXLOG`, or as the file is called.
fn is_name(target: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_';
    !target.is_empty() && !target.starts_with('.') && target.bytes().all(plain)
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive { file } => writeln!(f, "archive {file}"),
            Self::Fetch { file, target } => writeln!(f, "fetch {file} {target}"),
            Self::Recover { file, target } => writeln!(f, "recover {file} {target}"),
        }
    }
}

impl Reply {
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n')?;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "done" => Some(Self::Done),
            "absent" => Some(Self::Absent),
            "failed" => Some(Self::Failed(rest.to_owned())),
            "stop" => Some(Self::Stop(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_one_line = |why: &str| why.replace(['\n', '\r'], " ");
        match self {
            Self::Done => writeln!(f, "done"),
            Self::Absent => writeln!(f, "absent"),
            Self::Failed(why) => writeln!(f, "failed {}", in_one_line(why)),
            Self::Stop(why) => writeln!(f, "stop {}", in_one_line(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_understand_each_other() {
        let file = WalFile::parse("000000010000000000000005").unwrap();
        let target = "RECOVERYXLOG".to_owned();
        let recover = Request::Recover { file, target: target.clone() };
        for request in [Request::Archive { file }, Request::Fetch { file, target }, recover] {
            assert_eq!(Request::parse(&request.to_string()), Some(request));
        }
        let why = "two\nlines".to_owned();
        let replies = [Reply::Done, Reply::Absent, Reply::Failed(why.clone()), Reply::Stop(why)];
        let read = replies.map(|reply| Reply::parse(&reply.to_string()).unwrap());
        assert_eq!(read[2], Reply::Failed("two lines".to_owned()));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for bad in [
            "",
            "archive",
            "archive ../../x",
            "archive 000000010000000000000005 x",
            "fetch 000000010000000000000005",
            "fetch 000000010000000000000005 ../x",
            "fetch 000000010000000000000005 .x",
            "fetch 000000010000000000000005 /x",
            "fetch 000000010000000000000005 x y",
        ] {
            assert_eq!(Request::parse(bad), None, "{bad:?}");
        }
    }
}
