//! The parts of a key that people choose: the prefix of a repository, and the server within it.
//!
//! Never holds one that could lead out of the repository.

use std::fmt;

/// A name for a cluster in a repository: barman's server name. It is one part of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not the name of a server in a repository: use letters, digits, '.', '-' and \
     '_', at most {SERVER_NAME_LIMIT} of them, and not a '.' first"
)]
pub struct ServerNameError {
    given: String,
}

/// Well under the 255 bytes of a name in a file system.
const SERVER_NAME_LIMIT: usize = 200;

impl ServerName {
    pub fn parse(given: &str) -> Result<Self, ServerNameError> {
        let inside = given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let length = (1..=SERVER_NAME_LIMIT).contains(&given.len());
        if inside && length && !given.starts_with('.') {
            Ok(Self(given.to_owned()))
        } else {
            Err(ServerNameError { given: given.to_owned() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What all keys of a repository begin with: folders, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefix(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("it has an empty part, \"//\": remove one of the strokes")]
    EmptyPart,
    #[error("it has a part {part:?}, which leads elsewhere: write the path out")]
    Relative { part: String },
    #[error("it has a sign that cannot be in a key: {sign:?}")]
    Sign { sign: char },
    #[error("it is longer than {PREFIX_LIMIT} bytes, and a key must stay below 1024 in all")]
    TooLong,
}

const PREFIX_LIMIT: usize = 600;

impl Prefix {
    /// With or without strokes at its ends.
    pub fn parse(given: &str) -> Result<Self, PrefixError> {
        let inner = given.trim_start_matches('/');
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.len() > PREFIX_LIMIT {
            return Err(PrefixError::TooLong);
        }
        if let Some(sign) = inner.chars().find(|c| c.is_control() || *c == '\\') {
            return Err(PrefixError::Sign { sign });
        }
        for part in inner.split('/').filter(|_| !inner.is_empty()) {
            match part {
                "" => return Err(PrefixError::EmptyPart),
                "." | ".." => return Err(PrefixError::Relative { part: part.to_owned() }),
                _ => {}
            }
        }
        Ok(Self(inner.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_one_part_of_a_key() {
        for good in ["app-db", "cluster_1.eu", "X", &"a".repeat(200)] {
            assert_eq!(ServerName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".x", "a/b", "a b", "ä", "a\n", &"a".repeat(201)] {
            assert!(ServerName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn prefixes_stay_within_the_repository() {
        for (given, read) in [("", ""), ("/", ""), ("/a/b/", "a/b"), ("a b%20/ü", "a b%20/ü")] {
            assert_eq!(Prefix::parse(given).unwrap().as_str(), read);
        }
        for bad in ["a//b", "a/../b", ".", "a\nb", "a\\b", &"a".repeat(601)] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
